"""The seconds of a load test, as many together as a plot has room for."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loadtest.outcome import Second

MOST = 600  # steps that a plot has room for


@dataclass(frozen=True, slots=True)
class Step:
    """As many seconds as are drawn as one: counts are of a second, latencies the longest."""

    begin: int
    end: int
    seconds: tuple[Second, ...]

    def mean(self, value: Callable[[Second], float]) -> float:
        """Of a count, for each second."""
        return sum(map(value, self.seconds)) / (self.end - self.begin)

    def longest(self, value: Callable[[Second], float | None]) -> float:
        """Of a latency; nan where there is none, which leaves a gap."""
        found = [each for second in self.seconds if (each := value(second)) is not None]
        return max((each for each in found if each > 0), default=math.nan)


def steps(series: Sequence[Second], most: int = MOST) -> list[Step]:
    """The whole time from its first to its last second, in at most as many equal steps."""
    if not series:
        return []
    first, last = min(s.at for s in series), max(s.at for s in series)
    width = math.ceil((last - first + 1) / most)
    found: dict[int, list[Second]] = defaultdict(list)
    for second in series:
        found[(second.at - first) // width].append(second)
    return [
        Step(begin, begin + width, tuple(found[number]))
        for number, begin in enumerate(range(first, last + 1, width))
    ]
