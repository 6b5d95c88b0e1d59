"""Sentences about a run: what must be read first, and what was found."""

from dataclasses import replace

import pytest

from loadtest.suite.report import findings
from loadtest.suite.summary import summarize
from runtime import estimate
from tests.loadtest.suite import runs

MATMUL = "matmul bfloat16"


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "RESAMPLES", 100)


def test_a_good_run_has_no_warnings() -> None:
    assert findings.warnings(summarize(runs.made())) == []


def test_everything_that_spoils_a_run_is_said_first() -> None:
    spoilt = replace(
        runs.interrupted(runs.made(gpu="simulated"), 5), quick=True, load_before="9.50, 1.0, 1.0"
    )
    told = findings.warnings(summarize(spoilt))
    assert [warning.split(":")[0] for warning in told] == [
        "The GPU is simulated",
        "The run ended early",
        "A quick look",
        "The machine was busy before the run began",
    ]
    assert "a load of 9.50 beside 16 threads" in told[-1]


def test_without_a_gpu_it_says_cpu_only() -> None:
    (told,) = findings.warnings(summarize(runs.made(gpu=None)))
    assert told.startswith("CPU only: no GPU here.")


def test_a_load_that_cannot_be_read_is_no_warning() -> None:
    assert findings.warnings(summarize(replace(runs.made(), load_before="unknown"))) == []


def test_a_finding_says_how_much_faster_of_what_and_from_where() -> None:
    summary = summarize(runs.made())
    told = findings.finding(summary.cases[0], summary)
    assert told.startswith("at n = 8,192 the GPU is 22")
    assert "24 calls)" in told
    assert "with transfers in and out. There the GPU reached" in told
    assert "of its measured ceiling (matmul bfloat16), and the CPU reached" in told
    assert "The GPU wins from n ≈ 240 on; with transfers, from n ≈ 470 on." in told


def test_a_gpu_that_loses_by_its_transfers_is_told_so() -> None:
    summary = summarize(runs.made())
    told = findings.finding(summary.cases[2], summary)
    assert "with transfers, at none of the compared sizes." in told


def test_the_largest_size_without_a_speedup_is_not_passed_over() -> None:
    summary = summarize(runs.parity_failing(runs.made(), MATMUL, 8192))
    told = findings.finding(summary.cases[0], summary)
    assert told.startswith("at n = 4,096 ")
    assert "No speedup at n = 8,192: results differ: checksum" in told


def test_a_case_without_speedups_gives_its_times_and_the_reason() -> None:
    summary = summarize(runs.all_failing(runs.made(), MATMUL, "gpu", "out of memory"))
    told = findings.finding(summary.cases[0], summary)
    assert "on the CPU, at 90.6 % of the CPU's measured ceiling (matmul bfloat16)" in told
    assert told.endswith("No speedup: on the GPU, 3 of 3 calls failed: out of memory.")


def test_on_a_cpu_alone_a_case_gives_its_time_and_no_excuse() -> None:
    summary = summarize(runs.made(gpu=None))
    told = findings.finding(summary.cases[0], summary)
    assert "on the CPU, at" in told
    assert "speedup" not in told


def test_agreement_is_counted() -> None:
    assert findings.parity(summarize(runs.made())) == (
        "Results of CPU and GPU were compared at 16 sizes: all agree."
    )
    one = findings.parity(summarize(runs.parity_failing(runs.made(), MATMUL, 64)))
    assert "at 1 they differ, and no speedup is given." in one
    assert findings.parity(summarize(runs.made(gpu=None))) == ""
    none = findings.parity(summarize(replace(runs.made(), parities=())))
    assert none == "No results were compared, so there is no speedup."


def test_missing_speedups_of_one_reason_are_told_together() -> None:
    summary = summarize(replace(runs.made(cases=runs.FOUR[:1]), parities=()))
    assert findings.missing(summary) == [
        f"no speedup of {MATMUL} at n = 64, 256, 1,024, 4,096, 8,192: the results were not compared"
    ]


def test_the_dearest_cold_start_of_each_device_is_told() -> None:
    told = findings.coldness(summarize(runs.made()))
    assert len(told) == 2
    assert told[1].startswith("A cold GPU start of ")
    assert "warm calls of size" in told[1]


def test_failures_are_told_by_case_and_size() -> None:
    failing = runs.half_failing(runs.made(), "matmul", "gpu", "CUDA error")
    told = findings.failures(summarize(failing))
    assert len(told) == 5
    assert told[0] == f"{MATMUL} at n = 64: on the GPU, 12 of 24 calls failed: CUDA error"
