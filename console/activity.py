"""What a function did lately, out of the rollups: how much, how fast, and how often it failed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from runtime.model import Status
from runtime.rollup import Cell, quantile

FAILED = (Status.FAILED, Status.TIMED_OUT, Status.DEAD)
POINTS = 30  # of a sparkline

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
            for bin, count in cell.total.items():
                totals[bin] = totals.get(bin, 0) + count
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


def _fewer(values: Iterable[int]) -> list[int]:
    """Neighbours added up, so that at most POINTS are left; the latest are whole."""
    given = list(values)
    together = -(-len(given) // POINTS) or 1
    first = len(given) % together
    groups = [given[:first]] if first else []
    groups += [given[i : i + together] for i in range(first, len(given), together)]
    return [sum(group) for group in groups]
