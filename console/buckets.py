"""A window of rollups, bucket by bucket: what ended, how long it took, what there was at once.

Every row has one entry for each bucket of the window, the oldest first.
"""

from collections.abc import Iterable, Mapping

from runtime.history import Window
from runtime.model import DEVICES, TERMINAL, Device, Status
from runtime.rollup import Cell

Bins = Mapping[int, int]
Row = list[int]


def points(window: Window) -> list[int]:
    """Where the buckets of a window begin, in unix milliseconds."""
    return [int((window.start + place * window.width) * 1000) for place in range(window.count)]


def seconds(window: Window) -> float:
    """How long a window is."""
    return float(window.width * window.count)


def cells_of(window: Window, device: Device) -> list[Cell]:
    """All that was written about a device, in no order."""
    rows = (cells for key, cells in window.cells.items() if key[1] == device)
    return [cell for cells in rows for cell in cells if cell is not None]


def ended(window: Window) -> dict[Status, Row]:
    """How many invocations ended, by status."""
    counts = {status: [0] * window.count for status in sorted(TERMINAL)}
    for cells in window.cells.values():
        for place, cell in enumerate(cells):
            if cell is not None:
                for status, count in cell.statuses.items():
                    counts[Status(status)][place] += count
    return counts


def times(window: Window, devices: Iterable[Device] = DEVICES) -> list[dict[int, int]]:
    """The bins of whole times, of those that succeeded on these devices."""
    found: list[dict[int, int]] = [{} for _ in range(window.count)]
    for device in devices:
        for key, cells in window.cells.items():
            if key[1] == device:
                for place, cell in enumerate(cells):
                    if cell is not None:
                        _add(found[place], cell.total)
    return found


def gauge(window: Window, name: str) -> Row:
    """A gauge of all functions and devices; where nothing was written there was nothing."""
    found = [0] * window.count
    for cells in window.cells.values():
        for place, cell in enumerate(cells):
            if cell is not None:
                found[place] += getattr(cell, name)
    return found


def serving(window: Window, device: Device) -> Row:
    """Replicas on a device that could take an invocation, or had one.

    Each gauge is the most there was within a bucket, and one replica that was idle first and busy
    then is in both.  So their sum counts only as far as there were to be so many.
    """
    found = [0] * window.count
    for key, cells in window.cells.items():
        if key[1] == device:
            asked = _asked_for(window, key)
            for place, cell in enumerate(cells):
                if cell is not None:
                    least = max(cell.idle, cell.busy)
                    found[place] += max(least, min(cell.idle + cell.busy, asked[place]))
    return found


def _asked_for(window: Window, key: tuple[str, Device]) -> Row:
    """The most replicas there were to be within each bucket, as far as decisions tell."""
    made = [each for each in window.decisions if (each.function, each.device) == key]
    if not made:  # as many all the time: as many as were ever seen to do the same
        cells = (cell for cell in window.cells[key] if cell is not None)
        return [max((max(cell.idle, cell.busy) for cell in cells), default=0)] * window.count
    asked = [0] * window.count
    current, place = made[0].before, 0
    for each in made:
        then = min(window.count - 1, max(0, int((each.at - window.start) // window.width)))
        for passed in range(place, then + 1):
            asked[passed] = max(asked[passed], current)
        current, place = each.after, then
    for passed in range(place, window.count):
        asked[passed] = max(asked[passed], current)
    return asked


def merged(many: Iterable[Bins]) -> dict[int, int]:
    """The counts of some bins together."""
    total: dict[int, int] = {}
    for bins in many:
        _add(total, bins)
    return total


def _add(bins: dict[int, int], more: Bins) -> None:
    for bin, count in more.items():
        bins[bin] = bins.get(bin, 0) + count
