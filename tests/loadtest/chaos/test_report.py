"""Runs as people and programs read them."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from loadtest.chaos.campaign import Campaign, Outcome
from loadtest.chaos.report import BEGIN, END, as_json, row, summary, table, write
from loadtest.chaos.verdict import Verdict

VERDICT = Verdict(2000, 2000, 31, {"succeeded": 1980, "dead": 4}, 0, 0, 0, 0, 3, 0)
OUTCOME = Outcome(Campaign(7, 2000), VERDICT, {"kill -9 a worker": 2}, {"503": 9}, 41.4)


def test_a_run_is_a_row() -> None:
    shown = row(OUTCOME)
    assert (shown["seed"], shown["accepted"], shown["dead"], shown["faults"]) == (7, 2000, 4, 2)


def test_a_run_is_json() -> None:
    told = json.loads(json.dumps(as_json(OUTCOME)))
    assert told["holds"] is True
    assert (told["lost"], told["recorded_twice"], told["ran_again"]) == (0, 0, 3)
    assert told["faults"] == {"kill -9 a worker": 2}


def test_a_run_shows_on_a_terminal() -> None:
    console = Console(width=160, file=StringIO())
    console.print(summary(OUTCOME))
    lost = replace(OUTCOME, verdict=replace(VERDICT, lost=1))
    console.print(table([OUTCOME, lost]))
    console.print(summary(lost))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "it held" in text and "it did not hold" in text and "kill -9 a worker 2" in text


def test_the_runs_of_a_page_are_replaced_and_the_rest_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Before\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    write(page, [OUTCOME], "2 cores")
    write(page, [OUTCOME, OUTCOME], "2 cores")
    text = page.read_text()
    assert text.startswith("# Before\n") and text.endswith("\nafter\n") and "old" not in text
    assert text.count("| 7 | recorder | 2,000 | 2,000 |") == 2
    assert "kill -9 a worker 4" in text


def test_a_page_without_a_place_for_runs_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# No place\n")
    with pytest.raises(ValueError, match="no place for runs"):
        write(page, [OUTCOME], "2 cores")
    assert page.read_text() == "# No place\n"
