"""Medians and ratios of medians: intervals that hold the truth as often as they say."""

import math
import random
import statistics
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import estimate as module
from runtime.estimate import (
    Estimate,
    estimate,
    ratio,
    stratified_ratio,
    weighted_median,
)

# The ranks that bound the 95 % interval of a median, from tables of the binomial distribution
# (for instance Conover, Practical Nonparametric Statistics, table A3).
RANKS = {
    6: (1, 6),
    7: (1, 7),
    8: (1, 8),
    9: (2, 8),
    10: (2, 9),
    11: (2, 10),
    12: (3, 10),
    13: (3, 11),
    14: (3, 12),
    15: (4, 12),
    16: (4, 13),
    17: (5, 13),
    18: (5, 14),
    19: (5, 15),
    20: (6, 15),
    24: (7, 18),
    25: (8, 18),
    50: (18, 33),
}

Draw = Callable[[random.Random], float]
# Distributions with the median that they have.
KNOWN: dict[str, tuple[Draw, float]] = {
    "normal": (lambda rng: rng.gauss(10, 1), 10.0),
    "lognormal": (lambda rng: rng.lognormvariate(0, 1), 1.0),
    "uniform": (lambda rng: rng.uniform(1, 3), 2.0),
    # A call that is slow every third time: the median is the quantile ¾ of the faster mode.
    "bimodal": (
        lambda rng: rng.uniform(20, 21) if rng.random() < 1 / 3 else rng.uniform(10, 11),
        10.75,
    ),
}

seconds = st.floats(1e-9, 1e4)
samples = st.lists(seconds, min_size=1, max_size=60)


@pytest.mark.parametrize("n", RANKS)
def test_the_interval_lies_between_the_ranks_of_the_tables(n: int) -> None:
    found = estimate([float(rank) for rank in range(1, n + 1)])
    assert (found.low, found.high) == RANKS[n]


@pytest.mark.parametrize("n", range(1, 6))
def test_five_values_or_less_have_no_interval_at_95_percent(n: int) -> None:
    found = estimate([1.0] * n)
    assert (found.low, found.high, found.spread) == (None, None, None)
    assert ratio([1.0] * n, [1.0] * 30).low is None
    assert ratio([1.0] * 30, [1.0] * n).high is None


def test_less_confidence_needs_fewer_values() -> None:
    assert estimate([1.0, 2.0], confidence=0.5).low == 1.0
    assert estimate([1.0, 2.0, 3.0, 4.0, 5.0], confidence=0.9).high == 5.0
    assert estimate([1.0] * 7, confidence=0.99).low is None


def test_thousands_of_values_are_no_more_than_a_float_can_hold() -> None:
    n = 5000
    found = estimate([float(rank) for rank in range(1, n + 1)])
    # A binomial (n, ½) variable is about normal: the ranks are n/2 ∓ 1.96 √n/2.
    assert found.low == pytest.approx(n / 2 - 1.96 * math.sqrt(n) / 2, abs=2)
    assert found.high == pytest.approx(n / 2 + 1.96 * math.sqrt(n) / 2, abs=2)


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("n", [6, 10, 24])
def test_the_interval_holds_the_true_median_as_often_as_it_says(name: str, n: int) -> None:
    draw, truth = KNOWN[name]
    rng = random.Random(f"{name} {n}")
    held = 0
    for _ in range(2000):
        found = estimate([draw(rng) for _ in range(n)])
        assert found.low is not None and found.high is not None
        held += found.low <= truth <= found.high
    exact = 1 - 2 * sum(math.comb(n, k) for k in range(RANKS[n][0])) / 2**n
    assert exact >= 0.95
    assert held / 2000 == pytest.approx(exact, abs=0.018)  # four standard errors


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize(("n", "m"), [(6, 6), (12, 25)])
def test_the_interval_of_a_ratio_holds_the_true_one_as_often_as_it_says(
    name: str, n: int, m: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESAMPLES", 100)  # enough for its percentiles, and fast
    draw, _ = KNOWN[name]
    rng = random.Random(f"{name} {n} {m}")
    held = 0
    for seed in range(500):
        above = [8 * draw(rng) for _ in range(n)]
        found = ratio(above, [draw(rng) for _ in range(m)], seed=seed)
        assert found.low is not None and found.high is not None
        held += found.low <= 8 <= found.high
    # A bootstrap is no exact interval: it may hold the truth a little less often, or more.
    assert held / 500 >= 0.92


def test_an_interval_that_is_too_narrow_would_be_found() -> None:
    draw, truth = KNOWN["normal"]
    rng = random.Random(1)
    found = [estimate([draw(rng) for _ in range(24)], confidence=0.5) for _ in range(2000)]
    held = sum(e.low is not None and e.low <= truth <= (e.high or 0) for e in found)
    assert held / 2000 < 0.75


@pytest.mark.parametrize("n", [6, 7, 12, 13])
def test_a_resampled_median_is_the_median_of_a_resample(n: int) -> None:
    """One or two random numbers stand for n draws: both ways give one distribution."""
    rng = random.Random(n)
    ordered = sorted(rng.lognormvariate(0, 1) for _ in range(n))
    short = sorted(module._resampled_median(ordered, rng) for _ in range(4000))
    long = sorted(statistics.median(rng.choices(ordered, k=n)) for _ in range(4000))
    # Kolmogorov and Smirnov: two samples of 4,000 differ by more than 0.045 once in 1,000 times.
    values = sorted(set(short) | set(long))
    apart = max(abs(_share(short, value) - _share(long, value)) for value in values)
    assert apart < 0.045


def _share(values: list[float], most: float) -> float:
    return sum(value <= most for value in values) / len(values)


@given(samples)
def test_the_interval_always_contains_the_median(values: list[float]) -> None:
    found = estimate(values)
    assert found.median == statistics.median(values)
    assert found.n == len(values)
    if found.low is not None and found.high is not None:
        assert min(values) <= found.low <= found.median <= found.high <= max(values)


@given(samples, st.sampled_from([0.25, 2.0, 1024.0]))
def test_scaling_the_values_scales_the_estimate(values: list[float], by: float) -> None:
    one, scaled = estimate(values), estimate([by * value for value in values])
    assert scaled.median == pytest.approx(by * one.median)
    if one.low is not None and one.high is not None:
        assert scaled.low == pytest.approx(by * one.low)
        assert scaled.high == pytest.approx(by * one.high)


@given(samples, samples, st.randoms(use_true_random=False))
def test_the_order_of_the_values_never_matters(
    above: list[float], below: list[float], rng: random.Random
) -> None:
    mixed_above, mixed_below = above.copy(), below.copy()
    rng.shuffle(mixed_above)
    rng.shuffle(mixed_below)
    assert estimate(above) == estimate(mixed_above)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "RESAMPLES", 40)
        assert ratio(above, below) == ratio(mixed_above, mixed_below)


@given(samples, samples)
def test_the_interval_of_a_ratio_lies_between_what_can_be(
    above: list[float], below: list[float]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "RESAMPLES", 40)
        found = ratio(above, below)
    assert found.median == statistics.median(above) / statistics.median(below)
    if found.low is not None and found.high is not None:
        assert min(above) / max(below) <= found.low <= found.high <= max(above) / min(below)


def test_equal_values_have_a_ratio_without_doubt() -> None:
    assert ratio([6.0] * 10, [2.0] * 10) == Estimate(3.0, 3.0, 3.0, 10, 0.95)


def test_the_same_seed_gives_the_same_interval() -> None:
    rng = random.Random(3)
    above = [rng.lognormvariate(1, 1) for _ in range(15)]
    below = [rng.lognormvariate(0, 1) for _ in range(15)]
    assert ratio(above, below, seed=4) == ratio(above, below, seed=4)
    assert ratio(above, below, seed=4) != ratio(above, below, seed=5)


def test_a_ratio_of_what_took_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        ratio([1.0] * 10, [1.0] * 9 + [0.0])


def test_the_spread_is_the_larger_half_of_the_interval() -> None:
    assert Estimate(10.0, 9.0, 12.0, 20, 0.95).spread == pytest.approx(0.2)
    assert Estimate(0.0, 0.0, 1.0, 20, 0.95).spread is None


def test_the_weighted_median_has_half_of_the_weight_on_either_side() -> None:
    assert weighted_median([3.0, 1.0, 2.0], [1, 1, 1]) == 2.0
    assert weighted_median([3.0, 1.0, 2.0], [5, 1, 1]) == 3.0
    assert weighted_median([1.0, 2.0], [1, 1]) == 1.5
    assert weighted_median([4.0], [0.5]) == 4.0


@given(st.lists(st.tuples(seconds, st.integers(1, 4)), min_size=1, max_size=12))
def test_whole_weights_are_as_many_equal_values(weighted: list[tuple[float, int]]) -> None:
    values, weights = zip(*weighted, strict=True)
    repeated = [value for value, weight in weighted for _ in range(weight)]
    assert weighted_median(values, weights) == pytest.approx(statistics.median(repeated))


def test_strata_are_compared_each_within_itself() -> None:
    """All of the small is on one side, nearly: the ratio of all medians would be 0.1 and wrong."""
    small, large = ([0.2] * 3, [0.1] * 30), ([20.0] * 30, [10.0] * 3)
    assert stratified_ratio([small, large], resamples=50) == Estimate(2.0, 2.0, 2.0, 33, 0.95)


def test_a_stratum_weighs_what_its_poorer_side_can_tell() -> None:
    rich = ([2.0] * 10, [1.0] * 10)  # 5
    poor = ([9.0] * 200, [1.0] * 3)  # 2.96
    assert stratified_ratio([rich, poor], resamples=10).median == 2.0


def test_one_stratum_is_the_plain_ratio() -> None:
    rng = random.Random(4)
    above, below = [rng.uniform(1, 3) for _ in range(9)], [rng.uniform(1, 2) for _ in range(8)]
    assert stratified_ratio([(above, below)], seed=3, resamples=200) == ratio(
        above, below, seed=3, resamples=200
    )
    with pytest.raises(ValueError, match="above 0"):
        stratified_ratio([(above, below), ([0.0], [1.0])])


@pytest.mark.parametrize("name", KNOWN)
def test_the_interval_of_strata_holds_the_true_ratio_about_as_often_as_it_says(name: str) -> None:
    draw, _ = KNOWN[name]
    rng = random.Random(f"{name} strata")
    held = 0
    for seed in range(300):
        strata = [
            ([8 * size * draw(rng) for _ in range(6)], [size * draw(rng) for _ in range(6)])
            for size in (1, 10, 100)
        ]
        found = stratified_ratio(strata, seed=seed, resamples=100)
        assert found.low is not None and found.high is not None
        held += found.low <= 8 <= found.high
    assert held / 300 >= 0.9
