"""One size on both devices: speedups and why there is none, shares, failures."""

from dataclasses import replace

import pytest

from loadtest.suite.comparison import Comparison
from loadtest.suite.results import Ceiling, Results, Sample
from loadtest.suite.summary import Summary, summarize
from runtime import estimate
from tests.loadtest.suite import runs

FEW = (runs.MATMULS[2], runs.VECTOR_ADD)
MATMUL, VECTORS = "matmul bfloat16", "vector_add float32"


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "RESAMPLES", 300)  # a bootstrap's interval, a little coarser


def at(summary: Summary, name: str, size: float) -> Comparison:
    return next(one for one in summary.comparisons if (one.case, one.size) == (name, size))


def with_cells(results: Results, **changes: object) -> Results:
    """The same run with other fields of its GPU's cells."""
    return replace(
        results,
        cells=tuple(
            replace(cell, **changes) if cell.device == "gpu" else cell  # type: ignore[arg-type]
            for cell in results.cells
        ),
    )


def known() -> Results:
    """Two cells whose every number can be checked by head."""
    cpu = tuple(Sample(i, 8.0 + i % 2, 0.0, 0.0, 30.0) for i in range(11))
    gpu = tuple(Sample(i, 2.0, 1.0, 0.5, 9.0) for i in range(11))
    base = runs.made(cases=(runs.VECTOR_ADD,))
    one = base.cells[0]
    assert (one.size, one.work) == (10_000, 120_000)
    cells = (replace(one, samples=cpu), replace(one, device="gpu", samples=gpu))
    ceilings = (
        Ceiling("cpu", "copy", "B/s", (30_000.0,) * 3, ""),
        Ceiling("gpu", "copy", "B/s", (50_000.0, 80_000.0, 90_000.0), ""),
    )
    return replace(base, cells=cells, ceilings=ceilings)


def test_every_number_is_what_its_name_says() -> None:
    one = at(summarize(known()), VECTORS, 10_000)
    assert one.cpu and one.gpu and one.speedup and one.with_transfers
    assert one.cpu.seconds and one.cpu.seconds.median == 8.0
    assert (one.gpu.transfer_in, one.gpu.transfer_out, one.gpu.call) == (1.0, 0.5, 9.0)
    assert one.speedup.median == 4.0
    assert one.with_transfers.median == 8.0 / 3.5
    assert (one.cpu.rate, one.cpu.share) == (15_000, 0.5)
    assert (one.gpu.rate, one.gpu.share) == (60_000, 0.75)
    assert (one.why, one.speedup.n) == ("", 11)


def test_transfers_are_added_call_by_call() -> None:
    """A median of sums is no sum of medians: slow copies may go with fast work."""
    gpu = tuple(Sample(i, s, 10 - s, 0.0, 9.0) for i, s in enumerate((1.0, 2.0, 6.0)))
    results = known()
    results = replace(results, cells=(results.cells[0], replace(results.cells[1], samples=gpu)))
    found = at(summarize(results), VECTORS, 10_000).with_transfers
    assert found and found.median == 8.0 / 10


def test_a_speedup_is_withheld_where_results_differ_and_only_there() -> None:
    results = runs.parity_failing(runs.made(cases=FEW), MATMUL, 1024)
    summary = summarize(results)
    wrong = at(summary, MATMUL, 1024)
    assert (wrong.speedup, wrong.with_transfers) == (None, None)
    assert wrong.short == "results differ"
    assert wrong.why == (
        "results differ: checksum: CPU 15234.25, GPU 15871.5,"
        " and |cpu − gpu| ≤ 1e-4 × n ** 1.5 was asked for"
    )
    assert all(one.speedup for one in summary.comparisons if one is not wrong)


def test_a_speedup_is_withheld_where_results_were_not_compared() -> None:
    results = runs.made(cases=FEW)
    unchecked = tuple(
        replace(p, holds=None, checks=(), reason="the plan names no field to compare")
        for p in results.parities
    )
    for parities, why in (
        ((), "the results were not compared"),
        (unchecked, "the results were not compared (the plan names no field to compare)"),
    ):
        summary = summarize(replace(results, parities=parities))
        assert {(one.speedup, one.why) for one in summary.comparisons} == {(None, why)}


def test_half_the_calls_may_fail_and_the_rest_still_counts() -> None:
    results = runs.half_failing(runs.made(cases=FEW), "matmul", "gpu", "CUDA error: 700")
    one = at(summarize(results), MATMUL, 1024)
    assert one.speedup and one.speedup.n == 12
    assert one.failures == ["on the GPU, 12 of 24 calls failed: CUDA error: 700"]


def test_reasons_of_failures_are_counted_apart() -> None:
    results = runs.made(cases=FEW)
    failures = ("out of memory", "timed out", "out of memory")
    results = replace(results, cells=(replace(results.cells[0], failures=failures),))
    (told,) = summarize(results).comparisons[0].failures
    assert told == "on the CPU, 3 of 27 calls failed: out of memory (2 ×); timed out (1 ×)"


def test_a_case_that_fails_wholly_has_no_numbers_and_says_why() -> None:
    results = runs.all_failing(runs.made(cases=FEW), MATMUL, "gpu", "out of memory")
    one = at(summarize(results), MATMUL, 64)
    assert (one.speedup, one.gpu and one.gpu.seconds) == (None, None)
    assert one.why == "on the GPU, 3 of 3 calls failed: out of memory"


def test_a_size_that_was_left_out_says_why() -> None:
    stopped = "left out: a call would take about 37 s, and the plan allows 6 s"
    one = summarize(with_cells(known(), samples=(), stopped=stopped)).comparisons[0]
    assert one.why == f"on the GPU, {stopped}"
    assert one.short == "on the GPU, left out"


def test_too_few_calls_give_a_ratio_without_interval() -> None:
    for one in summarize(runs.made(cases=FEW, samples=5)).comparisons:
        assert one.speedup
        assert (one.speedup.low, one.speedup.high, one.speedup.n) == (None, None, 5)


def test_what_a_plan_gives_the_devices_apart_is_told_and_compared() -> None:
    """As TF32 is, which only a GPU has: whether the results agree decides."""
    results = known()
    given = {**results.cells[0].parameters, "dtype": "tf32"}
    one = summarize(with_cells(results, parameters=given)).comparisons[0]
    assert one.speedup
    assert one.differing == "dtype: CPU float32, GPU tf32"


def test_repetitions_within_a_call_may_differ_between_devices() -> None:
    results = known()
    given = {**results.cells[0].parameters, "repeat": 50}
    one = summarize(with_cells(results, parameters=given)).comparisons[0]
    assert one.speedup and one.differing == ""


def test_a_time_of_zero_gives_no_speedup() -> None:
    results = with_cells(known(), samples=(Sample(0, 0.0, 0.1, 0.1, 0.3),) * 8)
    one = summarize(results).comparisons[0]
    assert one.why == "on the GPU it took less time than the clock can tell"
    assert one.gpu and one.gpu.rate is None


def test_each_device_is_held_against_its_own_ceiling() -> None:
    summary = summarize(with_cells(known(), ceiling="matmul tf32"))
    (found,) = summary.cases
    assert (found.ceiling("cpu"), found.ceiling("gpu")) == ("copy", "matmul tf32")
    one = found.sizes[0]
    assert one.cpu and one.gpu and (one.cpu.share, one.gpu.share) == (0.5, None)


def test_without_a_ceiling_there_is_a_rate_and_no_share() -> None:
    one = summarize(replace(known(), ceilings=())).comparisons[0]
    assert one.gpu and (one.gpu.rate, one.gpu.share) == (60_000, None)


def test_the_confidence_is_that_of_the_run() -> None:
    summary = summarize(replace(known(), confidence=0.5))
    one = summary.comparisons[0]
    assert one.speedup and one.speedup.confidence == 0.5
    assert one.cpu and one.cpu.seconds and one.cpu.seconds.confidence == 0.5
