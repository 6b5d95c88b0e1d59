"""The report in Markdown: true for every kind of run, and of valid tables."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from loadtest.suite.report.markdown import PICTURE, page
from loadtest.suite.results import Results
from loadtest.suite.summary import summarize
from runtime import estimate
from tests.loadtest.suite import runs

MATMUL = "matmul bfloat16"
RUNS: dict[str, Callable[[], Results]] = {
    "with a GPU": runs.made,
    "simulated": lambda: runs.made(gpu="simulated"),
    "without a GPU": lambda: runs.made(gpu=None),
    "parity failing": lambda: runs.parity_failing(runs.made(), MATMUL, 1024),
    "half failing": lambda: runs.half_failing(runs.made(), "matmul", "gpu", "a|b\n`c`"),
    "too few": lambda: runs.made(samples=3),
    "interrupted": lambda: runs.interrupted(runs.made(), 5),
    "odd names": lambda: runs.made(cases=(replace(runs.FOUR[0], case="a|b *c* <d>"),)),
    "nothing": lambda: replace(runs.made(), cells=(), colds=(), parities=(), ceilings=()),
}


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "RESAMPLES", 100)


def written(results: Results) -> str:
    return page(summarize(results))


@pytest.mark.parametrize("name", RUNS)
def test_every_row_of_every_table_has_as_many_cells_as_its_head(name: str) -> None:
    for block in written(RUNS[name]()).split("\n\n"):
        if not block.startswith("|"):
            continue
        cells = [len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()]
        assert len(set(cells)) == 1, block


@pytest.mark.parametrize("name", RUNS)
def test_nothing_of_python_shows(name: str) -> None:
    text = written(RUNS[name]())
    for leak in ("None", "nan", "inf ", "Estimate(", "Timing(", "True", "False"):
        assert leak not in text


def test_a_run_with_a_gpu_says_speedups_with_and_without_transfers() -> None:
    text = written(runs.made())
    assert text.startswith("# Benchmark: CPU and GPU\n")
    assert "> **" not in text
    assert f"![Seconds, speedups and shares of ceilings]({PICTURE})" in text
    assert "| n | CPU | GPU | in | out | speedup | with transfers |" in text
    assert "## From which size the GPU wins" in text
    assert "lumbre bench --plan loadtest/plans/bench.yaml --seed 1\n" in text


def test_without_a_gpu_the_report_is_whole_and_has_no_empty_columns() -> None:
    text = written(runs.made(gpu=None))
    assert text.startswith("# Benchmark: CPU only\n\n> **CPU only: no GPU here.")
    assert "| n | CPU | whole call | repeated until |" in text
    assert "no GPU here: torch sees no CUDA device" in text
    for gpu in ("wins", "## Whether the results agree", "with transfers |"):
        assert gpu not in text
    assert "## Ceilings" in text
    assert "## Cold starts" in text


def test_a_simulation_is_named_wherever_it_shows() -> None:
    text = written(runs.made(gpu="simulated"))
    assert text.index("The GPU is simulated") < text.index("## What was found")
    assert "speedup (of a simulation)" in text
    before_columns = text[: text.index("## Again")]
    for line in before_columns.splitlines():
        if line.startswith("|") and "GPU" in line:
            assert "GPU (simulated)" in line, line


def test_failures_are_counted_where_the_time_stands_and_listed() -> None:
    text = written(runs.half_failing(runs.made(), "matmul", "gpu", "CUDA error"))
    assert "12 calls, 12 failed)" in text
    assert "- matmul bfloat16 at n = 64: on the GPU, 12 of 24 calls failed: CUDA error" in text
    assert "No call failed." in written(runs.made())


def test_an_interrupted_quick_run_says_so_and_repeats_with_quick() -> None:
    text = written(replace(runs.interrupted(runs.made(), 5), quick=True, plan="my plan.yaml"))
    assert "> **The run ended early: Ctrl-C after 61 s." in text
    assert "> **A quick look" in text
    assert "lumbre bench --plan 'my plan.yaml' --seed 1 --quick" in text


def test_without_a_picture_none_is_shown() -> None:
    assert PICTURE not in page(summarize(runs.made()), picture=False)


def test_results_that_differ_are_told_side_by_side() -> None:
    text = written(runs.parity_failing(runs.made(), MATMUL, 1024))
    assert "| matmul bfloat16 | 1,024 | checksum | 15234.25 | 15871.5 |" in text
    assert "| DIFFERS |" in text
