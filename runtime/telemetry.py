"""What is measured and told: Prometheus metrics, latency windows, trace context.

Observing costs well under a microsecond, since it is on the path of every invocation; everything is
put into metric families only when somebody asks (`/metrics`).
"""

import re
import secrets
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from runtime.model import Depth, Device, Invocation, ReplicaCounts, Status

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
PHASES = ("queue", "start", "run")
WINDOW = 1000  # latest invocations that percentiles are made of

Key = tuple[str, Device]


@dataclass(frozen=True, slots=True)
class Gauges:
    """What is so now, for one function on one device."""

    function: str
    device: Device
    depth: Depth
    replicas: ReplicaCounts
    cold_starts: int
    decisions: dict[str, int]


@dataclass(slots=True)
class _Histogram:
    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds


@dataclass(slots=True)
class _Series:
    """Everything counted for one function on one device."""

    statuses: dict[Status, int] = field(default_factory=dict)
    phases: dict[str, _Histogram] = field(
        default_factory=lambda: {phase: _Histogram() for phase in PHASES}
    )
    totals: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))  # seconds
    runs: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))  # seconds
    finished: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))  # unix seconds


class Metrics(Collector):
    """Counts and times of what this process has finished."""

    def __init__(self, gauges: Callable[[], Iterable[Gauges]]) -> None:
        self._gauges = gauges
        self._series: dict[Key, _Series] = {}

    def observe(self, invocation: Invocation) -> None:
        """Count an invocation that has just become terminal."""
        key = (invocation.message.function, invocation.message.device)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series()
        status = invocation.status
        series.statuses[status] = series.statuses.get(status, 0) + 1
        timings = invocation.timings or {}
        for phase in PHASES:
            if (seconds := timings.get(phase)) is not None:
                series.phases[phase].observe(seconds)
        finished = invocation.finished_at or 0.0
        series.finished.append(finished)
        if status is Status.SUCCEEDED:
            series.totals.append(finished - invocation.message.created_at)
            series.runs.append(timings.get("run", 0.0))

    def remember(self, key: Key, totals: Iterable[float], runs: Iterable[float]) -> None:
        """Start the latency windows with what the ledger knows of earlier days."""
        series = self._series.setdefault(key, _Series())
        series.totals.extend(totals)
        series.runs.extend(runs)

    def latency(self, key: Key) -> dict[str, Any] | None:
        """p50, p95 and p99 in seconds, of the whole and of the run, over the latest invocations."""
        series = self._series.get(key)
        if not series or not series.totals:
            return None
        return {
            "n": len(series.totals),
            "total": percentiles(series.totals),
            "run": percentiles(series.runs),
        }

    def runs(self, key: Key) -> list[float]:
        """Run times in seconds of the latest successful invocations."""
        series = self._series.get(key)
        return list(series.runs) if series else []

    def drain_rate(self, key: Key) -> float:
        """Invocations finished per second, over the last minute; 0 if none was."""
        series = self._series.get(key)
        if not series:
            return 0.0
        now = time.time()
        recent = [at for at in series.finished if at > now - 60]
        return len(recent) / max(1.0, now - recent[0]) if recent else 0.0

    def collect(self) -> Iterator[Metric]:
        """Metric families for prometheus_client; called when /metrics is read."""
        labels = ["function", "device"]
        finished = CounterMetricFamily(
            "lumbre_invocations", "Invocations that became terminal", labels=[*labels, "status"]
        )
        phases = HistogramMetricFamily(
            "lumbre_phase_seconds",
            "Seconds spent waiting in the queue, waiting for a cold start, and running",
            labels=[*labels, "phase"],
        )
        for (function, device), series in self._series.items():
            for status, number in series.statuses.items():
                finished.add_metric([function, device, status.value], number)
            for phase, histogram in series.phases.items():
                buckets = _cumulative(histogram.counts)
                phases.add_metric([function, device, phase], buckets, histogram.total)
        yield finished
        yield phases
        yield from self._collect_gauges(labels)

    def _collect_gauges(self, labels: list[str]) -> Iterator[Metric]:
        backlog = GaugeMetricFamily(
            "lumbre_backlog", "Messages of a queue, by state", labels=[*labels, "state"]
        )
        replicas = GaugeMetricFamily(
            "lumbre_replicas", "Replicas, by state", labels=[*labels, "state"]
        )
        cold = CounterMetricFamily(
            "lumbre_cold_starts", "Replicas that became ready", labels=labels
        )
        decisions = CounterMetricFamily(
            "lumbre_scaling_decisions",
            "Changes of the replica count",
            labels=[*labels, "direction"],
        )
        for gauges in self._gauges():
            own = [gauges.function, gauges.device]
            for state in ("ready", "unacknowledged", "dead"):
                backlog.add_metric([*own, state], getattr(gauges.depth, state))
            for state in ("starting", "ready", "busy", "draining"):
                replicas.add_metric([*own, state], getattr(gauges.replicas, state))
            cold.add_metric(own, gauges.cold_starts)
            for direction, number in gauges.decisions.items():
                decisions.add_metric([*own, direction], number)
        yield from (backlog, replicas, cold, decisions)


def percentiles(seconds: Iterable[float]) -> dict[str, float]:
    """p50, p95 and p99 by nearest rank."""
    ordered = sorted(seconds)
    last = len(ordered) - 1
    return {f"p{p}": ordered[min(last, int(len(ordered) * p / 100))] for p in (50, 95, 99)}


def _cumulative(counts: list[int]) -> list[tuple[str, float]]:
    buckets, so_far = [], 0
    for bound, number in zip([*map(str, BUCKETS), "+Inf"], counts, strict=True):
        so_far += number
        buckets.append((bound, float(so_far)))
    return buckets


TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


def child_traceparent(header: str) -> str | None:
    """A traceparent for our span within the caller's trace; None if theirs is not valid.

    W3C Trace Context §3.2: version ff and ids of zeros are invalid, and version 00 has four fields.
    """
    match = TRACEPARENT.fullmatch(header.strip())
    if not match:
        return None
    version, trace, parent, flags, rest = match.groups()
    if version == "ff" or not int(trace, 16) or not int(parent, 16) or (version == "00" and rest):
        return None
    return f"00-{trace}-{secrets.token_hex(8)}-{flags}"
