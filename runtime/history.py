"""What happened lately, as charts show it: rollups, scaling decisions, and replicas.

Everything is read from what was written for this purpose, never from invocations; a window costs
about the same whether it holds ten invocations or a million.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil

from runtime.fleet import Fleet
from runtime.ledger import Ledger, ScalingDecision
from runtime.lifeline import ReplicaLife
from runtime.rollup import WIDTHS, Bucket, Cell, bucket_start
from runtime.shelf import Key, Shelf

FRESH = 1.0  # seconds for which a window is given out again
MOST_BUCKETS = 300
FINEST = {5: 20 * 60.0, 60: 5 * 3600.0}  # the longest window (seconds) that is cut into these
MOST_DECISIONS = 1000  # in a window: the latest
UNORDERED = 20  # decisions that several processes may make at once


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time up to now, cut into buckets of one width."""

    start: float  # unix seconds, a multiple of width
    width: int  # seconds of one bucket
    count: int  # buckets, at most MOST_BUCKETS; number i begins at start + i · width
    cells: dict[Key, list[Cell | None]]  # `count` of each; None: nothing was written
    decisions: list[ScalingDecision]  # within the window, oldest first


@dataclass(frozen=True, slots=True)
class _Reading:
    """A window that is being read, or was."""

    at: float  # unix seconds
    task: asyncio.Task[Window]


class History:
    """Answers about the past; everybody who asks within a second gets the same window.

    `latest` gives what this process has counted and not written yet: gauges.
    """

    def __init__(
        self,
        ledger: Ledger,
        fleet: Fleet,
        latest: Callable[[], Mapping[Bucket, Cell]] = dict,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._fleet = fleet
        self._latest = latest
        self._clock = clock
        self._shelves = {width: Shelf(ledger.pages, width) for width in WIDTHS}
        self._decisions: dict[int, ScalingDecision] = {}  # by number
        self._readings: dict[tuple[int, int], _Reading] = {}  # by width and count

    async def window(self, seconds: float) -> Window:
        """The latest so many seconds, with the bucket that is not over yet as the last.

        What is given is shared: do not change it.  At most MOST_BUCKETS of the widest are given.
        Unavailable where the ledger cannot be read.
        """
        cut = _cut(seconds)
        now = self._clock()
        reading = self._readings.get(cut)
        if reading is None or not 0 <= now - reading.at < FRESH or _has_failed(reading.task):
            reading = _Reading(now, asyncio.create_task(self._read(*cut, now)))
            reading.task.add_done_callback(_has_failed)
            self._readings[cut] = reading
        return await asyncio.shield(reading.task)

    async def replicas(self, since: float) -> list[ReplicaLife]:
        """Replicas that were alive at any time since then (unix seconds), the newest first.

        Unavailable where the ledger cannot be read.
        """
        found = {
            (life.name, life.spawned_at): life
            for life in await self._ledger.replicas.since(since, self._clock())
        }
        for life in self._fleet.lives():
            if life.ended_at is None or life.ended_at >= since:
                found[life.name, life.spawned_at] = life
        return sorted(found.values(), key=lambda life: life.spawned_at, reverse=True)

    async def _read(self, width: int, count: int, now: float) -> Window:
        until = bucket_start(now, width) + width
        start = until - count * width
        shelf = self._shelves[width]
        await shelf.refresh(start, until, now)
        cells = shelf.cells(start, count)  # at once: another window may need less of the shelf
        for bucket, cell in self._latest().items():
            place, odd = divmod(bucket.at - start, width)
            if bucket.width == width and not odd and 0 <= place < count:
                row = cells.setdefault((bucket.function, bucket.device), [None] * count)
                row[place] = cell + (row[place] or Cell())
        await self._read_decisions(now)
        decisions = sorted(self._decisions.items())
        within = [decision for _, decision in decisions if decision.at >= start]
        return Window(start, width, count, cells, within)

    async def _read_decisions(self, now: float) -> None:
        known = max(self._decisions, default=0)
        new = await self._ledger.decisions_above(known - UNORDERED, MOST_DECISIONS)
        self._decisions |= new
        oldest = now - MOST_BUCKETS * WIDTHS[-1]
        latest = sorted(self._decisions.items())[-MOST_DECISIONS:]
        self._decisions = {number: made for number, made in latest if made.at >= oldest}


def _cut(seconds: float) -> tuple[int, int]:
    """How wide the buckets of a window are, in seconds, and how many there are."""
    width = next((width for width, most in FINEST.items() if seconds <= most), WIDTHS[-1])
    return width, ceil(max(1.0, min(seconds / width, MOST_BUCKETS)))


def _has_failed(task: asyncio.Task[Window]) -> bool:
    """Whether its window was not read; that is told to whoever waits, if anybody still does."""
    return task.done() and (task.cancelled() or task.exception() is not None)
