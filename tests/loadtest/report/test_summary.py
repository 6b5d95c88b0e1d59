"""What a load test adds up to, in numbers and sentences."""

import math
from dataclasses import replace

from loadtest.outcome import Generator, Group, Outcome
from loadtest.report.summary import Summary
from tests.loadtest.outcomes import (
    brief,
    empty,
    histogram,
    interrupted,
    mixed,
    saturated,
    unanswered,
)

MIXED = Summary(mixed())


def with_groups(*groups: Group) -> Outcome:
    return replace(brief(), groups=groups)


def group(device: str, simulated: bool, status: str = "succeeded", count: int = 2) -> Group:
    return Group("f", device, simulated, status, count, {"total": histogram([0.1] * count)})


def test_the_headline_is_what_a_person_would_say() -> None:
    assert MIXED.headline == (
        "1,260 of 1,316 invocations succeeded in 61.3 s (20.6/s); p50 23.4 ms, p99 1.20 s;"
        " 56 faults: 41 failed, 8 refused, 7 timed_out."
    )
    assert Summary(brief()).headline == (
        "All 5 invocations succeeded in 1.02 s (4.90/s); p50 2.00 ms, p99 2.00 ms."
    )
    assert Summary(unanswered()).headline == (
        "None of 200 invocations succeeded in 10.0 s (0/s); 200 faults: 200 refused."
    )
    assert Summary(empty()).headline == "Nothing was sent in 0 s."


def test_the_headline_tells_what_was_accepted_and_what_nobody_answered() -> None:
    accepted = replace(with_groups(group("cpu", False, "accepted", 3)), unanswered=1)
    told = Summary(accepted).headline
    assert told.startswith("3 of 4 invocations were accepted (202) in")
    assert "1 answer had not come when it ended" in told


def test_what_was_given_up_after_429s_is_no_fault() -> None:
    outcome = with_groups(group("cpu", False), group("cpu", False, "throttled", 3))
    summary = Summary(replace(outcome, throttled=30))
    assert not summary.failed and "3 given up after 429s" in summary.headline
    assert "30 answers were 429" in summary.throttled
    assert "3 invocations got no other answer" in summary.throttled


def test_a_simulated_gpu_says_so_wherever_its_device_is_named() -> None:
    summary = MIXED
    assert summary.device("gpu") == "gpu (simulated)" and summary.device("cpu") == "cpu"
    assert {row.device for row in summary.rows} == {"cpu", "gpu (simulated)"}
    assert list(summary.latencies) == ["cpu", "gpu (simulated)"]


def test_a_real_gpu_is_not_called_simulated() -> None:
    assert {row.device for row in Summary(mixed(simulated=False)).rows} == {"cpu", "gpu"}


def test_gpus_of_which_some_are_simulated_are_told_apart() -> None:
    summary = Summary(with_groups(group("gpu", False), group("gpu", True)))
    assert {row.device for row in summary.rows} == {"gpu", "gpu (simulated)"}
    assert summary.device("gpu") == "gpu (partly simulated)"


def test_a_node_that_simulates_its_gpu_is_believed_where_nothing_succeeded() -> None:
    outcome = replace(unanswered(), node=[("simulated", "gpu")])
    assert Summary(outcome).rows[0].device == "gpu (simulated)"
    assert Summary(replace(outcome, node=[("simulated", "no")])).rows[0].device == "gpu"


def test_the_generator_says_whether_it_was_the_bottleneck() -> None:
    told = MIXED.generator
    assert told.startswith("The generator was not the bottleneck: it used 34 % of one core")
    told = Summary(saturated()).generator
    assert told.startswith("The generator was the bottleneck in 3 of 60 seconds: it used more")
    never = replace(brief(), generator=Generator(1, 0.1, math.nan, 0, ()))
    assert "nan" not in Summary(never).generator


def test_an_interrupted_run_says_so() -> None:
    assert Summary(interrupted()).interrupted.startswith(
        "Interrupted: Ctrl-C after 20.4 s of 60 s."
    )
    assert not MIXED.interrupted


def test_an_slo_is_met_or_says_what_missed_it() -> None:
    assert MIXED.objectives == "SLO missed: errors=1% was asked, 4.3 % measured."
    good = replace(mixed(), objectives=mixed().objectives[:1])
    assert Summary(good).objectives == "SLO met."
    assert Summary(brief()).objectives == "No SLO was asked for."


def test_the_audit_is_told_with_its_sum() -> None:
    assert MIXED.audit == (
        "Audit holds: every accepted invocation is accounted for"
        " (1,308 accepted = 1,260 succeeded + 41 failed + 7 timed_out)."
    )
    lost = replace(mixed(), audit={"holds": False, "accepted": 2, "problems": ["one is lost"]})
    assert Summary(lost).audit == "Audit does not hold: one is lost (2 accepted = 0)."
    assert Summary(replace(lost, audit={})).audit == "Audit does not hold: no reason given."
    assert "did not answer" in Summary(brief()).audit
