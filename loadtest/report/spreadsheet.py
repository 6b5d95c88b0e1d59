"""Tables for programs, as CSV: latencies by group and phase, and the series second by second.

Times are in seconds (`_s`), shares are parts of one; a cell is empty where nothing was measured.
"""

import csv
import io
import math
from collections.abc import Iterable, Iterator

from loadtest.quantity import percentile
from loadtest.report.spread import PERCENTILES
from loadtest.report.summary import Summary

Cell = str | int | float | None

GROUP = ("function", "device", "status", "phase", "count", "share")
SECOND = (
    *("at", "intended", "sent", "succeeded", "faults", "throttled", "waiting", "held"),
    *("p50", "p95", "p99", "slowest", "cpu", "late"),
)
TIMES = {"at", "p50", "p95", "p99", "slowest", "late"}  # of SECOND; `cpu` is a share of a core


def groups(summary: Summary) -> str:
    """A row for each function, device, status and phase; share is of all invocations."""
    names = ("mean", *map(percentile, PERCENTILES), "max")
    return _csv((*GROUP, *(f"{name}_s" for name in names)), _groups(summary))


def series(summary: Summary) -> str:
    """A row for each second, with the median of each device in it."""
    devices = sorted({name for second in summary.outcome.series for name in second.by_device})
    head = [f"{name}_s" if name in TIMES else name for name in SECOND]
    head += [f"p50 {summary.device(name)}_s" for name in devices]
    rows = (
        [*(getattr(second, name) for name in SECOND), *map(second.by_device.get, devices)]
        for second in summary.outcome.series
    )
    return _csv(head, rows)


def _groups(summary: Summary) -> Iterator[list[Cell]]:
    every = summary.invocations
    for row in summary.rows:
        names = [row.function, row.device, row.status]
        share = row.count / every if every else None
        for phase, found in row.phases.items():
            times = [found.mean, *map(found.at, PERCENTILES), found.longest]
            yield [*names, phase, found.count, share, *times]


def _csv(head: Iterable[str], rows: Iterable[Iterable[Cell]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _cell(value: Cell) -> Cell:
    """Nine digits of a number: more than was measured, and no noise of binary fractions."""
    if not isinstance(value, float):
        return value
    return f"{value:.9g}" if math.isfinite(value) else None
