"""Medians with the interval that the true one lies in, and ratios of medians: no normality assumed.

Timings have long tails, so a mean and its standard error say little about them.
"""

import math
import random
import statistics
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import accumulate

CONFIDENCE = 0.95
RESAMPLES = 2000  # of a bootstrap


@dataclass(frozen=True, slots=True)
class Estimate:
    """A median, and the interval that holds the true one with at least the stated confidence.

    `low` and `high` are None where there are too few values to say (5 or less at 95 %).
    """

    median: float
    low: float | None
    high: float | None
    n: int
    confidence: float

    @property
    def spread(self) -> float | None:
        """The larger half of the interval as a share of the median: 0.05 is ± 5 %."""
        if self.low is None or self.high is None or self.median <= 0:
            return None
        return max(self.high - self.median, self.median - self.low) / self.median


def estimate(values: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """The median of at least one value, with its interval.

    The interval is between two order statistics, so it is exact for any continuous distribution:
    the k-th least and the k-th largest value, with the largest k for which a binomial (n, ½)
    variable is below k with probability at most (1 − confidence) / 2 (Le Boudec, Performance
    Evaluation of Computer and Communication Systems, 2010, theorem 2.1).
    """
    ordered = sorted(values)
    n = len(ordered)
    k = _rank(n, confidence)
    low, high = (ordered[k - 1], ordered[n - k]) if k else (None, None)
    return Estimate(statistics.median(ordered), low, high, n, confidence)


def ratio(
    above: Sequence[float],
    below: Sequence[float],
    *,
    seed: int = 0,
    confidence: float = CONFIDENCE,
    resamples: int | None = None,
) -> Estimate:
    """The median of `above` over that of `below`, with its bootstrap interval.

    Every value is above 0.  Both are resampled with replacement, independently, `resamples` times
    (RESAMPLES by default); the interval lies between the percentiles of the resampled ratios (Efron
    and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13).  `n` is the smaller of the
    two counts; below 6 (at 95 %) there is no interval, since resampling so few values cannot show
    their spread.
    """
    return stratified_ratio([(above, below)], seed=seed, confidence=confidence, resamples=resamples)


def stratified_ratio(
    strata: Sequence[tuple[Sequence[float], Sequence[float]]],
    *,
    seed: int = 0,
    confidence: float = CONFIDENCE,
    resamples: int | None = None,
) -> Estimate:
    """The ratio of medians within each stratum, and the weighted median of these ratios.

    A stratum is (values above, values below), all above 0, such as two ways to do work of one size:
    what differs between strata does not blur the ratio.  A stratum of a and b values weighs
    a·b / (a + b), the precision of the difference of two means of so many values of equal spread,
    so that one rich side does not make up for a poor other; the median rather than the mean of the
    strata keeps one odd stratum from deciding.  The interval is a bootstrap's within strata, as
    `ratio` has it; `n` is the smaller of the two sums of counts.
    """
    ordered = [(sorted(above), sorted(below)) for above, below in strata]
    if any(tops[0] <= 0 or bottoms[0] <= 0 for tops, bottoms in ordered):
        raise ValueError("a ratio of medians is of values above 0")
    weights = [len(t) * len(b) / (len(t) + len(b)) for t, b in ordered]
    n = min(sum(len(t) for t, _ in ordered), sum(len(b) for _, b in ordered))
    middle = weighted_median(
        [statistics.median(t) / statistics.median(b) for t, b in ordered], weights
    )
    rng = random.Random(seed)
    draws = [
        weighted_median(
            [_resampled_median(t, rng) / _resampled_median(b, rng) for t, b in ordered], weights
        )
        for _ in range(_times(n, confidence, resamples))
    ]
    return _between(middle, draws, n, confidence)


def weighted_median(values: Sequence[float], weights: Sequence[float]) -> float:
    """The value that has half of the weight at or below it; of two such, their mean."""
    if len(values) == 1:
        return values[0]
    pairs = sorted(zip(values, weights, strict=True))
    sums = list(accumulate(weight for _, weight in pairs))
    half = sums[-1] / 2
    at = bisect_left(sums, half)
    if sums[at] == half and at + 1 < len(pairs):
        return (pairs[at][0] + pairs[at + 1][0]) / 2
    return pairs[at][0]


def _times(n: int, confidence: float, asked: int | None) -> int:
    """How often to resample: not at all where n is too small for an interval."""
    if _rank(n, confidence) == 0:
        return 0
    return RESAMPLES if asked is None else asked


def _between(middle: float, draws: list[float], n: int, confidence: float) -> Estimate:
    """A bootstrap's interval lies between the percentiles of what it has drawn."""
    if not draws:
        return Estimate(middle, None, None, n, confidence)
    draws.sort()
    tail = (1 - confidence) / 2
    low = draws[math.floor(tail * (len(draws) - 1))]
    high = draws[math.ceil((1 - tail) * (len(draws) - 1))]
    return Estimate(middle, low, high, n, confidence)


def _resampled_median(ordered: Sequence[float], rng: random.Random) -> float:
    """The median of as many values, drawn from these with replacement.

    A draw is a value at ⌊n × uniform⌋, so the middle one of n draws is the value at ⌊n × the middle
    one of n uniforms⌋, which has a beta distribution (David and Nagaraja, Order Statistics, 2003,
    section 2.1): one or two random numbers stand for n draws and their sorting.
    """
    n = len(ordered)
    lower = (n + 1) // 2  # the rank of the median, or of the lower of the two in the middle
    at = rng.betavariate(lower, n - lower + 1)
    value = ordered[min(n - 1, int(n * at))]
    if n % 2:
        return value
    # The next one up is the least of the n - lower draws above `at`, each uniform in what is left.
    at += (1 - at) * (1 - rng.random() ** (1 / (n - lower)))
    return (value + ordered[min(n - 1, int(n * at))]) / 2


@cache
def _rank(n: int, confidence: float) -> int:
    """Which value from either end bounds the interval; 0 where n is too small for one."""
    # In whole numbers, since 0.5 ** n is 0 as a float where n is above 1,074.
    most = math.floor(Fraction((1 - confidence) / 2) * 2**n)
    ways, below, k = 1, 0, 0  # n over `k`, and the sum of these up to k - 1
    while k < n // 2 and below + ways <= most:
        below += ways
        k += 1
        ways = ways * (n - k + 1) // k
    return k
