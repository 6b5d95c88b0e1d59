"""A histogram of latencies in seconds: HdrHistogram, from 1 µs to 1 hour, to 3 digits."""

import math
from collections.abc import Iterator

from hdrh.histogram import HdrHistogram

SCALE = 1e6  # HdrHistogram counts whole numbers: microseconds
SHORTEST, LONGEST = 1, 3_600_000_000  # µs
DIGITS = 3


class Latencies:
    """Latencies that are counted, not kept: 0.1 % exact, of fixed size, and can be added up."""

    def __init__(self, histogram: HdrHistogram | None = None) -> None:
        self._histogram = histogram or HdrHistogram(SHORTEST, LONGEST, DIGITS)

    def record(self, seconds: float) -> None:
        """Count one; below a microsecond counts as one, above an hour as an hour."""
        self._histogram.record_value(min(LONGEST, max(SHORTEST, round(seconds * SCALE))))

    def add(self, other: "Latencies") -> None:
        """Count all that another has counted."""
        self._histogram.add(other._histogram)

    @property
    def count(self) -> int:
        return int(self._histogram.get_total_count())

    def percentile(self, percent: float) -> float:
        """The latency that `percent` (0 to 100) of all do not exceed; nan where there are none."""
        if not self.count:
            return math.nan
        # The library takes the nearest rank (of 3 values, 34 % are 1), Java's takes the rank above
        # as it is defined; a rank that is whole already is one whatever floats make of it.
        rank = max(1, math.ceil(percent / 100 * self.count - 1e-9))
        whole = self._histogram.get_value_at_percentile(100 * rank / self.count)
        return float(whole) / SCALE

    @property
    def mean(self) -> float:
        """The mean of all; nan where there are none."""
        if not self.count:
            return math.nan
        return sum((low + high) / 2 * n for low, high, n in self._steps()) / self.count / SCALE

    def counts(self) -> list[tuple[float, int]]:
        """Every latency that was counted, to 3 digits, and how often; from the least up."""
        return [(high / SCALE, n) for _, high, n in self._steps()]

    def _steps(self) -> Iterator[tuple[int, int, int]]:
        """Values that count as one (least and greatest, µs), and how often; from the least up.

        The histogram's own iterators give the same, and take eight times as long.
        """
        histogram = self._histogram
        for index, count in enumerate(histogram.counts):
            if count:
                low = histogram.get_value_from_index(index)
                yield low, histogram.get_highest_equivalent_value(low), count

    def encode(self) -> str:
        """In HdrHistogram's compressed form, as base64."""
        return str(self._histogram.encode().decode())

    @classmethod
    def decode(cls, text: str) -> "Latencies":
        """What `encode` gave."""
        return cls(HdrHistogram.decode(text.encode()))
