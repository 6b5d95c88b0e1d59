"""What happened within a stretch of time, small enough to keep: counts, and times in bins.

An invocation counts once, in the bucket in which it ended.  Times are kept as how many fell into
each bin of a logarithmic scale, so that cells of many buckets and many processes can be added up
and a quantile of them is still known to within a bin, which is 9 % wide.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from math import isfinite, log2
from typing import NamedTuple, TypeVar

import orjson

from runtime.devices import simulates
from runtime.model import Device, Invocation, Status

WIDTHS = (5, 60, 600)  # seconds a bucket may be wide; each is a multiple of the one before
SHORTEST = 1e-5  # seconds: what is shorter is not told apart
PER_DOUBLING = 8  # bins
LAST_BIN = 400  # from 327 years on: what is longer counts there

K = TypeVar("K")


def bin_of(seconds: float) -> int:
    """The bin of a time: 0 below 10 µs (and for what is no time), then 8 for each doubling."""
    if not seconds >= SHORTEST:
        return 0
    if seconds >= _LONGEST:
        return LAST_BIN
    return int(PER_DOUBLING * log2(seconds / SHORTEST)) + 1


def bin_bounds(bin: int) -> tuple[float, float]:
    """From where to where a bin goes, in seconds; the upper bound is the next one's lower."""
    upper = SHORTEST * 2 ** (bin / PER_DOUBLING)
    return (SHORTEST * 2 ** ((bin - 1) / PER_DOUBLING) if bin else 0.0, upper)


def quantile(bins: Mapping[int, int], q: float) -> float | None:
    """The time (seconds) that a share `q` of those counted did not exceed; None of none.

    It lies in the bin of the exact quantile (the least time that has at least `q` of all at or
    below it), as far in as the share of that bin's count which is needed.
    """
    wanted = q * sum(bins.values())
    below = 0
    place = None
    for bin in sorted(bins):
        place = bin, below, bins[bin]
        below += bins[bin]
        if below >= wanted:
            break
    if place is None:
        return None
    bin, before, count = place
    lower, upper = bin_bounds(bin)
    return lower + (upper - lower) * min(1.0, max(0.0, (wanted - before) / count))


_LONGEST = bin_bounds(LAST_BIN)[0]


class Bucket(NamedTuple):
    """A stretch of time, for one function on one device."""

    width: int  # seconds, one of WIDTHS
    at: int  # unix seconds at which it begins, a multiple of the width
    function: str
    device: Device


@dataclass(slots=True)
class Cell:
    """One function on one device within one bucket; cells of the same bucket add up.

    Counts are of invocations that ended within it.  Gauges are those of one instant in it: messages
    when there were the most, replicas when there were the most (of as many, when the most were
    busy), so that they may be stacked.
    """

    statuses: dict[str, int] = field(default_factory=dict)  # terminal statuses → counts
    total: dict[int, int] = field(default_factory=dict)  # bins → counts: acceptance to finish …
    run: dict[int, int] = field(default_factory=dict)  # … and in the replica, of those that …
    queue: dict[int, int] = field(default_factory=dict)  # … succeeded
    start: dict[int, int] = field(default_factory=dict)  # likewise, of cold ones
    cold: int = 0  # invocations that waited for a cold start
    simulated: int = 0  # finished on a simulated GPU
    ready: int = 0  # messages
    unacknowledged: int = 0
    dead: int = 0
    busy: int = 0  # replicas
    starting: int = 0
    idle: int = 0
    draining: int = 0

    def __add__(self, other: "Cell") -> "Cell":
        """Both together, as a cell that shares nothing with them."""
        return Cell(
            _sum(self.statuses, other.statuses),
            _sum(self.total, other.total),
            _sum(self.run, other.run),
            _sum(self.queue, other.queue),
            _sum(self.start, other.start),
            self.cold + other.cold,
            self.simulated + other.simulated,
            *max(self._messages(), other._messages())[1:],
            max(self.dead, other.dead),
            *max(self._replicas(), other._replicas())[1:],
        )

    def _messages(self) -> tuple[int, int, int]:
        return self.ready + self.unacknowledged, self.ready, self.unacknowledged

    def _replicas(self) -> tuple[int, int, int, int, int]:
        total = self.starting + self.idle + self.busy + self.draining
        return total, self.busy, self.starting, self.idle, self.draining

    def count(self, invocation: Invocation) -> None:
        """Take in one that is terminal."""
        status = invocation.status._value_
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if invocation.cold:
            self.cold += 1
        if invocation.message.device == "gpu" and simulates(invocation.replica):
            self.simulated += 1
        if invocation.status is Status.SUCCEEDED:
            self._count_times(invocation)

    def _count_times(self, invocation: Invocation) -> None:
        finished_at, timings = invocation.finished_at, invocation.timings
        if finished_at is not None:
            _add(self.total, finished_at - invocation.message.created_at)
        if timings is None:
            return
        if (run := timings.get("run")) is not None:
            _add(self.run, run)
        if (queue := timings.get("queue")) is not None:
            _add(self.queue, queue)
        if start := timings.get("start"):
            _add(self.start, start)

    def text(self) -> str:
        """The cell as JSON, without what is zero; bins as [bin, count, bin, count, …]."""
        said: dict[str, object] = {}
        for name in _NAMES:
            if value := getattr(self, name):
                bins = [part for item in value.items() for part in item] if name in BINS else value
                said[name] = bins
        return orjson.dumps(said).decode()

    @classmethod
    def of(cls, text: str) -> "Cell":
        """The cell that a text holds; ValueError or TypeError where it holds none."""
        said = orjson.loads(text)
        for name in BINS:
            if flat := said.get(name):
                said[name] = dict(zip(flat[::2], flat[1::2], strict=True))
        return cls(**said)


BINS = ("total", "run", "queue", "start")
_NAMES = tuple(each.name for each in fields(Cell))


def ended_at(invocation: Invocation) -> float:
    """When an invocation ended, in unix seconds, as `schema.ENDED_AT` has it; 0 for no instant."""
    at = invocation.finished_at
    at = invocation.message.created_at if at is None else at
    return at if isfinite(at) else 0.0


def bucket_start(at: float, width: int) -> int:
    """Where the bucket begins in which an instant (unix seconds) lies."""
    return int(at // width) * width


def counted(ended: Iterable[Invocation]) -> dict[Bucket, Cell]:
    """Invocations that are terminal, as cells of every width."""
    finest: dict[tuple[int, str, Device], Cell] = {}
    width = WIDTHS[0]
    for invocation in ended:
        message = invocation.message
        key = (int(ended_at(invocation) // width), message.function, message.device)
        if (cell := finest.get(key)) is None:
            cell = finest[key] = Cell()
        cell.count(invocation)
    cells: dict[Bucket, Cell] = {}
    for (number, function, device), cell in finest.items():
        for wider in WIDTHS:
            bucket = Bucket(wider, bucket_start(number * width, wider), function, device)
            cells[bucket] = cells[bucket] + cell if bucket in cells else cell
    return cells


def _add(bins: dict[int, int], seconds: float) -> None:
    bin = bin_of(seconds)
    bins[bin] = bins.get(bin, 0) + 1


def _sum(one: dict[K, int], other: dict[K, int]) -> dict[K, int]:
    total = dict(one)
    for key, count in other.items():
        total[key] = total.get(key, 0) + count
    return total
