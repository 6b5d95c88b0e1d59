"""What a window of rollups comes to, added up once and not again while it stays the same.

The rollups of a day are many, and the overview asks for them every second; but of two windows, one
a second after the other, all buckets are alike but the latest.  So `Digests` keeps what it added
up, adds what is new and takes away what has gone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from runtime.history import Window
from runtime.ledger import ScalingDecision
from runtime.model import DEVICES, Device, Status
from runtime.rollup import Cell, quantile

Key = tuple[str, Device]
Bins = Mapping[int, int]
Row = list[int]  # one entry for each bucket of a window, the oldest first

K = TypeVar("K")

GAUGES = ("ready", "unacknowledged", "starting", "draining")
QUANTILES = (0.5, 0.95)


@dataclass(slots=True)
class Total:
    """What ended on one function and device within a window."""

    statuses: dict[str, int] = field(default_factory=dict)
    times: dict[int, int] = field(default_factory=dict)  # bins of whole times, of successes
    simulated: int = 0

    def count(self, cell: Cell, sign: int) -> None:
        """Add a cell (1), or take one away that was added before (-1)."""
        _count(self.statuses, cell.statuses, sign)
        _count(self.times, cell.total, sign)
        self.simulated += sign * cell.simulated


@dataclass(frozen=True, slots=True)
class Column:
    """One bucket, all functions together."""

    devices: tuple[Device, ...]  # what it was made of: rows …
    cells: tuple[Cell | None, ...]  # … and their cells
    statuses: dict[str, int]
    times: dict[Device, dict[int, int]]
    gauges: dict[str, int]
    quantiles: dict[tuple[Device, float], float | None]  # of these times, for each of QUANTILES
    median: float | None  # of the times on all devices


@dataclass(frozen=True, slots=True)
class Digest:
    """A window, added up, until the next is: do not change it, and do not keep it."""

    start: float  # unix seconds
    width: int  # seconds of a bucket
    count: int  # buckets
    columns: list[Column]
    totals: dict[Key, Total]
    serving: dict[Device, Row]  # replicas that could take an invocation, or had one
    decisions: list[ScalingDecision]  # oldest first

    @property
    def seconds(self) -> float:
        """How long it is."""
        return float(self.width * self.count)

    def points(self) -> list[int]:
        """Where its buckets begin, in unix milliseconds."""
        return [int((self.start + place * self.width) * 1000) for place in range(self.count)]

    def ended(self, status: Status) -> Row:
        """How many invocations ended with a status."""
        return [column.statuses.get(status, 0) for column in self.columns]

    def gauge(self, name: str) -> Row:
        """One of GAUGES, of all functions; where nothing was written there was nothing."""
        return [column.gauges[name] for column in self.columns]

    def times(self, device: Device) -> list[dict[int, int]]:
        """Bins of whole times on a device."""
        return [column.times[device] for column in self.columns]

    def quantiles(self, device: Device, q: float) -> list[float | None]:
        """One of QUANTILES of the times on a device, in seconds."""
        return [column.quantiles[device, q] for column in self.columns]

    def all_times(self, device: Device) -> dict[int, int]:
        """The same, of the whole window together."""
        return merged(total.times for key, total in self.totals.items() if key[1] == device)


class Digests:
    """Digests of windows that follow one another, all of one width and count."""

    def __init__(self) -> None:
        self._window: Window | None = None
        self._digest: Digest | None = None
        self._columns: dict[float, Column] = {}  # by where a bucket begins
        self._cells: dict[Key, dict[float, Cell]] = {}  # those that are in …
        self._totals: dict[Key, Total] = {}

    def of(self, window: Window) -> Digest:
        """What a window comes to; the one before may have been any."""
        if self._digest is None or self._window is not window:
            self._window, self._digest = window, self._made(window)
        return self._digest

    def _made(self, window: Window) -> Digest:
        begins = [window.start + place * window.width for place in range(window.count)]
        rows = window.cells.values()
        columns = list(zip(*rows, strict=True)) if rows else [()] * window.count
        devices = tuple(device for _, device in window.cells)
        self._columns = {
            at: held
            if (held := self._columns.get(at)) and (held.devices, held.cells) == (devices, cells)
            else _column(devices, cells)
            for at, cells in zip(begins, columns, strict=True)
        }
        self._count(window, begins)
        return Digest(
            window.start,
            window.width,
            window.count,
            list(self._columns.values()),
            {key: total for key, total in self._totals.items() if key in window.cells},
            {device: serving(window, device) for device in DEVICES},
            window.decisions,
        )

    def _count(self, window: Window, begins: list[float]) -> None:
        for key in self._cells.keys() - window.cells.keys():
            del self._cells[key], self._totals[key]
        for key, row in window.cells.items():
            total = self._totals.setdefault(key, Total())
            before = self._cells.get(key, {})
            now = {at: cell for at, cell in zip(begins, row, strict=True) if cell is not None}
            for at, cell in before.items():
                if now.get(at) is not cell:
                    total.count(cell, -1)
            for at, cell in now.items():
                if before.get(at) is not cell:
                    total.count(cell, 1)
            self._cells[key] = now


def digest(window: Window) -> Digest:
    """What one window comes to."""
    return Digests().of(window)


def serving(window: Window, device: Device) -> Row:
    """Replicas on a device that could take an invocation, or had one, in each bucket."""
    found = [0] * window.count
    for key, cells in window.cells.items():
        if key[1] == device:
            for place, cell in enumerate(cells):
                if cell is not None:
                    found[place] += cell.idle + cell.busy
    return found


def merged(many: Iterable[Mapping[K, int]]) -> dict[K, int]:
    """Counts by bin, or by status, together."""
    total: dict[K, int] = {}
    for counts in many:
        _count(total, counts, 1)
    return total


def _column(devices: tuple[Device, ...], cells: tuple[Cell | None, ...]) -> Column:
    statuses: dict[str, int] = {}
    times: dict[Device, dict[int, int]] = {device: {} for device in DEVICES}
    gauges = dict.fromkeys(GAUGES, 0)
    for device, cell in zip(devices, cells, strict=True):
        if cell is not None:
            _count(statuses, cell.statuses, 1)
            _count(times[device], cell.total, 1)
            for name in GAUGES:
                gauges[name] += getattr(cell, name)
    quantiles = {(device, q): quantile(times[device], q) for device in DEVICES for q in QUANTILES}
    median = quantile(merged(times.values()), 0.5)
    return Column(devices, cells, statuses, times, gauges, quantiles, median)


def _count(counts: dict[K, int], more: Mapping[K, int], sign: int) -> None:
    for name, count in more.items():
        if left := counts.get(name, 0) + sign * count:
            counts[name] = left
        else:
            counts.pop(name, None)
