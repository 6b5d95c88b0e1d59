"""The figures of the paper: PDF in the widths of IEEE's columns, with embedded TrueType fonts."""

import io
import math
from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtest.drawing import drawing
from loadtest.suite.report import panels
from loadtest.suite.summary import Summary

COLUMN, PAGE = 3.5, 7.16  # inches: one column, and both
STYLE = {
    "pdf.fonttype": 42,  # TrueType: IEEE takes no Type 3 fonts
    "font.size": 7.0,
    "axes.titlesize": 7.5,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.0,
    "errorbar.capsize": 1.5,
}
SECONDS, SPEEDUPS, CEILINGS = "seconds.pdf", "speedups.pdf", "ceilings.pdf"


def plates(summary: Summary) -> dict[str, bytes]:
    """The figures that there is something to draw in, by their file names."""
    drawn: dict[str, Callable[[], Figure]] = {}
    if summary.cases:
        drawn[SECONDS] = lambda: _seconds(summary)
    if summary.has_gpu and any(case.best for case in summary.cases):
        drawn[SPEEDUPS] = lambda: _bars(summary, panels.speedups)
    if panels.has_ceilings(summary):
        drawn[CEILINGS] = lambda: _bars(summary, panels.ceilings)
    with drawing(STYLE):
        return {name: _pdf(draw()) for name, draw in drawn.items()}


def _seconds(summary: Summary) -> Figure:
    cases = len(summary.cases)
    wide = min(4, cases)
    high = math.ceil(cases / wide)
    figure = Figure(figsize=(PAGE, 0.25 + 1.75 * high), layout="constrained")
    grid = figure.subplots(high, wide, squeeze=False)
    places = [axes for row in grid for axes in row]
    for axes, case in zip(places, summary.cases, strict=False):
        panels.seconds_over_size(axes, case, summary)
    for axes in places[cases:]:
        axes.remove()
    for row in grid:
        row[0].set_ylabel("seconds of one piece of work")
    figure.legend(
        handles=panels.legend(summary), loc="outside upper center", ncols=3, frameon=False
    )
    return figure


def _bars(summary: Summary, draw: Callable[[Axes, Summary], None]) -> Figure:
    figure = Figure(figsize=(COLUMN, 0.75 + 0.4 * len(summary.cases)), layout="constrained")
    draw(figure.subplots(), summary)
    return figure


def _pdf(figure: Figure) -> bytes:
    out = io.BytesIO()
    # Without a date, so that the same results give the same file.
    figure.savefig(out, format="pdf", metadata={"CreationDate": None})
    return out.getvalue()
