"""What a load test shows when it is over."""

from io import StringIO

import pytest
from rich.console import Console

from loadtest.outcome import Outcome
from loadtest.report import terminal
from tests.loadtest import outcomes


def shown(outcome: Outcome, width: int = 120) -> str:
    file = StringIO()
    Console(width=width, file=file).print(terminal(outcome))
    return file.getvalue()


def test_a_load_test_is_summed_up() -> None:
    text = shown(outcomes.mixed())
    for part in (
        "1,260 of 1,316 invocations succeeded",
        "gpu (simulated)",
        "41 failed (flaky): The function raised.",
        "first at 1.2 s: 500 ValueError: n is 13 (01JD3X0V9Z7M2Q4R5T6Y8W1A2B)",
        "41 answers were 429",
        "SLO missed: errors=1%",
        "The generator was not the bottleneck",
        "Audit holds",
        "The GPU was simulated",
    ):
        assert part in text, part


def test_a_narrow_terminal_loses_nothing() -> None:
    text = shown(outcomes.mixed(), 80)
    assert "vector_add gpu (simulated) succeeded" in text and "…" not in text


def test_an_interrupted_run_says_so_first() -> None:
    assert shown(outcomes.interrupted()).startswith("Interrupted: Ctrl-C after 20.4 s of 60 s.")


@pytest.mark.parametrize("name", ["saturated", "unanswered", "empty", "brief"])
def test_every_outcome_is_shown_without_nan(name: str) -> None:
    assert "nan" not in shown(getattr(outcomes, name)()).lower()


def test_hostile_texts_steer_no_terminal() -> None:
    assert "\x1b" not in shown(outcomes.hostile())
