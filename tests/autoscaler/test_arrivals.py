"""Made-up arrivals come as often as they say, in order, and alike with the same seed."""

import itertools
import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.arrivals import pattern
from runtime.errors import ConfigurationError

PATTERNS = [
    "poisson:5",
    "constant:5",
    "burst:20:30:90",
    "diurnal:1:9:300",
    "diurnal:1:9",
    "ramp:0:10",
]


@pytest.mark.parametrize("text", PATTERNS)
def test_as_many_come_as_the_rate_says(text: str) -> None:
    found = pattern(text)
    seconds = 2000.0
    expected = found.mean(seconds)
    # A Poisson count is within 4 of its deviations but in one of 16,000 cases.
    assert abs(len(found.instants(seconds, Random(3))) - expected) <= 4 * math.sqrt(expected) + 1


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PATTERNS), st.floats(0.1, 300), st.integers(0, 99))
def test_they_are_always_in_order_and_within_the_time(text: str, seconds: float, seed: int) -> None:
    instants = pattern(text).instants(seconds, Random(seed))
    assert instants == sorted(instants)
    assert all(0 <= at < seconds + 1e-9 for at in instants)
    assert instants == pattern(text).instants(seconds, Random(seed))


def test_bursts_come_only_while_they_are_on_and_ramps_rise() -> None:
    instants = pattern("burst:20:30:90").instants(600, Random(1))
    assert instants and all(at % 120 < 30 for at in instants)
    rising = pattern("ramp:0:10").instants(1000, Random(1))
    assert sum(at > 500 for at in rising) > 2 * sum(at <= 500 for at in rising)


def test_gaps_of_a_poisson_process_are_spread_as_they_should_be() -> None:
    """Their deviation is their mean (of constant ones it is 0)."""
    instants = pattern("poisson:4").instants(5000, Random(2))
    gaps = [b - a for a, b in itertools.pairwise(instants)]
    mean = math.fsum(gaps) / len(gaps)
    deviation = math.sqrt(math.fsum((gap - mean) ** 2 for gap in gaps) / len(gaps))
    assert deviation == pytest.approx(mean, rel=0.05)


@pytest.mark.parametrize(
    "text",
    ["", "poisson", "poisson:x", "poisson:-1", "burst:1:2", "burst:1:0:5", "diurnal:1:2:0", "x:1"],
)
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--arrivals"):
        pattern(text)


def test_more_than_memory_holds_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="take fewer seconds"):
        pattern("poisson:1e6").instants(1e6, Random(0))
