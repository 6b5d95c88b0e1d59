"""What a terminal shows of a run."""

from dataclasses import replace

import pytest
from rich.console import Console

from loadtest import estimate
from loadtest.suite.report import terminal
from loadtest.suite.results import Results
from tests.loadtest.suite import runs


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "RESAMPLES", 100)


def shown(results: Results, width: int = 160) -> str:
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(terminal(results))
    return capture.get()


def test_speedups_and_transfers_are_shown() -> None:
    text = shown(runs.made())
    assert "with transfers" in text
    assert "matmul bfloat16" in text
    assert "A cold GPU start of" in text


def test_without_a_gpu_there_are_no_columns_of_one() -> None:
    text = shown(runs.made(gpu=None))
    assert text.startswith("CPU only: no GPU here.")
    assert "speedup " not in text


def test_a_simulation_is_labelled() -> None:
    text = shown(runs.made(gpu="simulated"))
    assert text.startswith("The GPU is simulated")
    assert "GPU (simulated)" in text


def test_failures_differing_results_and_early_ends_are_told() -> None:
    results = runs.parity_failing(runs.made(), "matmul bfloat16", 64)
    results = runs.half_failing(results, "vector_add", "cpu", "killed")
    text = shown(replace(results, interrupted="Ctrl-C"))
    assert "The run ended early: Ctrl-C." in text
    assert "no speedup of matmul bfloat16 at n = 64: results differ" in text
    assert "12 of 24 calls failed: killed" in text


def test_names_are_no_markup() -> None:
    odd = replace(runs.FOUR[0], case="[bold]x[/]")
    assert "[bold]x[/]" in shown(runs.made(cases=(odd,)))
