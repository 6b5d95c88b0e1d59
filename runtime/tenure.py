"""How long a replica keeps its GPU slot while another function has none.

Taking it at the first free moment would have functions that are all in use take it from one another
all the time, each time for a cold start.  So who got a slot keeps it for a multiple of what its
start had cost; or, without work, for as long as that alone, which costs at most twice what knowing
the future would (the ski-rental rule).  Nobody keeps it longer than `LONGEST`, busy or not.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

STARTS = 10  # so that starts take at most about a tenth of a slot's time
SHORTEST = 5.0  # seconds in use
LONGEST = 60.0  # seconds in use
REST = 1.0  # seconds without work, at least


@dataclass(frozen=True, slots=True)
class Tenure:
    """A ready replica's hold of a GPU slot; instants are unix seconds."""

    function: str
    ready_at: float
    start: float  # seconds that it took to become ready
    idle_since: float | None  # None: it has work
    spare: bool = False  # its function has another replica

    @property
    def rested_at(self) -> float:
        """When it has been without work for long enough; never while it has some."""
        return inf if self.idle_since is None else self.idle_since + max(REST, self.start)

    @property
    def due_at(self) -> float:
        """From when on its slot may be taken."""
        if self.spare:
            return self.ready_at
        stay = min(LONGEST, max(SHORTEST, STARTS * self.start))
        return min(self.rested_at, self.ready_at + stay)


def first_to_go(tenures: Iterable[Tenure], now: float) -> Tenure | None:
    """Whose slot is taken now: one at rest, one to spare, one without work, the longest there."""
    due = [tenure for tenure in tenures if tenure.due_at <= now]
    return min(due, key=lambda tenure: _order(tenure, now), default=None)


def _order(tenure: Tenure, now: float) -> tuple[bool, bool, bool, float]:
    return (
        tenure.rested_at > now,
        not tenure.spare,
        tenure.idle_since is None,
        tenure.ready_at if tenure.idle_since is None else tenure.idle_since,
    )
