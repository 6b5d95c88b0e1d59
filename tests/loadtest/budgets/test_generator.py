"""The load test beside wrk: both are read right, and what is wrong stops the benchmark."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.budgets import generator
from loadtest.budgets.generator import SERVER, rows
from loadtest.budgets.pace import QUICK
from loadtest.budgets.server import BenchmarkError, echo, free_port, running

WRK = shutil.which("wrk")


def test_a_load_test_of_a_server_that_takes_20_ms_says_so(tmp_path: Path) -> None:
    with running("delayed", SERVER, "/", tmp_path, {}) as server:
        told = generator._load_test(server, 2, 0.5, tmp_path)
    assert 0.02 <= told.p50 < 0.2
    assert 0 < told.rate <= 2 / 0.02


@pytest.mark.skipif(not WRK, reason="wrk is not installed: apt-get install wrk")
def test_wrk_of_a_server_that_takes_20_ms_says_so(tmp_path: Path) -> None:
    with running("delayed", SERVER, "/", tmp_path, {}) as server:
        told = generator._wrk(server, 2, 1.0, tmp_path)
    assert 0.02 <= told.p50 < 0.2
    assert 0 < told.rate <= 2.1 / 0.02


def test_without_wrk_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(BenchmarkError, match="apt-get install wrk"):
        next(rows(QUICK))


def test_a_server_that_refuses_stops_the_benchmark(tmp_path: Path) -> None:
    with (
        echo(tmp_path) as server,
        pytest.raises(BenchmarkError, match="ended with 1"),
    ):
        generator._load_test(replace(server, port=free_port()), 1, 0.3, tmp_path)
