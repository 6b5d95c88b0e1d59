"""What a function did lately, out of the rollups: how much, how fast, and how often it failed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from console import numbers
from runtime.model import DEVICES, Device, Status
from runtime.rollup import Cell, bin_bounds, quantile

FAILED = (Status.FAILED, Status.TIMED_OUT, Status.DEAD)
POINTS = 30  # of a sparkline
MOST_BARS = 48  # of a histogram
SHORTEST = 5e-6  # seconds: where the first bin begins, as a logarithmic scale has no zero

Rows = Sequence[Sequence[Cell | None]]


@dataclass(frozen=True, slots=True)
class Activity:
    """Invocations that ended within a window."""

    finished: int
    rate: float  # a second
    errors: float | None  # share of those that were not cancelled; None of none
    p50: float | None  # seconds from acceptance to the end, of those that succeeded
    p95: float | None
    spark: list[int]  # how many ended, from then to now


def activity(rows: Rows, seconds: float) -> Activity:
    """What some rows of cells say, one for each device, of the latest so many seconds."""
    statuses: dict[str, int] = {}
    totals: dict[int, int] = {}
    spark = [0] * max((len(row) for row in rows), default=0)
    for row in rows:
        for place, cell in enumerate(row):
            if cell is None:
                continue
            for status, count in cell.statuses.items():
                statuses[status] = statuses.get(status, 0) + count
                spark[place] += count
            add(totals, cell.total)
    finished = sum(statuses.values())
    failed = sum(statuses.get(status, 0) for status in FAILED)
    judged = finished - statuses.get(Status.CANCELLED, 0)
    return Activity(
        finished,
        finished / seconds if seconds > 0 else 0.0,
        failed / judged if judged else None,
        quantile(totals, 0.5),
        quantile(totals, 0.95),
        _fewer(spark),
    )


def add(bins: dict[int, int], more: Mapping[int, int]) -> None:
    """Add the counts of some bins to others."""
    for bin, count in more.items():
        bins[bin] = bins.get(bin, 0) + count


def latency_chart(rows: Mapping[Device, Sequence[Cell | None]], span: str) -> dict[str, Any]:
    """How long invocations took from acceptance to their end, as a histogram by device."""
    title = "How long invocations take"
    found: dict[Device, dict[int, int]] = {}
    for device in DEVICES:
        bins: dict[int, int] = {}
        for cell in rows.get(device, ()):
            if cell is not None:
                add(bins, cell.total)
        if bins:
            found[device] = bins
    if not found:
        caption = f"None succeeded in the last {span}."
        return {"title": title, "caption": caption, "empty": "Nothing to show yet"}
    edges, counts = _bars(found)
    return {
        "kind": "histogram",
        "title": title,
        "caption": _said(found, span),
        "data": {
            "edges": edges,
            "unit": "seconds",
            "series": [
                {"name": device.upper(), "counts": counts[device], "tone": device}
                for device in found
            ],
            "marks": [
                {"at": at, "text": f"{name} {device.upper()}"}
                for device, bins in found.items()
                for name, q in (("p50", 0.5), ("p95", 0.95))
                if (at := quantile(bins, q)) is not None
            ],
        },
        "table": {
            "columns": ["device", "succeeded", "p50", "p95", "p99"],
            "rows": [
                [
                    device.upper(),
                    numbers.count(sum(bins.values())),
                    *(numbers.seconds(quantile(bins, q)) for q in (0.5, 0.95, 0.99)),
                ]
                for device, bins in found.items()
            ],
        },
    }


def _bars(found: Mapping[Device, Mapping[int, int]]) -> tuple[list[float], dict[Device, list[int]]]:
    """Edges, and counts between them: neighbouring bins together, where there are many."""
    used = [bin for bins in found.values() for bin in bins]
    low, high = min(used), max(used)
    width = 1
    while (high - low) // width >= MOST_BARS:
        width *= 2
    count = (high - low) // width + 1
    edges = [max(SHORTEST, bin_bounds(low + i * width)[0]) for i in range(count)]
    edges.append(bin_bounds(low + count * width - 1)[1])
    counts: dict[Device, list[int]] = {}
    for device, bins in found.items():
        counts[device] = [0] * count
        for bin, amount in bins.items():
            counts[device][(bin - low) // width] += amount
    return edges, counts


def _said(found: Mapping[Device, Mapping[int, int]], span: str) -> str:
    parts = [
        f"{numbers.seconds(quantile(bins, 0.5))} on the {device.upper()}"
        f" (p95 {numbers.seconds(quantile(bins, 0.95))})"
        for device, bins in found.items()
    ]
    count = sum(sum(bins.values()) for bins in found.values())
    return f"Half of {count:,} in the last {span} took up to {' and '.join(parts)}."


def _fewer(values: Iterable[int]) -> list[int]:
    """Neighbours added up, so that at most POINTS are left; the latest are whole."""
    given = list(values)
    together = -(-len(given) // POINTS) or 1
    first = len(given) % together
    groups = [given[:first]] if first else []
    groups += [given[i : i + together] for i in range(first, len(given), together)]
    return [sum(group) for group in groups]
