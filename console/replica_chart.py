"""The chart that explains serverless: how much waits, over how many replicas there are, and why.

A pure function from the digest of a window; `console.charts` says what a chart is.
"""

from collections.abc import Sequence
from typing import Any

from console import numbers
from console.charts import Chart, device_words
from console.digest import Digest, Row
from runtime.ledger import ScalingDecision

MOST_MARKS = 40  # decisions that are marked: the latest
MOST_ROWS = 30  # of the table: the latest changes


def replicas(digest: Digest, span: str) -> Chart:
    """Backlog and replicas on one axis of time, marked where the number of replicas changed."""
    title = "Backlog and replicas"
    waiting, running = digest.gauge("ready"), digest.gauge("unacknowledged")
    starting, draining = digest.gauge("starting"), digest.gauge("draining")
    serving = digest.serving
    there = [starting, draining, *serving.values()]
    if not any(map(any, (waiting, running, *there))):
        empty = (
            f"No replica ran and nothing waited in the last {span}: replicas start when there is"
            " something to run, and end some time after."
        )
        return {"title": title, "caption": "", "empty": empty}
    names = {device: device_words(device, digest) for device in serving}
    own = [_series(names[d], d, row, "replicas") for d, row in serving.items() if any(row)]
    own.append(_series("starting", "start", starting, "replicas"))
    if any(draining):
        own.append(_series("draining", "warn", draining, "replicas"))
    backlog = [
        _series("running", "run", running, "backlog"),
        _series("waiting", "queue", waiting, "backlog"),
    ]
    return {
        "kind": "steps",
        "title": title,
        "caption": _said(digest.decisions, _sum(waiting, running), _sum(*there), span),
        "data": {
            "points": digest.points(),
            "panels": [
                {"name": "invocations in the queues", "unit": "count", "series": backlog},
                {"name": "replicas", "unit": "count", "series": own},
            ],
            "marks": [
                {"at": int(made.at * 1000), "text": words(made)}
                for made in digest.decisions[-MOST_MARKS:]
            ],
        },
        "table": {
            "columns": ["at", "function", "device", "replicas", "backlog", "reason"],
            "rows": [_row(made) for made in digest.decisions[: -MOST_ROWS - 1 : -1]],
        },
    }


def words(made: ScalingDecision) -> str:
    """A decision in a line: matmul on the CPU 1 → 3, because …"""
    return (
        f"{made.function} on the {made.device.upper()} {made.before} → {made.after}: {made.reason}"
    )


def _series(name: str, tone: str, values: Row, stack: str) -> dict[str, Any]:
    return {"name": name, "tone": tone, "values": values, "stack": stack, "shape": "step"}


def _sum(*rows: Row) -> Row:
    return [sum(values) for values in zip(*rows, strict=True)]


def _said(made: Sequence[ScalingDecision], backlog: Row, there: Row, span: str) -> str:
    text = (
        f"Up to {numbers.count(max(backlog))} waited or ran at once in the last {span}, and there"
        f" were {_range(there)} replicas."
    )
    return f"{text} Last change: {words(made[-1])}." if made else text


def _range(values: Row) -> str:
    low, high = min(values), max(values)
    return f"{high:,}" if low == high else f"{low:,} to {high:,}"


def _row(made: ScalingDecision) -> list[str]:
    return [
        numbers.instant(made.at),
        made.function,
        made.device.upper(),
        f"{made.before} → {made.after}",
        numbers.count(made.backlog),
        made.reason,
    ]
