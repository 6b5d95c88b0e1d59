"""A throttle lets through what its rate and burst allow, at instants that a test says."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.throttle import Throttle

rates = st.floats(0.01, 1000)
steps = st.lists(st.floats(0, 60), max_size=60)


def test_a_burst_passes_and_what_comes_then_waits_for_its_turn() -> None:
    throttle = Throttle(rate=2, burst=3, now=100.0)
    assert [throttle.take(100.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert throttle.take(100.25) == pytest.approx(0.25)
    assert throttle.take(100.5) == 0
    assert throttle.take(100.5) == pytest.approx(0.5)


def test_a_wait_that_was_told_is_enough() -> None:
    throttle = Throttle(rate=0.1, burst=1, now=0.0)
    assert throttle.take(0.0) == 0
    wait = throttle.take(3.0)
    assert wait == pytest.approx(7)
    assert throttle.take(3.0 + math.ceil(wait)) == 0


def test_what_is_owed_is_made_up_for() -> None:
    throttle = Throttle(rate=10, burst=10, now=0.0)
    throttle.owe(110)
    assert throttle.take(0.0) == pytest.approx(10.1)
    assert throttle.take(10.2) == 0


def test_a_clock_that_goes_back_gives_nothing() -> None:
    throttle = Throttle(rate=1, burst=1, now=100.0)
    assert throttle.take(100.0) == 0
    assert throttle.take(50.0) == pytest.approx(1)


@given(rate=rates, burst=st.floats(1, 100), gaps=steps)
def test_it_never_lets_more_through_than_burst_and_rate_allow(
    rate: float, burst: float, gaps: list[float]
) -> None:
    throttle, now, passed = Throttle(rate, burst, 0.0), 0.0, 0
    for gap in gaps:
        now += gap
        while throttle.take(now) == 0 and passed <= 10_000:
            passed += 1
        assert passed <= burst + now * rate + 1e-6 * (1 + now * rate)
        if passed > 10_000:
            return
