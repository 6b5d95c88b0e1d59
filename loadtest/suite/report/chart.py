"""`performance_comparison.png`: every case's seconds over its sizes, speedups, and ceilings."""

import io
import math
from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from loadtest import quantity
from loadtest.drawing import drawing
from loadtest.suite.report import findings, panels
from loadtest.suite.summary import Summary

WIDTH, DPI = 16.0, 100  # inches, and 1600 pixels
ROW = 3.5  # inches, of seconds over size
STYLE = {
    "font.size": 11.5,
    "lines.linewidth": 1.6,
    "lines.markersize": 5.5,
    "errorbar.capsize": 3,
}

Panel = Callable[[Axes], None]


def picture(summary: Summary) -> bytes:
    """The PNG; the same bytes for the same results and the same matplotlib."""
    with drawing(STYLE):
        figure = _figure(summary)
        out = io.BytesIO()
        figure.savefig(out, format="png", dpi=DPI, metadata={"Software": None})
    return out.getvalue()


def columns(cases: int) -> int:
    """How many panels stand side by side: no more than four, and the last row well filled."""
    if cases <= 4:
        return max(1, cases)
    return min((3, 4), key=lambda width: (-cases % width, -width))


def _figure(summary: Summary) -> Figure:
    cases = len(summary.cases)
    bars = _bars(summary)
    if cases <= 1:
        return _one_row(summary, bars)
    wide = columns(cases)
    high = math.ceil(cases / wide)
    below = 1.4 + (0.64 if summary.has_gpu else 0.5) * cases if bars else 0.0
    above = _heading_inches(summary)
    figure = Figure(figsize=(WIDTH, above + ROW * high + below), layout="constrained")
    heights = [above, ROW * high, *([below] if bars else [])]
    parts = _parts(figure, heights)
    _heading(parts[0], summary)
    _lines(parts[1], summary, high, wide)
    if bars:
        for axes, draw in zip(parts[2].subplots(1, len(bars), squeeze=False)[0], bars, strict=True):
            draw(axes)
    return figure


def _one_row(summary: Summary, bars: list[Panel]) -> Figure:
    """A case beside its bars: alone it would be as wide as the page."""
    above = _heading_inches(summary)
    width = len(summary.cases) + len(bars)
    figure = Figure(figsize=(WIDTH, above + 4.4), layout="constrained")
    head, body = _parts(figure, [above, 4.4])
    _heading(head, summary)
    places = body.subplots(1, max(1, width), squeeze=False)[0]
    for axes, case in zip(places, summary.cases, strict=False):
        panels.seconds_over_size(axes, case, summary)
    if summary.cases:
        places[0].set_ylabel("seconds of one piece of work")
    for axes, draw in zip(places[len(summary.cases) :], bars, strict=False):
        draw(axes)
    if not width:
        places[0].axis("off")
        places[0].text(0.5, 0.5, "nothing was measured", ha="center")
    return figure


def _parts(figure: Figure, heights: list[float]) -> list[SubFigure]:
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights, hspace=0.0)
    return [figure.add_subfigure(grid[row, 0]) for row in range(len(heights))]


def _lines(part: SubFigure, summary: Summary, high: int, wide: int) -> None:
    grid = part.subplots(high, wide, squeeze=False)
    places = [axes for row in grid for axes in row]
    for axes, case in zip(places, summary.cases, strict=False):
        panels.seconds_over_size(axes, case, summary)
    for axes in places[len(summary.cases) :]:
        axes.remove()
    for row in grid:
        row[0].set_ylabel("seconds of one piece of work")


def _bars(summary: Summary) -> list[Panel]:
    drawn: list[Panel] = []
    if summary.has_gpu and summary.cases:
        drawn.append(lambda axes: panels.speedups(axes, summary))
    if panels.has_ceilings(summary):
        drawn.append(lambda axes: panels.ceilings(axes, summary))
    return drawn


def _heading_inches(summary: Summary) -> float:
    return 1.15 + 0.3 * len(findings.warnings(summary))


def _heading(part: SubFigure, summary: Summary) -> None:
    """Title, where it ran, warnings, and the legend of all lines."""
    inches = _heading_inches(summary)
    results = summary.results
    part.text(
        0.012,
        1 - 0.3 / inches,
        "Functions on CPU and GPU" if summary.has_gpu else "Functions on the CPU",
        fontsize=17,
        fontweight="bold",
        va="center",
    )
    confidence = quantity.share(results.confidence)
    where = findings.opening(summary)
    how = f"Points are medians, whiskers their {confidence} intervals. {results.began_at}"
    for place, line in enumerate((where, how)):
        size = min(11.5, 11.5 * 160 / len(line))  # names of devices may be long
        at = 1 - (0.62 + 0.25 * place) / inches
        part.text(0.012, at, line, va="center", color=panels.GREY, fontsize=size)
    for place, warning in enumerate(findings.warnings(summary)):
        part.text(
            0.012,
            1 - (1.2 + 0.3 * place) / inches,
            warning,
            va="center",
            fontweight="bold",
            color="#8a1c00",
        )
    part.legend(
        handles=panels.legend(summary),
        loc="upper right",
        bbox_to_anchor=(0.995, 1 - 0.02),
        ncols=3,
        frameon=False,
    )
