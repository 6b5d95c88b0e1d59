"""A case's part of the report: what its tables say at each size."""

import re
from dataclasses import replace

import pytest

from loadtest.suite.report.case import section
from loadtest.suite.results import Results
from loadtest.suite.summary import summarize
from runtime import estimate
from tests.loadtest.suite import runs

MATMUL = "matmul bfloat16"
ONE = runs.FOUR[:1]


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "RESAMPLES", 100)


def parts(results: Results) -> tuple[str, str, str, str]:
    """The section of the first case: heading, sentence, times, and rates."""
    summary = summarize(results)
    heading, sentence, times, rates = section(summary.cases[0], summary)
    return heading, sentence, times, rates


def row(table: str, size: str) -> list[str]:
    line = next(line for line in table.splitlines() if line.startswith(f"| {size} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_it_begins_with_what_every_call_was_given() -> None:
    heading, sentence, _, _ = parts(runs.made(cases=ONE))
    assert heading == f"## {MATMUL}"
    assert sentence == (
        "Function `matmul`, size `n`; also given: dtype = bfloat16, seed = 7, repeat = 3."
    )


def test_what_the_devices_were_given_apart_is_named() -> None:
    results = runs.made(cases=ONE)
    cells = tuple(
        replace(cell, parameters=cell.parameters | {"dtype": "tf32"})
        if cell.device == "gpu"
        else cell
        for cell in results.cells
    )
    _, sentence, _, _ = parts(replace(results, cells=cells))
    assert sentence.endswith("repeat = 3. Given apart: dtype: CPU bfloat16, GPU tf32.")


def test_times_and_speedups_stand_with_their_intervals() -> None:
    _, _, times, _ = parts(runs.made(cases=ONE))
    size, cpu, gpu, into, out, speedup, whole = row(times, "8,192")
    assert size == "8,192"
    assert re.fullmatch(r"3\d\d ms \(3\d\d ms to 3\d\d ms, 24 calls\)", cpu)
    assert re.fullmatch(r"1\.\d\d ms \(1\.\d\d ms to 1\.\d\d ms, 24 calls\)", gpu)
    assert into.endswith(" ms") and out.endswith(" ms")
    assert re.fullmatch(r"\*\*2\d\d ×\*\* \(2\d\d to 2\d\d, 24 calls\)", speedup)
    assert re.fullmatch(r"\d\d\.\d × \(\d\d\.\d to \d\d\.\d, 24 calls\)", whole)


def test_too_few_calls_give_a_ratio_and_no_interval() -> None:
    _, _, times, _ = parts(runs.made(cases=ONE, samples=3))
    assert "(3 calls, too few for an interval)" in times
    assert not re.search(r"to [\d.]+, 3 calls", times)


def test_no_speedup_is_printed_where_results_differ_and_only_there() -> None:
    _, _, times, _ = parts(runs.parity_failing(runs.made(cases=ONE), MATMUL, 1024))
    assert row(times, "1,024")[-2:] == ["not printed: results differ", "–"]
    assert times.count("not printed") == 1


def test_failures_are_counted_where_the_time_stands() -> None:
    _, _, times, _ = parts(runs.half_failing(runs.made(cases=ONE), "matmul", "gpu", "no"))
    assert row(times, "64")[2].endswith("12 calls, 12 failed)")
    _, _, times, _ = parts(runs.all_failing(runs.made(cases=ONE), MATMUL, "gpu", "no"))
    assert row(times, "64")[2] == "failed"


def test_rates_say_of_which_ceiling_they_are_and_what_a_whole_call_takes() -> None:
    _, _, _, rates = parts(runs.made(cases=ONE))
    head = rates.splitlines()[0]
    assert head.count("of its `matmul bfloat16`") == 2 and "whole call on the GPU" in head
    size, work, cpu, of_cpu, _, gpu, of_gpu, _ = row(rates, "8,192")
    assert (size, work) == ("8,192", "1.10 TFLOP")
    assert cpu.endswith(" TFLOP/s") and gpu.endswith(" TFLOP/s")
    assert of_cpu.endswith(" %") and of_gpu.endswith(" %")


def test_without_work_there_are_no_rates() -> None:
    results = runs.made(cases=ONE)
    cells = tuple(replace(cell, work=None) for cell in results.cells)
    assert parts(replace(results, cells=cells))[3] == ""
