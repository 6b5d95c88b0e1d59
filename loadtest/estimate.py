"""Medians with the interval that the true one lies in, and ratios of medians: no normality assumed.

Timings have long tails, so a mean and its standard error say little about them.
"""

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

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

    Both are resampled with replacement, independently; the interval lies between the percentiles
    of the resampled ratios (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter
    13).  `n` is the smaller of the two counts; below 6 there is no interval, since resampling so
    few values cannot show their spread.
    """
    n = min(len(above), len(below))
    middle = statistics.median(above) / statistics.median(below)
    if _rank(n, confidence) == 0:
        return Estimate(middle, None, None, n, confidence)
    rng = random.Random(seed)
    ratios = sorted(
        statistics.median(rng.choices(above, k=len(above)))
        / statistics.median(rng.choices(below, k=len(below)))
        for _ in range(RESAMPLES)
    )
    tail = (1 - confidence) / 2
    low = ratios[math.floor(tail * (RESAMPLES - 1))]
    high = ratios[math.ceil((1 - tail) * (RESAMPLES - 1))]
    return Estimate(middle, low, high, n, confidence)


def _rank(n: int, confidence: float) -> int:
    """Which value from either end bounds the interval; 0 where n is too small for one."""
    tail, below, k = (1 - confidence) / 2, 0.0, 0
    for count in range(n // 2):
        below += math.comb(n, count) * 0.5**n
        if below > tail:
            break
        k = count + 1
    return k
