"""A simulation in numbers that JSON can hold: for scripts, for tables, and between processes."""

from dataclasses import asdict
from math import isfinite
from typing import Any

from autoscaler.simulated import Simulated, Spread
from autoscaler.sweep import Candidate, Sweep
from autoscaler.timeline import Moment
from autoscaler.trace import Trace

POINTS = 240  # of a timeline
MOST_CHANGES = 1000  # of a summary: the first


def summary(
    found: Simulated, price: float, points: int = POINTS, span: float | None = None
) -> dict[str, Any]:
    """What was found; durations in seconds, cost at a price for an hour of one replica.

    The timeline is of so many seconds from the beginning, of all by default.
    """
    seconds = found.seconds
    return {
        "invocations": len(found.arrivals),
        "unserved": found.unserved,
        "total": spread(found.total),
        "waited": spread(found.waited),
        "cold": found.cold,
        "cold_share": found.cold_share,
        "replica_seconds": {**asdict(seconds), "total": seconds.total},
        "utilisation": found.utilisation,
        "replicas": {"mean": found.mean_replicas, "most": found.most_replicas},
        "backlog": found.message_seconds / found.end if found.end else 0.0,
        "seconds": found.end,
        "cost": found.cost(price),
        "changes": len(found.changes),
        "decisions": [asdict(change) for change in found.changes[:MOST_CHANGES]],
        "timeline": _timeline(found, points, found.end if span is None else span),
    }


def recorded(trace: Trace) -> dict[str, Any]:
    """What a trace says itself, in the same form as far as it goes."""
    count = len(trace.calls)
    return {
        "invocations": count,
        "left_out": trace.left_out,
        "total": spread(Spread.of(trace.totals)),
        "waited": spread(Spread.of(trace.waits)),
        "cold": trace.cold,
        "cold_share": trace.cold / count,
        "busy": sum(trace.runs),
    }


def swept(found: Sweep, price: float) -> dict[str, Any]:
    """Every policy that was tried, in brief, and which to take."""
    front = {id(each) for each in found.front}
    return {
        "candidates": [
            {**brief(each, price), "front": id(each) in front} for each in found.candidates
        ],
        "recommended": brief(found.recommended, price),
        "why": found.why,
    }


def brief(candidate: Candidate, price: float) -> dict[str, Any]:
    """A candidate in one line."""
    found = candidate.found
    return {
        "knobs": dict(candidate.knobs),
        "p50": number(found.total.p50),
        "p95": number(found.total.p95),
        "p99": number(found.total.p99),
        "cold_share": found.cold_share,
        "replicas": found.mean_replicas,
        "utilisation": found.utilisation,
        "unserved": found.unserved,
        "cost": found.cost(price),
    }


def spread(found: Spread) -> dict[str, float | None]:
    """Percentiles by name; None where there are none."""
    return {name: number(value) for name, value in asdict(found).items()}


def number(value: float) -> float | None:
    return value if isfinite(value) else None


def _timeline(found: Simulated, points: int, span: float) -> list[dict[str, float]]:
    if not span:
        return []
    moments = found.timeline.sampled(span, points)
    return [
        {**(asdict(moment) if moment else _NOTHING), "at": number * span / points}
        for number, moment in enumerate(moments)
    ]


_NOTHING = dict.fromkeys(Moment.__slots__, 0)
