"""What is computed from a run: its cases, what they are quoted by, and cold starts."""

from dataclasses import replace

import pytest

from loadtest.suite.results import Cell, Cold
from loadtest.suite.summary import Case, Summary, summarize
from runtime import estimate
from tests.loadtest.suite import runs

FEW = (runs.MATMULS[2], runs.VECTOR_ADD)
MATMUL, VECTORS = "matmul bfloat16", "vector_add float32"


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "RESAMPLES", 300)  # a bootstrap's interval, a little coarser


def case(summary: Summary, name: str) -> Case:
    return next(found for found in summary.cases if found.name == name)


def test_without_a_gpu_there_are_times_and_no_speedups() -> None:
    summary = summarize(runs.made(gpu=None, cases=FEW))
    assert not summary.has_gpu
    for one in summary.comparisons:
        assert (one.speedup, one.with_transfers, one.gpu) == (None, None, None)
        assert one.why == "no GPU here"
        assert one.cpu and one.cpu.seconds
    assert case(summary, MATMUL).crossover is None


def test_a_simulated_gpu_is_labelled() -> None:
    summary = summarize(runs.made(gpu="simulated", cases=FEW))
    assert summary.simulated and summary.has_gpu
    assert (summary.label("gpu"), summary.label("cpu")) == ("GPU (simulated)", "CPU")


def test_an_interrupted_run_is_summed_up_as_far_as_it_came() -> None:
    summary = summarize(runs.interrupted(runs.made(cases=FEW), 11))
    last = case(summary, VECTORS).sizes[-1]
    assert last.why == "not measured on the GPU: the run ended early"
    assert last.cpu and last.cpu.seconds and last.cpu.seconds.n == 2
    assert case(summary, MATMUL).sizes[0].why == "the results were not compared"


def test_a_run_that_measured_nothing_is_summed_up() -> None:
    summary = summarize(replace(runs.made(), cells=(), colds=(), parities=(), ceilings=()))
    assert (summary.cases, summary.starts, summary.tops, summary.calls) == ((), (), (), 0)


def test_a_case_is_quoted_by_its_largest_size_that_has_a_speedup() -> None:
    results = runs.parity_failing(runs.made(cases=FEW), MATMUL, 8192)
    best = case(summarize(results), MATMUL).best
    assert best and best.size == 4096


def test_a_cold_start_is_told_in_warm_calls() -> None:
    colds = [
        Cold("matmul", MATMUL, "gpu", 64, i, start, 0.3, 0.02)
        for i, start in enumerate((0.2, 0.25, 0.2))
    ]
    (start,) = summarize(replace(runs.made(), colds=tuple(colds))).starts
    assert start.extra == pytest.approx(0.48)
    assert start.worth == pytest.approx(24)
    assert start.n == 3


def test_sizes_come_from_the_least_up_whatever_order_they_ran_in() -> None:
    results = runs.made(cases=FEW)
    mixed: tuple[Cell, ...] = results.cells[::-1]
    found = case(summarize(replace(results, cells=mixed)), MATMUL)
    assert [one.size for one in found.sizes] == sorted(one.size for one in found.sizes)
