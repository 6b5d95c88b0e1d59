"""Plots over the time of the load: latency, throughput, and backlog with replicas."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtest.line import short
from loadtest.outcome import Decided, Observed, Second
from loadtest.report.canvas import (
    GPU_HATCH,
    INK,
    MARKERS,
    MUTED,
    SERIES,
    axes,
    counts_axis,
    latency_axis,
    legend,
    seconds_axis,
)
from loadtest.report.step import MOST, Step, steps
from loadtest.report.summary import Summary
from loadtest.report.table import changed

MARKED = 40  # steps up to which each is marked with a dot
QUEUES = 6  # that have a row of their own
PERCENTILES = (("p50", "-", 1.8), ("p95", "-", 1.3), ("p99", "-", 1.0))

Queue = tuple[str, str]


def latency(summary: Summary) -> Figure:
    """p50, p95 and p99 of each second; below, the median of each device where there are two."""
    every = steps(summary.outcome.series)
    devices = sorted({name for second in summary.outcome.series for name in second.by_device})
    split = len(devices) > 1
    figure, plots = axes(4.4 if split else 2.9, (1.7, 1) if split else (1,))
    values = [_percentile(plots[0], every, *each) for each in PERCENTILES]
    if split:
        values += [_median(plots[1], summary, every, device) for device in devices]
        plots[1].set_ylabel("median")
    _mark_faults(plots[0], every)
    known = [value for each in values for value in each if math.isfinite(value)] or [0.001, 1.0]
    for plot in plots:
        latency_axis(plot, min(known), max(known), vertical=True)
    plots[0].set_ylabel("latency")
    seconds_axis(plots[-1], every[-1].end if every else 1)
    legend(figure, plots)
    return figure


def throughput(summary: Summary) -> Figure:
    """Answers a second, stacked by how they ended, and what was due."""
    every = steps(summary.outcome.series)
    figure, (plot,) = axes(2.9)
    edges = [*(step.begin for step in every), every[-1].end] if every else [0, 1]
    base = [0.0] * (len(edges) - 1)
    kinds: tuple[tuple[str, str, Callable[[Second], float]], ...] = (
        ("answered", "", lambda s: s.succeeded),
        ("throttled", "----", lambda s: s.throttled),
        ("fault", "xxxx", lambda s: s.faults),
    )
    names = {"answered": "succeeded", "throttled": "429", "fault": "faults"}
    for colour, hatch, value in kinds:
        top = [b + step.mean(value) for b, step in zip(base, every, strict=True)]
        if top != base:
            _stack(plot, base, top, edges, colour, hatch, names[colour])
        base = top
    due = [step.mean(lambda s: s.intended) for step in every]
    plot.stairs(due, edges, baseline=None, color=INK, linewidth=1.1, label="due")
    counts_axis(plot, "answers a second")
    seconds_axis(plot, edges[-1])
    legend(figure, [plot])
    return figure


def replicas(summary: Summary) -> Figure:
    """Backlog of every queue, and below a row of replicas for each."""
    outcome = summary.outcome
    queues = _busiest(outcome.observed)
    figure, plots = axes(2.1 + 0.62 * len(queues), (2.2, *([1] * len(queues))))
    end = max([*(s.at + 1 for s in outcome.series), *(o.at for o in outcome.observed)])
    for place, (queue, seen) in enumerate(queues.items()):
        edges = [*(each.at for each in seen), max(end, seen[-1].at)]
        name = f"{short(queue[0])}, {summary.device(queue[1])}"
        style = "--" if queue[1] == "gpu" else "-"
        backlog = [each.ready + each.unacknowledged for each in seen]
        plots[0].stairs(
            backlog, edges, baseline=None, color=SERIES[place], linestyle=style, label=name
        )
        _row(plots[place + 1], seen, edges, SERIES[place], queue[1] == "gpu")
        plots[place + 1].set_title(name, pad=3)
        _ticks(plots[place + 1], [d for d in outcome.decided if (d.function, d.device) == queue])
    counts_axis(plots[0], "backlog")
    seconds_axis(plots[-1], end)
    legend(figure, plots)
    return figure


def _percentile(
    plot: Axes, every: Sequence[Step], name: str, style: str, width: float
) -> list[float]:
    values = [step.longest(lambda s: getattr(s, name)) for step in every]
    _curve(plot, every, values, MARKERS[name], style, width, name)
    return values


def _median(plot: Axes, summary: Summary, every: Sequence[Step], device: str) -> list[float]:
    values = [step.longest(lambda s: s.by_device.get(device)) for step in every]
    gpu = device == "gpu"
    colour, style = MARKERS["gpu" if gpu else "cpu"], "--" if gpu else "-"
    _curve(plot, every, values, colour, style, 1.4, f"median, {summary.device(device)}")
    return values


def _curve(
    plot: Axes,
    every: Sequence[Step],
    values: Sequence[float],
    colour: str,
    style: str,
    width: float,
    label: str,
) -> None:
    middles = [(step.begin + step.end) / 2 for step in every]
    marker = "o" if len(every) <= MARKED else "None"
    plot.plot(
        middles, values, style, color=colour, linewidth=width, marker=marker, ms=3, label=label
    )


def _mark_faults(plot: Axes, every: Sequence[Step]) -> None:
    """A cross on the time axis for each step in which something failed."""
    at = [(step.begin + step.end) / 2 for step in every if step.mean(lambda s: s.faults)]
    if at:
        plot.plot(
            at,
            [0.03] * len(at),
            "x",
            color=MARKERS["fault"],
            ms=4,
            transform=plot.get_xaxis_transform(),
            label="faults",
        )


def _stack(
    plot: Axes,
    base: Sequence[float],
    top: Sequence[float],
    edges: Sequence[float],
    colour: str,
    hatch: str,
    label: str,
) -> None:
    marker = MARKERS[colour]
    plot.stairs(
        top,
        edges,
        baseline=base,
        fill=True,
        facecolor="none" if hatch else marker,
        edgecolor=marker,
        hatch=hatch or None,
        linewidth=0,
        label=label,
    )


def _busiest(observed: Iterable[Observed]) -> dict[Queue, list[Observed]]:
    """What was seen of the queues with most to do, by name; queues at rest throughout are left out.

    The first is there even so: a plot has something to show.
    """
    found: dict[Queue, list[Observed]] = defaultdict(list)
    for each in sorted(observed, key=lambda o: (o.function, o.device, o.at)):
        found[each.function, each.device].append(each)
    busy = {queue: sum(map(_work, seen)) for queue, seen in found.items()}
    chosen = sorted(found, key=lambda queue: -busy[queue])[:QUEUES]
    kept = [queue for queue in chosen if busy[queue]] or chosen[:1]
    return {queue: _thinned(found[queue]) for queue in sorted(kept)}


def _thinned(seen: Sequence[Observed], most: int = 2 * MOST) -> list[Observed]:
    """At most as many looks: of some that follow each other, the one with the longest backlog."""
    width = math.ceil(len(seen) / most)
    groups = (seen[begin : begin + width] for begin in range(0, len(seen), width))
    return [max(group, key=lambda o: (o.ready + o.unacknowledged, _work(o))) for group in groups]


def _work(seen: Observed) -> int:
    return seen.ready + seen.unacknowledged + seen.starting + seen.idle + seen.busy + seen.draining


def _row(plot: Axes, seen: Sequence[Observed], edges: list[float], colour: str, gpu: bool) -> None:
    """Replicas of one queue: busy at the bottom, idle on it, and those that start on top."""
    busy = [each.busy + each.draining for each in seen]
    ready = [b + each.idle for b, each in zip(busy, seen, strict=True)]
    whole = [r + each.starting for r, each in zip(ready, seen, strict=True)]
    plot.stairs(
        busy,
        edges,
        fill=True,
        facecolor="none" if gpu else colour,
        edgecolor=colour,
        hatch=GPU_HATCH if gpu else None,
        linewidth=0,
    )
    plot.stairs(ready, edges, baseline=None, color=colour, linewidth=1.2)
    plot.stairs(whole, edges, baseline=None, color=colour, linewidth=0.9, linestyle=":")
    counts_axis(plot, "", 2)
    plot.set_ylim(0, max(1, *whole) * 1.35)


def _ticks(plot: Axes, decided: Sequence[Decided]) -> None:
    """Decisions that changed something, at the top of the row."""
    for marker, up in (("^", True), ("v", False)):
        at = [each.at for each in changed(decided) if (each.after > each.before) == up]
        plot.plot(
            at, [0.9] * len(at), marker, color=MUTED, ms=4, transform=plot.get_xaxis_transform()
        )
