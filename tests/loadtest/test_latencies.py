"""That a percentile is what its definition says, to three digits."""

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loadtest.latencies import Latencies

seconds = st.floats(1e-5, 100)


def counted(*latencies: float) -> Latencies:
    histogram = Latencies()
    for each in latencies:
        histogram.record(each)
    return histogram


@given(latencies=st.lists(seconds, min_size=1, max_size=100), percent=st.integers(0, 1000))
@example(latencies=[1.0, 1.0, 1e-5], percent=340)
@example(latencies=[1.0] * 2 + [0.001] * 149, percent=990)
def test_a_percentile_is_the_least_latency_that_so_many_do_not_exceed(
    latencies: list[float], percent: int
) -> None:
    rank = max(1, -(-percent * len(latencies) // 1000))
    exact = sorted(latencies)[rank - 1]
    found = counted(*latencies).percentile(percent / 10)
    assert exact - 1e-6 <= found <= exact * 1.001 + 1e-6


@settings(max_examples=25)
@given(one=st.lists(seconds, max_size=20), other=st.lists(seconds, max_size=20))
def test_histograms_add_up_and_survive_their_encoding(one: list[float], other: list[float]) -> None:
    whole = counted(*one, *other)
    added = counted(*one)
    added.add(Latencies.decode(counted(*other).encode()))
    assert added.counts() == whole.counts()
    assert added.count == len(one) + len(other)


def test_what_was_not_counted_has_no_percentile() -> None:
    assert math.isnan(Latencies().percentile(50)) and math.isnan(Latencies().mean)


def test_the_mean_is_exact_to_three_digits() -> None:
    assert counted(0.1, 0.2, 0.6).mean == pytest.approx(0.3, rel=1e-3)
