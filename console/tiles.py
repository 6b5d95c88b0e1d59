"""The tiles of the overview: five figures, each with how it went as a small curve."""

from collections.abc import Iterable, Mapping
from typing import Any

from console.digest import Digest, merged
from runtime.census import WITH_ERROR
from runtime.model import DEVICES, TERMINAL, Status
from runtime.rollup import quantile

LIVE = ("able", "busy", "starting", "ready", "unacknowledged", "backlog")
POINTS = 30  # of a curve, at most


def figures(digest: Digest, rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What the tiles say: of a window, and of all functions as they are now (`rows`).

    Times in seconds, the rate a second, errors as a share of those that were not cancelled.
    """
    functions = list(rows)
    ended = {status: sum(digest.ended(status)) for status in TERMINAL}
    times = merged(digest.all_times(device) for device in DEVICES)
    return {
        "finished": sum(ended.values()),
        "rate": sum(ended.values()) / digest.seconds,
        "errors": errors(ended),
        "p50": quantile(times, 0.5),
        "p95": quantile(times, 0.95),
        **{name: sum(row[name] for row in functions) for name in LIVE},
    }


def errors(ended: Mapping[Any, int]) -> float | None:
    """The share of invocations that failed, of those that were not cancelled; None of none."""
    judged = sum(count for status, count in ended.items() if status != Status.CANCELLED)
    return sum(ended.get(status, 0) for status in WITH_ERROR) / judged if judged else None


def sparks(digest: Digest) -> dict[str, list[float | None]]:
    """The curve of each tile, oldest first; None where there was nothing to tell.

    Where there are many buckets, neighbours are one point: all that ended, the most of the rest.
    """
    together = -(-digest.count // POINTS)
    first = digest.count % together
    places = [range(first)] if first else []
    places += [range(at, at + together) for at in range(first, digest.count, together)]
    ended = {status: digest.ended(status) for status in TERMINAL}
    counts = [{s: sum(row[p] for p in group) for s, row in ended.items()} for group in places]
    medians = [column.median or 0.0 for column in digest.columns]
    replicas = [sum(values) for values in zip(*digest.serving.values(), strict=True)]
    waiting, running = digest.gauge("ready"), digest.gauge("unacknowledged")
    return {
        "finished": [float(sum(count.values())) for count in counts],
        "errors": [errors(count) for count in counts],
        "p50": [max(medians[p] for p in group) for group in places],
        "replicas": [float(max(replicas[p] for p in group)) for group in places],
        "backlog": [float(max(waiting[p] + running[p] for p in group)) for group in places],
    }
