"""The plots of a report, by name."""

from collections.abc import Callable
from functools import partial

from matplotlib.figure import Figure

from loadtest.report import distribution, timeline
from loadtest.report.canvas import drawn
from loadtest.report.summary import Summary

PLOTS: dict[str, tuple[str, Callable[[Summary], Figure]]] = {
    "latency": ("Latency over time", timeline.latency),
    "histogram": ("Histogram of latency", distribution.histogram),
    "where": ("Where the time went", distribution.where),
    "throughput": ("Throughput over time", timeline.throughput),
    "replicas": ("Backlog and replicas over time", timeline.replicas),
    "colds": ("Cold starts", distribution.colds),
}


def draw(name: str, summary: Summary) -> str:
    """One of PLOTS as an `<svg>` element for a page that has the colours of `page.css`."""
    title, plot = PLOTS[name]
    return drawn(partial(plot, summary), name, title)
