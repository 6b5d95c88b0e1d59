"""What a replica did, from its spawn to its end: the times at which its state changed.

A `Lifeline` is written by the process that owns the replica, on the path of every job, so it does
next to nothing; a `ReplicaLife` is what others see of it.
"""

from collections import deque
from dataclasses import dataclass
from math import inf
from typing import Literal

from runtime.model import Device

Doing = Literal["starting", "ready", "busy", "draining"]

GAP = 0.25  # seconds; a replica that waited for less between two jobs was busy all the while
MAX_SEGMENTS = 200  # of one replica: the latest
REMEMBERED = 15.0  # seconds for which one that ended is still told of


@dataclass(frozen=True, slots=True)
class Segment:
    """A time during which a replica did one thing."""

    state: Doing
    start: float  # unix seconds
    end: float | None  # unix seconds; None while it still does


@dataclass(frozen=True, slots=True)
class ReplicaLife:
    """One replica, and what it did; instants are unix seconds by its worker's clock."""

    name: str  # unlike any other's of its worker
    function: str
    device: Device
    simulated: bool  # its GPU is a CPU
    worker: str  # the process that owns it
    pid: int | None  # None until it is ready
    gpu: str | None  # index of its GPU on its machine
    state: str  # starting, ready, busy, draining or ended
    spawned_at: float
    ready_at: float | None
    ended_at: float | None
    setup: float  # seconds that its setup took; 0 until it is ready
    served: int  # invocations
    busy: float  # seconds with at least one job in hand
    memory: int  # bytes resident; 0 once it ended
    gpu_memory: int | None  # bytes of its GPU's memory; None where nothing tells
    ending: str | None  # how it ended, in words
    segments: tuple[Segment, ...]  # oldest first, without gaps between them; the latest
    failed: int = 0  # of those served, what may be its own fault
    failed_in_a_row: int = 0  # jobs, since the last that succeeded
    proven_at: float | None = None  # when the latest to succeed was begun; None for none


class Lifeline:
    """Writes down what one replica does, in the order of time.

    `work` and `rest` are called for every job that follows no other at once; they take about a
    quarter of a microsecond together, since a change is made only once a rest has been long enough.
    """

    __slots__ = ("_busy", "_changes", "_rested", "_working_since", "ended_at")

    def __init__(self, at: float) -> None:
        self.ended_at: float | None = None
        self._changes: deque[tuple[Doing, float]] = deque([("starting", at)], MAX_SEGMENTS)
        self._busy = 0.0  # seconds, of the work that is done
        self._working_since: float | None = None
        self._rested = -inf  # since when it has no job; whether that is a change is not known yet

    @property
    def state(self) -> str:
        """What it does now: a segment's state, or ended."""
        if self.ended_at is not None:
            return "ended"
        return "ready" if self._rests_untold else self._changes[-1][0]

    def ready(self, at: float) -> None:
        """Its setup is done, and it has no job."""
        if self._changes[-1][0] == "starting":
            self._changes.append(("ready", at))

    def work(self, at: float) -> None:
        """It has a job now, and had none."""
        if at - self._rested >= GAP:
            self._settle()
            if self._changes[-1][0] == "ready":
                self._changes.append(("busy", at))
        self._working_since = at

    def rest(self, at: float) -> None:
        """It has no job any more."""
        if self._working_since is not None:
            self._busy += at - self._working_since
            self._working_since = None
            self._rested = at

    def drain(self, at: float) -> None:
        """It gets no more jobs; it may have some."""
        self._settle()
        if self._changes[-1][0] != "draining":
            self._changes.append(("draining", at))

    def end(self, at: float) -> None:
        """It is gone."""
        if self.ended_at is None:
            self._settle()
            self.rest(at)
            self.ended_at = at

    def busy(self, now: float) -> float:
        """Seconds that it had at least one job, until now or its end."""
        since = self._working_since
        return self._busy + (0.0 if since is None else max(0.0, now - since))

    def segments(self) -> tuple[Segment, ...]:
        """The latest of what it did, oldest first."""
        changes = list(self._changes)
        if self.ended_at is None and self._rests_untold:
            changes.append(("ready", self._rested))
        ends = [at for _, at in changes[1:]]
        told = [
            Segment(state, start, end)
            for (state, start), end in zip(changes, [*ends, self.ended_at], strict=True)
        ]
        return tuple(told[-MAX_SEGMENTS:])

    def _settle(self) -> None:
        """Its latest rest is a change now, since what comes next is not the same work."""
        if self._rests_untold:
            self._changes.append(("ready", self._rested))

    @property
    def _rests_untold(self) -> bool:
        return self._working_since is None and self._changes[-1][0] == "busy"
