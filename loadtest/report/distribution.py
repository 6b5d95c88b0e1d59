"""Plots that leave time aside: how latencies spread, what they consist of, and cold starts."""

import math
from collections.abc import Sequence
from statistics import mean

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from loadtest.latencies import Latencies
from loadtest.line import short
from loadtest.quantity import duration, percentile, share, tick
from loadtest.report.canvas import (
    GPU_HATCH,
    INK,
    MARKERS,
    PAGE,
    SIZE,
    axes,
    latency_axis,
    legend,
    plain_rows,
)
from loadtest.report.spread import bins
from loadtest.report.summary import Summary
from loadtest.report.table import REST, grouped, parts

BINS = 48
MARKED = (50.0, 95.0, 99.0)
ROWS = 16  # functions and devices that a plot has room for
DOTS = 200  # cold starts of a row that are drawn one by one
PHASES = {name: MARKERS[name] for name in ("queue", "start", "run")} | {REST: MARKERS["rest"]}
GAP = 0.062  # of the width, between two labels


def histogram(summary: Summary) -> Figure:
    """A histogram for each device, and above it the device's p50, p95 and p99."""
    found = summary.latencies
    low = min(each.percentile(0) for each in found.values())
    high = max(each.percentile(100) for each in found.values())
    figure, (strip, plot) = axes(2.7 + 0.36 * len(found), (0.36 * len(found), 2))
    latency_axis(plot, low, high)
    left, right = plot.get_xlim()
    edges = [left * (right / left) ** (n / BINS) for n in range(BINS + 1)]
    for place, (device, latencies) in enumerate(found.items()):
        _outline(plot, latencies, edges, device)
        _percentiles(strip, place, latencies, device)
    plain_rows(strip, list(found))
    strip.grid(False)
    strip.tick_params(axis="x", length=0)
    strip.spines["bottom"].set_visible(False)
    plot.set_ylim(bottom=0)
    plot.yaxis.set_major_locator(MaxNLocator(4))
    plot.yaxis.set_major_formatter(FuncFormatter(lambda value, _: share(value)))
    plot.set_ylabel("of its invocations")
    plot.set_xlabel("latency")
    legend(figure, [plot])
    return figure


def where(summary: Summary) -> Figure:
    """A bar for each function and device: the mean latency's phases as parts of the whole."""
    rows = [row for row in summary.good if parts(row)][:ROWS]
    figure, (plot,) = axes(0.95 + 0.36 * len(rows))
    for place, row in enumerate(rows):
        begin, whole = 0.0, sum(seconds for _, seconds in parts(row)) or 1.0
        for name, seconds in parts(row):
            _bar(plot, place, begin, seconds / whole, name, row.gpu)
            begin += seconds / whole
        plot.text(1.01, place, duration(row.total.mean), va="center", ha="left")
    names = [f"{short(row.function)}, {short(row.device)}" for row in rows]
    plain_rows(plot, names)
    plot.set_xlim(0, 1)
    plot.xaxis.set_major_formatter(FuncFormatter(lambda value, _: share(value)))
    plot.set_xlabel("of the mean latency, which stands beside the bar")
    seen = [name for name in PHASES if any(name in dict(parts(row)) for row in rows)]
    legend(figure, [], {name: Patch(facecolor=PHASES[name]) for name in seen})
    return figure


def colds(summary: Summary) -> Figure:
    """A bar for each function and device: the mean start and rest; a dot for each answer."""
    rows = list(grouped(summary.outcome.colds).items())[:ROWS]
    figure, (plot,) = axes(1.0 + 0.36 * len(rows))
    for place, ((_, device), each) in enumerate(rows):
        start, total = mean(c.start for c in each), mean(c.total for c in each)
        _bar(plot, place, 0.0, start, "start", device == "gpu")
        _bar(plot, place, start, max(0.0, total - start), REST, device == "gpu")
        totals = [cold.total for cold in each[:DOTS]]
        plot.plot(
            totals,
            [place] * len(totals),
            "o",
            color=INK,
            ms=3.5,
            mec=PAGE,
            mew=0.8,
            label="latency of one answer" if place == 0 else None,
        )
    names = [f"{short(function)}, {summary.device(device)}" for (function, device), _ in rows]
    plain_rows(plot, names)
    plot.set_xlim(left=0)
    plot.xaxis.set_major_locator(MaxNLocator(6))
    plot.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    bars = {"replica starts": PHASES["start"], REST: PHASES[REST]}
    keys = {name: Patch(facecolor=colour) for name, colour in bars.items()}
    legend(figure, [plot], keys)
    return figure


def _outline(plot: Axes, latencies: Latencies, edges: list[float], device: str) -> None:
    gpu = device.startswith("gpu")
    colour = MARKERS["gpu" if gpu else "cpu"]
    heights = [n / latencies.count for n in bins(latencies, edges)]
    plot.stairs(
        heights,
        edges,
        fill=True,
        facecolor="none",
        edgecolor=colour,
        hatch=GPU_HATCH if gpu else None,
        linewidth=1.4,
        linestyle="--" if gpu else "-",
        label=device,
    )


def _percentiles(strip: Axes, row: int, latencies: Latencies, device: str) -> None:
    """Marks at p50, p95 and p99, with names above; names that would collide move to the right."""
    colour = MARKERS["gpu" if device.startswith("gpu") else "cpu"]
    values = [latencies.percentile(percent) for percent in MARKED]
    strip.plot(values, [row + 0.2] * len(values), "|", color=colour, ms=8, mew=2)
    left, right = strip.get_xlim()
    places = [math.log(value / left) / math.log(right / left) for value in values]
    for percent, place in zip(MARKED, _spaced(places), strict=True):
        strip.text(
            place,
            row - 0.12,
            percentile(percent),
            transform=strip.get_yaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=SIZE - 1.5,
        )


def _bar(plot: Axes, row: int, begin: float, length: float, name: str, gpu: bool) -> None:
    plot.barh(
        row,
        length,
        left=begin,
        height=0.62,
        facecolor=PHASES[name],
        edgecolor=PAGE,
        hatch=GPU_HATCH if gpu else None,
        linewidth=1.0,
    )


def _spaced(places: Sequence[float], gap: float = GAP) -> list[float]:
    """The same places, from left to right, each at least `gap` behind the one before."""
    found: list[float] = []
    for place in places:
        found.append(max(place, found[-1] + gap) if found else place)
    return found
