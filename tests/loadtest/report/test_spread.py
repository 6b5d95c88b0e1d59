"""How latencies spread."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.latencies import Latencies
from loadtest.report.spread import NOTHING, bins, spread


def latencies(values: list[float]) -> Latencies:
    counted = Latencies()
    for each in values:
        counted.record(each)
    return counted


def test_a_known_distribution_has_its_known_percentiles() -> None:
    found = spread(latencies([n / 1000 for n in range(1, 1001)]))
    assert found.count == 1000
    assert found.mean == pytest.approx(0.5005, rel=0.001)
    for percent, seconds in ((50, 0.5), (75, 0.75), (99, 0.99), (99.9, 0.999)):
        assert found.at(percent) == pytest.approx(seconds, rel=0.001)
    assert found.longest == pytest.approx(1.0, rel=0.001)


def test_nothing_has_no_percentiles() -> None:
    assert spread(Latencies()) == NOTHING
    assert NOTHING.at(50) is None and NOTHING.sum == 0


@given(st.lists(st.floats(1e-5, 100), min_size=1, max_size=50))
def test_bins_always_hold_every_latency_once(values: list[float]) -> None:
    edges = [1e-4 * 4**n for n in range(10)]
    assert sum(bins(latencies(values), edges)) == len(values)


def test_a_latency_lies_in_the_bin_whose_upper_edge_it_does_not_exceed() -> None:
    assert bins(latencies([0.5, 1.5, 1.6, 9.0]), [0.0, 1.0, 2.0, 3.0]) == [1, 2, 1]
