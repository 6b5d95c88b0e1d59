"""What a terminal shows of a run."""

import re
from dataclasses import replace

import pytest
from rich.console import Console

from loadtest.suite.report import terminal
from loadtest.suite.results import Results
from runtime import estimate
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
    assert re.search(r"with\n.* speedup +± +transfers\n", text)
    assert "matmul bfloat16" in text
    assert "A cold GPU start of" in text


def test_without_a_gpu_there_are_no_columns_of_one() -> None:
    text = shown(runs.made(gpu=None))
    assert text.startswith("CPU only: no GPU here.")
    assert "speedup " not in text and "transfers" not in text


def test_a_simulation_is_labelled() -> None:
    text = shown(runs.made(gpu="simulated"))
    assert text.startswith("The GPU is simulated")
    assert re.search(r" GPU .*\n.* \(simulated\) ", text)


def test_failures_differing_results_and_early_ends_are_told() -> None:
    results = runs.parity_failing(runs.made(), "matmul bfloat16", 64)
    results = runs.half_failing(results, "vector_add", "cpu", "killed")
    text = shown(replace(results, interrupted="Ctrl-C"))
    assert "The run ended early: Ctrl-C." in text
    assert "no speedup of matmul bfloat16 at n = 64: results differ" in text
    assert "12 of 24 calls failed: killed" in text


@pytest.mark.parametrize("gpu", ["real", "simulated", None])
def test_a_size_has_one_line_in_a_terminal_of_80_columns(gpu: runs.Gpu) -> None:
    results = runs.half_failing(runs.made(gpu=gpu), "vector_add", "cpu", "killed")
    lines = shown(results, 80).splitlines()
    assert all(len(line) <= 80 for line in lines)
    rows = [line.split() for line in lines if re.match(r" *[\d,]+  ", line)]
    assert [row[0] for row in rows] == [f"{n:,}" for made in runs.FOUR for n in made.sizes]
    assert all(row.count("×") == (2 if gpu else 0) for row in rows)
    assert all(row.count("%") == (3 if gpu else 2) for row in rows)


def test_a_wide_terminal_has_the_intervals_of_the_times_too() -> None:
    narrow, wide = (shown(runs.made(), width) for width in (80, 120))
    assert narrow.count("±") == 1 and wide.count("±") == 3


def test_what_a_function_said_steers_no_terminal() -> None:
    results = runs.half_failing(runs.made(), "matmul", "gpu", "\x1b[31mred")
    assert "calls failed: ␛[31mred" in shown(results)


def test_names_are_no_markup() -> None:
    odd = replace(runs.FOUR[0], case="[bold]x[/]")
    assert "[bold]x[/]" in shown(runs.made(cases=(odd,)))
