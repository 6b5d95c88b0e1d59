"""Seconds of load, as many together as a plot has room for."""

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from loadtest.outcome import Second
from loadtest.report.step import steps


def second(at: int, succeeded: int = 1, p50: float | None = 0.1) -> Second:
    return Second(at, 1, 1, succeeded, 0, 0, 0, 0, p50, p50, p50, p50, {}, 0.1, 0.0)


@given(st.sets(st.integers(0, 5000), min_size=1, max_size=60), st.integers(1, 50))
def test_steps_are_always_few_and_always_hold_every_second(ats: set[int], most: int) -> None:
    found = steps([second(at) for at in sorted(ats)], most)
    assert len(found) <= most
    assert [each.at for step in found for each in step.seconds] == sorted(ats)
    assert all(a.end == b.begin for a, b in pairwise(found))


def test_a_step_has_the_mean_of_counts_and_the_longest_of_latencies() -> None:
    (step,) = steps([second(0, 4, 0.1), second(1, 2, 0.3), second(2, 0, None)], most=1)
    assert step.mean(lambda s: s.succeeded) == 2
    assert step.longest(lambda s: s.p50) == 0.3


def test_a_second_without_latencies_leaves_a_gap() -> None:
    found = steps([second(0), second(1, 0, None), second(3)])
    assert [math.isnan(step.longest(lambda s: s.p50)) for step in found] == [
        False,
        True,
        True,
        False,
    ]


def test_no_second_makes_no_step() -> None:
    assert steps([]) == []
