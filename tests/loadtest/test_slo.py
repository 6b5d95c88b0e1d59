"""What an SLO may say, and that a goal is held against what was measured."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest import faults
from loadtest.latencies import Latencies
from loadtest.outcome import TOTAL, Generator, Group, Objective, Outcome
from loadtest.quantity import duration
from loadtest.slo import DIGITS, SUCCEEDED, THROTTLED, Goal, parse
from runtime.errors import ConfigurationError


def group(
    function: str, status: str, seconds: Sequence[float], device: str = "cpu", phase: str = TOTAL
) -> Group:
    counted = Latencies()
    for each in seconds:
        counted.record(each)
    return Group(function, device, False, status, len(seconds), {phase: counted.encode()})


def outcome(
    *groups: Group, seconds: float = 10.0, throttled: int = 0, unanswered: int = 0
) -> Outcome:
    return Outcome(
        plan={},
        url="http://127.0.0.1:8080",
        seed=1,
        began_at="2026-11-23T12:00:00Z",
        seconds=seconds,
        interrupted=None,
        machine=[],
        node=[],
        groups=groups,
        series=(),
        observed=(),
        decided=(),
        colds=(),
        faults=(),
        generator=Generator(1, 0.1, 0.0, 0, ()),
        throttled=throttled,
        unanswered=unanswered,
        objectives=(),
        audit=None,
    )


def check(text: str, measured: Outcome) -> Objective:
    (goal,) = parse(text)
    return goal.check(measured)


def told(text: str, measured: Outcome) -> tuple[str, bool]:
    objective = check(text, measured)
    assert objective.text == text
    return objective.measured, objective.met


# ── what is written ───────────────────────────────────────────────────────────────────────────


def test_every_measure_is_read() -> None:
    text = "p99=200ms, errors=0.1%,p50=20ms,throughput=500/s,max=2s,throttled=1%"
    assert parse(text) == (
        Goal("p99=200ms", None, None, "percentile", 99, 0.2),
        Goal("errors=0.1%", None, None, "errors", 0, 0.001),
        Goal("p50=20ms", None, None, "percentile", 50, 0.02),
        Goal("throughput=500/s", None, None, "throughput", 0, 500),
        Goal("max=2s", None, None, "percentile", 100, 2),
        Goal("throttled=1%", None, None, "throttled", 0, 0.01),
    )


@pytest.mark.parametrize(
    ("text", "function", "device", "percent"),
    [
        ("matmul.p95=1s", "matmul", None, 95),
        ("matmul.gpu.p95=1s", "matmul", "gpu", 95),
        ("gpu.p95=1s", None, "gpu", 95),
        ("matmul.p99.9=1s", "matmul", None, 99.9),
        ("p99.99=1s", None, None, 99.99),
        ("matmul.cpu.max=1s", "matmul", "cpu", 100),
        ("vector_add.gpu.p99.9=1s", "vector_add", "gpu", 99.9),
        ("p95.p95=1s", "p95", None, 95),  # a function may be called so
    ],
)
def test_a_goal_may_be_about_a_part(
    text: str, function: str | None, device: str | None, percent: float
) -> None:
    assert parse(text) == (Goal(text, function, device, "percentile", percent, 1.0),)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("p1=250us", 250e-6), ("p1=5µs", 5e-6), ("p1=.5ms", 5e-4), ("p1=1.5s", 1.5), ("p1=2m", 120)],
)
def test_latency_has_a_unit(text: str, seconds: float) -> None:
    assert parse(text)[0].bound == pytest.approx(seconds)


def test_no_errors_at_all_may_be_written_without_percent() -> None:
    assert parse("errors=0")[0].bound == parse("errors=0%")[0].bound == 0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the SLO is empty: write goals such as p99=200ms,errors=0.1%"),
        (" , ", "the SLO is empty"),
        ("p99", "SLO: p99 is no goal: write MEASURE=BOUND, as in p99=200ms,errors=0.1%"),
        ("p99<200ms", "SLO: p99<200ms is no goal"),
        ("p99=200", "SLO: p99=200 has no unit of time: write us, ms, s or m after the number"),
        ("p99=fast", "SLO: p99=fast has no number after ="),
        ("p99=-1ms", "SLO: p99=-1ms has no number after ="),
        ("p0=1ms", "SLO: p0=1ms asks for a percentile that is none"),
        ("p100.1=1ms", "SLO: p100.1=1ms asks for a percentile that is none"),
        ("errors=0.1", "SLO: errors=0.1 has no percent sign: write a share, as in errors=0.1%"),
        ("errors=1/s", "SLO: errors=1/s has no percent sign"),
        ("throttled=101%", "SLO: throttled=101% is over 100 %"),
        ("throughput=500", "SLO: throughput=500 has no rate: write successes a second, as in"),
        ("latency=1s", "SLO: latency=1s measures 'latency', which is not known: write p50, p99"),
        ("p99=1s,matmul.throttled=1%", "SLO: matmul.throttled=1% is about a part"),
        ("matmul.tpu.p99=1s", "SLO: matmul.tpu.p99=1s is no goal"),
    ],
)
def test_what_is_no_slo_is_told_with_what_to_write(text: str, why: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(text)
    assert str(caught.value).startswith(why)


@given(text=st.text(max_size=30) | st.from_regex(r"[a-z0-9.]{1,9}=[0-9.]{1,5}[a-z%/]{0,3}"))
def test_any_text_is_goals_or_a_configuration_error(text: str) -> None:
    try:
        goals = parse(text)
    except ConfigurationError:
        return
    assert goals and all(goal.bound >= 0 for goal in goals)


# ── what is measured ──────────────────────────────────────────────────────────────────────────


def test_percentiles_are_those_of_what_succeeded_or_was_accepted() -> None:
    measured = outcome(
        group("f", "succeeded", [0.001 * k for k in range(1, 91)]),
        group("f", "accepted", [0.001 * k for k in range(91, 101)]),
        group("f", "failed", [9.0] * 50),
        group("f", "no_answer", [60.0] * 50),
    )
    assert told("p50=51ms", measured) == ("50.01 ms", True)
    assert told("p99=98ms", measured) == ("99.01 ms", False)
    assert told("max=101ms", measured) == ("100.0 ms", True)


def test_a_percentile_is_that_of_all_groups_together_not_a_mean_of_theirs() -> None:
    rng = random.Random(3)
    latencies = [rng.expovariate(20) for _ in range(5000)]
    parts = [group(f"f{k}", "succeeded", latencies[k::7]) for k in range(7)]
    whole = Latencies()
    for each in latencies:
        whole.record(each)
    for percent in (50, 90, 99.9):
        expected = duration(whole.percentile(percent), DIGITS)
        assert told(f"p{percent}=1s", outcome(*parts))[0] == expected


def test_only_the_whole_latency_counts() -> None:
    fast = group("f", "succeeded", [0.001])
    run = group("f", "succeeded", [5.0], phase="run")
    assert told("max=1s", outcome(fast, run)) == ("1.000 ms", True)


def test_errors_are_all_that_did_not_succeed_and_what_nobody_answered() -> None:
    measured = outcome(
        group("f", "succeeded", [0.01] * 90),
        group("f", "accepted", [0.01] * 5),
        group("f", "failed", [0.01] * 2),
        group("f", "throttled", [0.01]),
        throttled=40,  # of which all but one were waited out
        unanswered=2,
    )
    assert told("errors=5%", measured) == ("5 %", True)
    assert told("errors=4.9%", measured) == ("5 %", False)
    assert told("f.errors=4%", measured) == ("3.061 %", True)


def test_429s_are_a_share_of_all_answers() -> None:
    measured = outcome(
        group("f", "succeeded", [0.01] * 89), group("f", "throttled", [0.01]), throttled=11
    )
    # 89 succeeded and 11 were 429s, of which 10 were sent again: 100 answers.
    assert told("throttled=11%", measured) == ("11 %", True)
    assert told("throttled=10.9%", measured) == ("11 %", False)


def test_throughput_is_a_least_bound() -> None:
    measured = outcome(
        group("f", "succeeded", [0.01] * 995), group("f", "failed", [0.01] * 50), seconds=10
    )
    assert told("throughput=99/s", measured) == ("99.50/s", True)
    assert told("throughput=100/s", measured) == ("99.50/s", False)


def test_a_goal_about_a_part_looks_at_that_part_only() -> None:
    measured = outcome(
        group("f", "succeeded", [0.1] * 9, "cpu"),
        group("f", "failed", [0.1], "gpu"),
        group("f", "succeeded", [0.01] * 9, "gpu"),
        group("g", "succeeded", [1.0] * 9, "gpu"),
    )
    assert told("f.max=0.2s", measured) == ("100.0 ms", True)
    assert told("f.gpu.max=20ms", measured) == ("10.01 ms", True)
    assert told("gpu.max=20ms", measured) == ("1.000 s", False)
    assert told("f.gpu.errors=10%", measured) == ("10 %", True)
    assert told("g.throughput=1/s", measured) == ("0.9000/s", False)


@pytest.mark.parametrize(
    "text", ["p50=1s", "max=1s", "errors=0%", "throughput=1/s", "throttled=1%", "f.p50=1s"]
)
def test_where_nothing_was_answered_no_goal_is_met(text: str) -> None:
    assert told(text, outcome()) == ("none", False)


def test_where_all_failed_there_is_no_latency_and_every_error() -> None:
    measured = outcome(group("f", "refused", [0.01] * 5), unanswered=5)
    assert told("p50=1s", measured) == ("none", False)
    assert told("errors=1%", measured) == ("100 %", False)
    assert told("throughput=1/s", measured) == ("0/s", False)


def test_a_function_that_was_not_called_meets_nothing() -> None:
    measured = outcome(group("f", "succeeded", [0.01]))
    assert told("g.p50=1s", measured) == ("none", False)
    assert told("f.gpu.errors=1%", measured) == ("none", False)


@given(
    latencies=st.lists(st.floats(1e-6, 100), min_size=1, max_size=30),
    percent=st.integers(1, 100),
    bound=st.integers(1, 100_000),
)
def test_a_goal_is_met_if_the_percentile_is_within_it_to_a_tenth_of_a_percent(
    latencies: list[float], percent: int, bound: int
) -> None:
    ordered = sorted(latencies)
    exact = ordered[-(-percent * len(ordered) // 100) - 1]  # the least that so many do not exceed
    met = check(f"p{percent}={bound}ms", outcome(group("f", "succeeded", latencies))).met
    if exact < bound / 1000 * 0.998 - 1e-6:
        assert met
    if exact > bound / 1000 * 1.002 + 1e-6:
        assert not met


def test_statuses_are_called_as_the_client_calls_them() -> None:
    assert {faults.SUCCEEDED, faults.ACCEPTED} == SUCCEEDED
    assert faults.THROTTLED == THROTTLED
