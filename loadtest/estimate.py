"""Medians with the interval that the true one lies in, and ratios of medians: no normality assumed.

Timings have long tails, so a mean and its standard error say little about them.
"""

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

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
) -> Estimate:
    """The median of `above` over that of `below`, with its bootstrap interval.

    Every value is above 0.  Both are resampled with replacement, independently; the interval lies
    between the percentiles of the resampled ratios (Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993, chapter 13).  `n` is the smaller of the two counts; below 6 (at 95 %) there is
    no interval, since resampling so few values cannot show their spread.
    """
    tops, bottoms = sorted(above), sorted(below)
    if tops[0] <= 0 or bottoms[0] <= 0:
        raise ValueError("a ratio of medians is of values above 0")
    n = min(len(tops), len(bottoms))
    middle = statistics.median(tops) / statistics.median(bottoms)
    if _rank(n, confidence) == 0:
        return Estimate(middle, None, None, n, confidence)
    rng = random.Random(seed)
    ratios = sorted(
        _resampled_median(tops, rng) / _resampled_median(bottoms, rng) for _ in range(RESAMPLES)
    )
    tail = (1 - confidence) / 2
    low = ratios[math.floor(tail * (RESAMPLES - 1))]
    high = ratios[math.ceil((1 - tail) * (RESAMPLES - 1))]
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
