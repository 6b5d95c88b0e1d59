"""From which size on the GPU wins, for ratios whose crossing is known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.suite.crossover import Point, crossover
from runtime.estimate import Estimate


def point(size: float, median: float, spread: float | None = 0.02) -> Point:
    if spread is None:
        return Point(size, Estimate(median, None, None, 3, 0.95))
    low, high = median * (1 - spread), median * (1 + spread)
    return Point(size, Estimate(median, low, high, 24, 0.95))


def test_a_power_law_crosses_where_it_is_one() -> None:
    """A ratio of (n / 300) ** 1.5 is 1 at 300, whatever the sizes around it."""
    found = crossover([point(n, (n / 300) ** 1.5) for n in (64, 256, 1024, 4096)], "n")
    assert found.size == pytest.approx(300)
    assert found.words == "from n ≈ 300 on"
    assert found.detail == "between 256 (0.788 ×) and 1,024 (6.31 ×)"


@given(
    st.floats(10, 1e6),
    st.floats(0.1, 3),
    st.lists(st.integers(1, 10**7), min_size=2, max_size=8, unique=True),
)
def test_one_crossing_is_always_found_where_a_power_law_has_it(
    at: float, power: float, sizes: list[int]
) -> None:
    points = [point(n, (n / at) ** power, spread=1e-9) for n in sizes]
    found = crossover(points, "n")
    if min(sizes) < at * 0.999 and max(sizes) > at * 1.001:
        assert found.size == pytest.approx(at, rel=1e-6)
    elif min(sizes) > at:
        assert (found.size, found.words) == (None, "at every compared size")


def test_the_order_of_the_sizes_does_not_matter() -> None:
    points = [point(4, 0.5), point(16, 2.0), point(1, 0.2)]
    assert crossover(points, "n") == crossover(points[::-1], "n")


def test_the_gpu_may_win_everywhere_or_nowhere() -> None:
    assert crossover([point(1, 2), point(9, 5)], "n").words == "at every compared size"
    nowhere = crossover([point(1, 0.2), point(9, 0.9)], "n")
    assert (nowhere.size, nowhere.words) == (None, "at none of the compared sizes")
    assert nowhere.detail == "n = 1 to 9"


def test_the_cpu_may_win_the_large_sizes() -> None:
    found = crossover([point(10, 4), point(1000, 0.25)], "n")
    assert (found.size, found.words) == (None, "only up to n ≈ 100")


def test_more_than_one_crossing_is_said_and_has_no_single_size() -> None:
    found = crossover([point(1, 0.5), point(4, 2), point(16, 0.5), point(64, 2)], "n")
    assert found.size is None
    assert found.words == "at n = 4, 64 only (crosses more than once)"
    assert found.detail == "near n ≈ 2.00, 8.00, 32.0"


def test_noise_around_one_is_no_crossover() -> None:
    found = crossover([point(n, r) for n, r in ((1, 1.01), (4, 0.99), (16, 1.005))], "n")
    assert (found.size, found.words) == (None, "at no size for certain")
    assert "every interval holds 1 ×" in found.detail


def test_a_tie_between_two_winners_is_named_and_does_not_count() -> None:
    found = crossover([point(1, 0.5), point(4, 0.99), point(16, 1.01), point(64, 4)], "n")
    assert found.size == pytest.approx(8, rel=0.05)  # between the two ties, where the medians cross
    assert "no winner at n = 4, 16: the interval holds 1 ×" in found.detail


def test_ties_beside_one_winner_are_not_called_wins() -> None:
    found = crossover([point(1, 1.005), point(4, 3)], "n")
    assert found.words == "at every compared size that has a clear winner"
    assert "no winner at n = 1" in found.detail


def test_a_ratio_without_interval_counts_and_is_named() -> None:
    found = crossover([point(1, 0.5, None), point(4, 2, None)], "n")
    assert found.size == pytest.approx(2)
    assert found.words == "from n ≈ 2.00 on (by too few calls to be sure)"
    assert found.detail.endswith("too few calls for an interval at n = 1, 4")


def test_a_size_of_zero_has_no_logarithm_and_does_no_harm() -> None:
    found = crossover([point(0, 0.5), point(10, 2)], "n")
    assert found.size == pytest.approx(5)


def test_without_any_comparison_nothing_is_known() -> None:
    assert crossover([], "n").words == "not known"
