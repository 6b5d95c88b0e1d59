"""The command `python -m loadtest.budgets.embedded`, with rows that cost nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.budgets import embedded
from loadtest.budgets.pace import Pace
from loadtest.budgets.row import Check, Row
from loadtest.budgets.server import BenchmarkError

MISSED = Row("p50", "0.31 ms more", "Of the echo.", (Check(0.31, 0.25, "ms"),))


@pytest.fixture(autouse=True)
def one_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def rows(pace: Pace) -> Iterator[Row]:
        yield MISSED

    monkeypatch.setattr(embedded, "rows", rows)
    monkeypatch.chdir(tmp_path)


def test_it_writes_the_page_and_a_missed_budget_is_no_failure(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert embedded.main([]) == 0
    page = Path("docs/benchmarks.md").read_text()
    assert "| p50 | ≤ 0.25 ms | 0.31 ms more | missed by 0.06 ms (24 %) |" in page
    assert "uvloop" in page
    assert "missed by 0.06 ms" in capsys.readouterr().out


def test_a_quick_look_leaves_the_page_alone_unless_it_is_told_where() -> None:
    assert embedded.main(["--quick"]) == 0
    assert list(Path().iterdir()) == []
    assert embedded.main(["--quick", "--out", "some/where.md"]) == 0
    assert "A quick look" in Path("some/where.md").read_text()


def test_a_benchmark_that_stops_says_why_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def rows(pace: Pace) -> Iterator[Row]:
        yield MISSED
        raise BenchmarkError("lumbre ended with status 1")

    monkeypatch.setattr(embedded, "rows", rows)
    assert embedded.main([]) == 1
    assert "the benchmark stopped: lumbre ended with status 1" in capsys.readouterr().err
    assert list(Path().iterdir()) == []
