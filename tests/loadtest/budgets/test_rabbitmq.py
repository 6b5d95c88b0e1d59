"""`python -m loadtest.budgets.rabbitmq`, with rows that cost nothing, and its budgets."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.budgets import rabbitmq
from loadtest.budgets.pace import Pace
from loadtest.budgets.page import put
from loadtest.budgets.rivals import AIOPIKA, DRAMATIQ, STARLETTE
from loadtest.budgets.row import Row
from loadtest.budgets.server import BenchmarkError
from loadtest.fingerprint import Facts


def rows(pace: Pace, facts: Facts) -> Iterator[Row]:
    facts.append(("servers", "RabbitMQ 3"))
    yield Row("no-op", "5.00 × Dramatiq", "In turn.")


@pytest.fixture(autouse=True)
def one_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    quick = dataclasses.replace(rabbitmq.BENCHMARK, rows=rows)
    monkeypatch.setattr(rabbitmq, "BENCHMARK", quick)
    monkeypatch.chdir(tmp_path)


def test_it_writes_its_own_section_and_keeps_the_other() -> None:
    page = Path("docs/benchmarks.md")
    put(page, "One process", "the embedded one")
    assert rabbitmq.main([]) == 0
    text = page.read_text()
    assert "## One process\n\nthe embedded one\n\n## Over RabbitMQ" in text
    assert "| no-op | none | 5.00 × Dramatiq | measured |" in text
    assert "| servers | RabbitMQ 3 |" in text


def test_a_benchmark_that_stops_says_why_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stops(pace: Pace, facts: Facts) -> Iterator[Row]:
        yield from rows(pace, facts)
        raise BenchmarkError("no RabbitMQ on this machine")

    stopping = dataclasses.replace(rabbitmq.BENCHMARK, rows=stops)
    monkeypatch.setattr(rabbitmq, "BENCHMARK", stopping)
    assert rabbitmq.main([]) == 1
    assert "the benchmark stopped: no RabbitMQ" in capsys.readouterr().err
    assert list(Path().iterdir()) == []


def test_the_budgets_are_those_of_the_design() -> None:
    told = {
        (point.task, point.connections, budget.beside): (budget.limit, budget.at_least)
        for point in rabbitmq.POINTS
        for budget in point.budgets
    }
    assert told == {
        ("no-op", 64, STARLETTE): (0.5, True),
        ("no-op", 64, DRAMATIQ): (5, True),
        ("no-op", 64, AIOPIKA): (4, True),
        ("no-op", 16, STARLETTE): (0.35, True),
        ("no-op", 1, DRAMATIQ): (0.6, False),
        ("matmul 256", 16, STARLETTE): (0.75, True),
    }
