"""Counts what a load test sees, as it sees it: latencies, seconds, cold starts and faults.

Latencies are counted by value in HdrHistogram's own steps (whole microseconds to 2,047, then 11
binary digits), and become such histograms at the end: a count here takes 0.2 µs, in the histogram
1.3 µs, and every answer has four.  Instants are seconds since the load began.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from hdrh.histogram import HdrHistogram

from loadtest.latencies import DIGITS, LONGEST, SHORTEST, Latencies
from loadtest.outcome import TOTAL, ColdStart, Fault, Group, Second

STEPS = 11  # binary digits that HdrHistogram tells apart at 3 decimal ones
MOST_COLDS = 10_000
MOST_PHASES = 64  # of one group: a server that makes up names fills no memory
START = "start"  # the phase that is a cold start

Counts = dict[int, int]  # how often each number of microseconds was seen
Gauges = Callable[[], tuple[int, int]]  # requests that wait for an answer, and that are held


@dataclass(slots=True)
class Ending:
    """How a request ended."""

    function: str
    device: str
    simulated: bool
    status: str
    total: float  # seconds from the intended send to the last byte, or to the fault
    phases: Sequence[tuple[str, float]]
    example: str = ""  # what was said of it; faults only
    invocation: str | None = None


@dataclass(slots=True)
class Row:
    """One second while it is counted."""

    intended: int = 0
    sent: int = 0
    succeeded: int = 0
    faults: int = 0
    throttled: int = 0
    waiting: int = 0
    held: int = 0
    capped: bool = False  # a request was held because no more connections may be open
    late: float = 0.0
    cpu: float = 0.0
    percentiles: tuple[float | None, ...] = (None, None, None, None)
    by_device: dict[str, float] = field(default_factory=dict)

    def frozen(self, at: int) -> Second:
        """The second as a report has it."""
        p50, p95, p99, slowest = self.percentiles
        return Second(
            at=at,
            intended=self.intended,
            sent=self.sent,
            succeeded=self.succeeded,
            faults=self.faults,
            throttled=self.throttled,
            waiting=self.waiting,
            held=self.held,
            p50=p50,
            p95=p95,
            p99=p99,
            slowest=slowest,
            by_device=self.by_device,
            cpu=self.cpu,
            late=self.late,
        )


@dataclass(slots=True)
class _Group:
    count: int = 0
    total: Counts = field(default_factory=dict)
    phases: dict[str, Counts] = field(default_factory=dict)


@dataclass(slots=True)
class _Fault:
    first_at: float
    example: str
    invocation: str | None
    count: int = 0


class Tally:
    """What was counted.  `began` and every `now` are on the clock of `time.monotonic`.

    Each second is closed by the first thing that happens after it, or by `tick`.
    """

    def __init__(self, began: float, gauges: Gauges) -> None:
        self.began = began
        self.rows: list[Row] = [Row()]
        self.throttled = 0
        self.colds: list[ColdStart] = []
        self.colds_left_out = 0
        self.late: Counts = {}
        self.spent = 0.0  # seconds of this process's CPU, once finished
        self._gauges = gauges
        self._row = self.rows[0]
        self._ends = began + 1
        self._cpu = self._cpu_began = time.process_time()
        self._cpu_at = began
        self._groups: dict[tuple[str, str, bool, str], _Group] = {}
        self._faults: dict[tuple[str, str], _Fault] = {}
        self._succeeded: dict[str, list[float]] = {}  # latencies of this second, by device

    # ── what happens ──────────────────────────────────────────────────────────────────────────

    def due(self, intended: float, now: float) -> None:
        """A request was due, and the generator got to it at `now`."""
        if now >= self._ends:
            self.tick(now)
        # What is got to late still belongs to the second in which it was due.
        self.rows[min(len(self.rows) - 1, max(0, int(intended - self.began)))].intended += 1
        late = max(0.0, now - intended)
        count(self.late, late)
        if late > self._row.late:
            self._row.late = late

    def sent(self, now: float) -> None:
        """A request left, for the first time or again."""
        if now >= self._ends:
            self.tick(now)
        self._row.sent += 1

    def capped(self) -> None:
        """A request is held because no more connections may be open."""
        self._row.capped = True

    def throttle(self, now: float) -> None:
        """A 429 came."""
        if now >= self._ends:
            self.tick(now)
        self._row.throttled += 1
        self.throttled += 1

    def ended(self, end: Ending, now: float, fault: bool) -> None:
        """A request ended; `fault` says that it counts against the server.

        One that is throttled for good counts as neither a success nor a fault.
        """
        if now >= self._ends:
            self.tick(now)
        key = (end.function, end.device, end.simulated, end.status)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group()
        group.count += 1
        count(group.total, end.total)
        if end.phases:
            self._phases(group, end, now)
        if fault:
            self._row.faults += 1
        if end.example:
            self._fault(end, now)
        elif not fault:
            self._row.succeeded += 1
            latencies = self._succeeded.get(end.device)
            if latencies is None:
                latencies = self._succeeded[end.device] = []
            latencies.append(end.total)

    def tick(self, now: float) -> None:
        """Close every second that is over."""
        if now < self._ends:
            return
        cpu = time.process_time()
        share = (cpu - self._cpu) / max(1e-9, now - self._cpu_at)
        self._cpu, self._cpu_at = cpu, now
        while now >= self._ends:
            self._close(share)
            self._ends += 1
            self._row = Row()
            self.rows.append(self._row)

    # ── what came of it ───────────────────────────────────────────────────────────────────────

    def finish(self, now: float) -> None:
        """Close the last second, which may be a part of one; nothing may be counted after it."""
        self.tick(now)
        self.spent = time.process_time() - self._cpu_began
        if now - self._ends + 1 < 0.01 and len(self.rows) > 1 and self._empty():
            self.rows.pop()
            return
        spent = time.process_time() - self._cpu
        self._close(spent / max(0.01, now - self._cpu_at))

    def groups(self) -> tuple[Group, ...]:
        """Every group, by function, device and status."""
        return tuple(
            Group(*key, count=group.count, phases=_encoded(group))
            for key, group in sorted(self._groups.items())
        )

    def series(self) -> tuple[Second, ...]:
        """Every second."""
        return tuple(row.frozen(at) for at, row in enumerate(self.rows))

    def faults(self) -> tuple[Fault, ...]:
        """Every kind of fault, the commonest first; `throttled` is among them, once for good."""
        kinds = sorted(self._faults.items(), key=lambda item: -item[1].count)
        return tuple(
            Fault(name, function, f.count, f.first_at, f.example, f.invocation)
            for (name, function), f in kinds
        )

    def succeeded(self) -> Latencies:
        """The latencies of all that succeeded or was accepted."""
        return histogram(self._merged().items())

    def overall(self) -> tuple[float | None, ...]:
        """p50, p95 and p99 of all that succeeded or was accepted, without a histogram's cost."""
        counts = self._merged()
        total = sum(counts.values())
        if not total:
            return (None, None, None)
        wanted = [math.ceil(share * total) for share in (0.50, 0.95, 0.99)]
        found: list[float | None] = []
        seen = 0
        for value in sorted(counts):
            seen += counts[value]
            while len(found) < len(wanted) and seen >= wanted[len(found)]:
                found.append(value / 1e6)
        return tuple(found)

    def simulated(self) -> bool:
        """Whether an answer said that its GPU was a CPU."""
        return any(simulated for _, _, simulated, _ in self._groups)

    # ──────────────────────────────────────────────────────────────────────────────────────────

    def _phases(self, group: _Group, end: Ending, now: float) -> None:
        for name, seconds in end.phases:
            counts = group.phases.get(name)
            if counts is None:
                if name == TOTAL or len(group.phases) >= MOST_PHASES:
                    continue  # the whole is measured here, and not what a server says it is
                counts = group.phases[name] = {}
            count(counts, seconds)
            if name == START and seconds > 0:
                self._cold(end, seconds, now)

    def _cold(self, end: Ending, start: float, now: float) -> None:
        if len(self.colds) >= MOST_COLDS:
            self.colds_left_out += 1
            return
        at = now - self.began
        self.colds.append(ColdStart(at, end.function, end.device, start, end.total))

    def _fault(self, end: Ending, now: float) -> None:
        key = (end.status, end.function)
        fault = self._faults.get(key)
        if fault is None:
            first = _Fault(now - self.began, end.example, end.invocation)
            fault = self._faults[key] = first
        fault.count += 1

    def _close(self, cpu: float) -> None:
        row = self._row
        row.cpu = cpu
        row.waiting, row.held = self._gauges()
        every: list[float] = []
        for device, latencies in self._succeeded.items():
            latencies.sort()
            every += latencies
            row.by_device[device] = rank(latencies, 0.50)
        self._succeeded = {}
        if every:
            every.sort()
            row.percentiles = tuple(rank(every, share) for share in (0.50, 0.95, 0.99, 1.0))

    def _empty(self) -> bool:
        row = self._row
        return not (row.intended or row.sent or row.succeeded or row.faults or row.throttled)

    def _merged(self) -> Counts:
        merged: Counts = {}
        for (_, _, _, status), group in self._groups.items():
            if status in ("succeeded", "accepted"):
                for value, number in group.total.items():
                    merged[value] = merged.get(value, 0) + number
        return merged


def count(counts: Counts, seconds: float) -> None:
    """Count one latency, to 3 digits."""
    value = int(seconds * 1e6 + 0.5)
    if value >> STEPS:
        shift = value.bit_length() - STEPS
        value = value >> shift << shift
    counts[value] = counts.get(value, 0) + 1


def rank(ordered: Sequence[float], share: float) -> float:
    """The least of at least one value that at least `share` of them do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def histogram(counts: Iterable[tuple[int, int]]) -> Latencies:
    """Counts of microseconds as a histogram."""
    made = HdrHistogram(SHORTEST, LONGEST, DIGITS)
    for value, number in counts:
        made.record_value(min(LONGEST, max(SHORTEST, value)), number)
    return Latencies(made)


def _encoded(group: _Group) -> dict[str, str]:
    phases = {TOTAL: group.total} | group.phases
    return {name: histogram(counts.items()).encode() for name, counts in phases.items()}
