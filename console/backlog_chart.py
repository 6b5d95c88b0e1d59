"""Backlog and replicas over time, as two charts on one axis: the picture of how scaling works."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from console import numbers
from runtime.history import Window
from runtime.ledger import ScalingDecision
from runtime.model import Device
from runtime.rollup import Cell

Key = tuple[str, Device]

MARKS = 40  # decisions that are told in the chart, the latest


@dataclass(frozen=True, slots=True)
class Counts:
    """Replicas in one bucket."""

    busy: int
    ready: int
    starting: int
    draining: int

    @property
    def running(self) -> int:
        return self.busy + self.ready + self.starting


def cells_of(window: Window, key: Key) -> list[Cell | None]:
    """The cells of one function on one device, one for each bucket."""
    return window.cells.get(key) or [None] * window.count


def backlog_and_replicas(window: Window, key: Key, running: int) -> dict[str, Any]:
    """Backlog over replicas with the decisions that were made; `running` is how many run now."""
    cells = cells_of(window, key)
    made = [each for each in window.decisions if (each.function, each.device) == key]
    counts = replica_counts(window, cells, made, running)
    backlog = {
        "messages ready": ("queue", [None if c is None else c.ready for c in cells]),
        "messages unacknowledged": (
            "run",
            [None if c is None else c.unacknowledged for c in cells],
        ),
    }
    replicas = {
        "busy": ("run", [None if c is None else c.busy for c in counts]),
        "ready": (key[1], [None if c is None else c.ready for c in counts]),
        "starting": ("start", [None if c is None else c.starting for c in counts]),
        "draining": ("muted", [None if c is None else c.draining for c in counts]),
    }
    chart: dict[str, Any] = {
        "kind": "steps",
        "title": "Backlog, and the replicas that follow it",
        "caption": _caption(cells, counts, made),
        "data": {
            "points": [
                round((window.start + i * window.width) * 1000) for i in range(window.count)
            ],
            "panels": [_panel("Backlog", backlog), _panel("Replicas", replicas)],
            "marks": [{"at": round(each.at * 1000), "text": _mark(each)} for each in made[-MARKS:]],
        },
        "table": _table(window, cells, counts),
    }
    if not any(cell is not None for cell in cells) and not made:
        chart["empty"] = "Nothing was written of it in this time."
    return chart


def replica_counts(
    window: Window, cells: Sequence[Cell | None], made: Sequence[ScalingDecision], running: int
) -> list[Counts | None]:
    """Replicas by state in each bucket, as many together as there can have been.

    A cell holds the most there were in each state, and one that was busy first and ready later
    would count twice.  How many there were at once is known from now back, by the decisions, and
    those that drain are among them, or drained before.
    """
    counts: list[Counts | None] = [None] * len(cells)
    left = sorted(made, key=lambda each: each.at)
    there = running
    for i in reversed(range(len(cells))):
        begin, most = window.start + i * window.width, there
        while left and left[-1].at >= begin:
            decision = left.pop()
            there = max(0, there - (decision.after - decision.before))
            most = max(most, there)
        cell = cells[i]
        if cell is not None:
            most = max(most, cell.busy)
            ready = min(cell.idle, most - cell.busy)
            starting = min(cell.starting, most - cell.busy - ready)
            left_over = earlier.draining if i and (earlier := cells[i - 1]) else 0
            draining = min(cell.draining, most + left_over - cell.busy - ready - starting)
            counts[i] = Counts(cell.busy, ready, starting, draining)
    return counts


def _panel(name: str, values: dict[str, tuple[str, list[int | None]]]) -> dict[str, Any]:
    series = [
        {"name": each, "values": value, "tone": tone, "stack": "all", "shape": "step"}
        for each, (tone, value) in values.items()
    ]
    return {"name": name, "unit": "count", "series": series}


def _mark(made: ScalingDecision) -> str:
    return f"{made.before} → {made.after}: {made.reason}"


def _caption(
    cells: Sequence[Cell | None],
    counts: Sequence[Counts | None],
    made: Sequence[ScalingDecision],
) -> str:
    backlog = max((c.ready + c.unacknowledged for c in cells if c is not None), default=0)
    replicas = max((c.running for c in counts if c is not None), default=0)
    if not backlog and not replicas:
        return "No backlog and no replica in this time: it rested at zero."
    text = f"The backlog was {backlog:,} at most"
    text += f", the replicas {replicas:,}" if replicas else ", and no replica ran"
    times = "changed once" if len(made) == 1 else f"changed {len(made):,} times"
    return f"{text}; the number of replicas {times if made else 'did not change'}."


def _table(
    window: Window, cells: Sequence[Cell | None], counts: Sequence[Counts | None]
) -> dict[str, Any]:
    columns = ["From", "Ready", "Unacknowledged", "Busy", "Idle", "Starting", "Draining"]
    rows = []
    for i, (cell, count) in enumerate(zip(cells, counts, strict=True)):
        if cell is not None and count is not None:
            held = (cell.ready, cell.unacknowledged)
            told = (*held, count.busy, count.ready, count.starting, count.draining)
            at = numbers.instant(window.start + i * window.width)
            rows.append([at, *map(numbers.count, told)])
    return {"columns": columns, "rows": rows}
