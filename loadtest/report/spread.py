"""How latencies spread: count, mean, percentiles and the longest, worked out once."""

from dataclasses import dataclass

from loadtest.latencies import Latencies

PERCENTILES = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9)


@dataclass(frozen=True, slots=True)
class Spread:
    """Seconds; None where nothing was counted."""

    count: int
    mean: float | None
    percentiles: dict[float, float]  # of PERCENTILES; empty where nothing was counted
    longest: float | None

    def at(self, percent: float) -> float | None:
        """One of PERCENTILES."""
        return self.percentiles.get(percent)

    @property
    def sum(self) -> float:
        """Of all that were counted."""
        return self.count * (self.mean or 0.0)


NOTHING = Spread(0, None, {}, None)


def spread(latencies: Latencies) -> Spread:
    """The spread of what was counted, to the histogram's three digits."""
    if not latencies.count:
        return NOTHING
    found = {percent: latencies.percentile(percent) for percent in PERCENTILES}
    return Spread(latencies.count, latencies.mean, found, latencies.percentile(100))


def bins(latencies: Latencies, edges: list[float]) -> list[int]:
    """How many lie in each bin between two edges (seconds, rising), the upper edge included.

    What is outside the edges counts in the outermost bin.
    """
    found = [0] * (len(edges) - 1)
    place = 0
    for seconds, count in latencies.counts():
        while place < len(found) - 1 and seconds > edges[place + 1]:
            place += 1
        found[place] += count
    return found
