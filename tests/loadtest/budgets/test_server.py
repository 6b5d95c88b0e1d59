"""Servers that are started to be measured, and ended again."""

import os
import sys
from pathlib import Path

import pytest

from loadtest.budgets.memory import private, resident
from loadtest.budgets.server import BenchmarkError, echo, running, until

DEAF = "import sys, time; print('deaf'); sys.stdout.flush(); time.sleep(600)"


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_echo_gives_back_what_it_got_and_is_gone_afterwards(tmp_path: Path) -> None:
    with echo(tmp_path) as server:
        answer = server.ask("POST", "/echo", '{"x": [1, "é"]}')
        assert (answer.status, answer.json()) == (200, {"x": [1, "é"]})
        assert 0 < server.started_in < 60
        assert alive(server.pid)
    assert not alive(server.pid)
    with pytest.raises(BenchmarkError, match="echo does not answer POST /echo"):
        server.ask("POST", "/echo", "{}")


def test_a_server_is_ended_when_what_it_is_used_for_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), echo(tmp_path) as server:
        raise ZeroDivisionError
    assert not alive(server.pid)


def test_a_server_that_ends_at_once_is_told_with_what_it_said(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "raise SystemExit('no such port')")
    with (
        pytest.raises(BenchmarkError, match=r"(?s)odd ended with status 1:.*no such port"),
        running("odd", command, "/", tmp_path, {}),
    ):
        pass


def test_a_server_that_never_answers_is_given_up_on_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadtest.budgets.server.START_LIMIT", 0.5)
    started = f"import os; open('pid', 'w').write(str(os.getpid())); {DEAF}"
    with (
        pytest.raises(BenchmarkError, match="until odd answers GET / with 200"),
        running("odd", (sys.executable, "-c", started), "/", tmp_path, {}),
    ):
        pass
    assert not alive(int((tmp_path / "pid").read_text()))


def test_another_status_than_200_stops_the_benchmark(tmp_path: Path) -> None:
    with echo(tmp_path) as server, pytest.raises(BenchmarkError, match="GET /echo gave 405"):
        server.get("/echo")


def test_waiting_gives_the_first_true_value_and_has_an_end() -> None:
    values = iter([0, "", 7, 8])
    assert until("it is 7", lambda: next(values), 10) == 7
    with pytest.raises(BenchmarkError, match="in vain until pigs fly"):
        until("pigs fly", lambda: False, 0)


def test_private_memory_is_what_a_process_has_for_itself() -> None:
    before, everything = private(os.getpid()), resident(os.getpid())
    block = bytearray(b"x" * (32 * 2**20))
    grown = private(os.getpid()) - before
    assert 0.9 * len(block) < grown < 1.5 * len(block)
    assert resident(os.getpid()) >= everything + 0.9 * len(block)
    assert private(os.getpid()) <= resident(os.getpid())
