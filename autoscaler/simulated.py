"""What a simulation found: how long invocations took, what replicas did, and what that costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, nan

from autoscaler.replica_set import ReplicaSeconds
from autoscaler.timeline import Timeline

HOUR = 3600.0  # seconds


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles of durations in seconds; nan where there are none."""

    p50: float
    p90: float
    p95: float
    p99: float
    max: float
    mean: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Each the least value that the share of all does not exceed."""
        ordered = sorted(values)
        if not ordered:
            return cls(nan, nan, nan, nan, nan, nan)
        count = len(ordered)
        p50, p90, p95, p99 = (
            ordered[max(0, ceil(share * count) - 1)] for share in (0.5, 0.9, 0.95, 0.99)
        )
        return cls(p50, p90, p95, p99, ordered[-1], sum(ordered) / count)


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the number of replicas that there are to be."""

    at: float  # seconds from the beginning
    before: int
    after: int
    reason: str


@dataclass(frozen=True)
class Simulated:
    """The end of a simulation.  Invocations are in the order in which they came and began."""

    arrivals: Sequence[float]  # seconds from the beginning
    began: Sequence[float]  # of those that were run: the others wait for ever
    runs: Sequence[float]
    cold: int  # first in their replica, which was not ready when they came
    seconds: ReplicaSeconds
    most_replicas: int  # that were there at once, draining ones too
    changes: Sequence[Change]
    timeline: Timeline
    message_seconds: float  # messages in the queue or in a replica, summed over time
    end: float  # seconds that all this lasted

    @property
    def unserved(self) -> int:
        """How many wait for ever, since the backlog is not above the activation."""
        return len(self.arrivals) - len(self.began)

    @property
    def waits(self) -> list[float]:
        """From arrival until a replica took it, of each that was run."""
        pairs = zip(self.began, self.arrivals, strict=False)
        return [began - came for began, came in pairs]

    @property
    def totals(self) -> list[float]:
        """From arrival to the end, of each that was run."""
        return [
            began - came + run
            for began, came, run in zip(self.began, self.arrivals, self.runs, strict=False)
        ]

    @cached_property
    def waited(self) -> Spread:
        return Spread.of(self.waits)

    @cached_property
    def total(self) -> Spread:
        return Spread.of(self.totals)

    @property
    def cold_share(self) -> float:
        return self.cold / len(self.began) if self.began else 0.0

    @property
    def mean_replicas(self) -> float:
        return self.seconds.total / self.end if self.end else 0.0

    @property
    def utilisation(self) -> float:
        """The share of all replica-seconds in which something ran."""
        return self.seconds.busy / self.seconds.total if self.seconds.total else 0.0

    def cost(self, price: float) -> float:
        """What the replicas cost at a price for an hour of one, whatever they did."""
        return self.seconds.total / HOUR * price
