"""The tiles of the overview: five figures, each with how it went as a small curve."""

from collections.abc import Iterable, Mapping
from typing import Any

from console import buckets
from console.activity import FAILED, activity
from runtime.history import Window
from runtime.model import DEVICES
from runtime.rollup import quantile

LIVE = ("able", "busy", "starting", "ready", "unacknowledged", "backlog")


def figures(window: Window, rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What the tiles say: of a window, and of all functions as they are now (`rows`).

    Times in seconds, the rate a second, errors as a share of one.
    """
    functions = list(rows)
    did = activity(list(window.cells.values()), buckets.seconds(window))
    return {
        "finished": did.finished,
        "rate": did.rate,
        "errors": did.errors,
        "p50": did.p50,
        "p95": did.p95,
        **{name: sum(row[name] for row in functions) for name in LIVE},
    }


def sparks(window: Window) -> dict[str, list[float | None]]:
    """The curve of each tile, a point for each bucket; None where there was nothing to tell."""
    ended = buckets.ended(window)
    all_of = [sum(counts) for counts in zip(*ended.values(), strict=True)]
    failed = [sum(counts) for counts in zip(*(ended[s] for s in FAILED), strict=True)]
    serving = [buckets.serving(window, device) for device in DEVICES]
    queued = buckets.gauge(window, "ready"), buckets.gauge(window, "unacknowledged")
    return {
        "finished": [float(count) for count in all_of],
        "errors": [bad / all if all else None for bad, all in zip(failed, all_of, strict=True)],
        "p50": [quantile(bins, 0.5) for bins in buckets.times(window)],
        "replicas": [float(sum(counts)) for counts in zip(*serving, strict=True)],
        "backlog": [float(sum(counts)) for counts in zip(*queued, strict=True)],
    }
