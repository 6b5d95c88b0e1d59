"""Backlog and replicas over time, as two charts on one axis: the picture of how scaling works."""

from collections.abc import Sequence
from typing import Any

from console import numbers
from runtime.history import Window
from runtime.ledger import ScalingDecision
from runtime.model import Device
from runtime.rollup import Cell

Key = tuple[str, Device]

MARKS = 40  # decisions that are told in the chart, the latest


def cells_of(window: Window, key: Key) -> list[Cell | None]:
    """The cells of one function on one device, one for each bucket."""
    return window.cells.get(key) or [None] * window.count


def backlog_and_replicas(window: Window, key: Key) -> dict[str, Any]:
    """Backlog over replicas, with the decisions that were made."""
    cells = cells_of(window, key)
    made = [each for each in window.decisions if (each.function, each.device) == key]
    backlog = {
        "messages ready": ("queue", [None if c is None else c.ready for c in cells]),
        "messages unacknowledged": (
            "run",
            [None if c is None else c.unacknowledged for c in cells],
        ),
    }
    replicas = {
        "busy": ("run", [None if c is None else c.busy for c in cells]),
        "ready": (key[1], [None if c is None else c.idle for c in cells]),
        "starting": ("start", [None if c is None else c.starting for c in cells]),
        "draining": ("muted", [None if c is None else c.draining for c in cells]),
    }
    chart: dict[str, Any] = {
        "kind": "steps",
        "title": "Backlog, and the replicas that follow it",
        "caption": _caption(cells, made),
        "data": {
            "points": [
                round((window.start + i * window.width) * 1000) for i in range(window.count)
            ],
            "panels": [_panel("Backlog", backlog), _panel("Replicas", replicas)],
            "marks": [{"at": round(each.at * 1000), "text": _mark(each)} for each in made[-MARKS:]],
        },
        "table": _table(window, cells),
    }
    if not any(cell is not None for cell in cells) and not made:
        chart["empty"] = "Nothing was written of it in this time."
    return chart


def _panel(name: str, values: dict[str, tuple[str, list[int | None]]]) -> dict[str, Any]:
    series = [
        {"name": each, "values": value, "tone": tone, "stack": "all", "shape": "step"}
        for each, (tone, value) in values.items()
    ]
    return {"name": name, "unit": "count", "series": series}


def _mark(made: ScalingDecision) -> str:
    return f"{made.before} → {made.after}: {made.reason}"


def _caption(cells: Sequence[Cell | None], made: Sequence[ScalingDecision]) -> str:
    backlog = max((c.ready + c.unacknowledged for c in cells if c is not None), default=0)
    replicas = max((c.busy + c.idle + c.starting for c in cells if c is not None), default=0)
    if not backlog and not replicas:
        return "No backlog and no replica in this time: it rested at zero."
    text = f"The backlog was {backlog:,} at most"
    text += f", the replicas {replicas:,}" if replicas else ", and no replica ran"
    times = "changed once" if len(made) == 1 else f"changed {len(made):,} times"
    return f"{text}; the number of replicas {times if made else 'did not change'}."


def _table(window: Window, cells: Sequence[Cell | None]) -> dict[str, Any]:
    columns = ["From", "Ready", "Unacknowledged", "Busy", "Idle", "Starting", "Draining"]
    rows = []
    for i, cell in enumerate(cells):
        if cell is not None:
            held = (cell.ready, cell.unacknowledged)
            told = (*held, cell.busy, cell.idle, cell.starting, cell.draining)
            at = numbers.instant(window.start + i * window.width)
            rows.append([at, *map(numbers.count, told)])
    return {"columns": columns, "rows": rows}
