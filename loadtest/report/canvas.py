"""A canvas for plots: matplotlib figures that become SVG to be put into a page.

Colours are names of the page's CSS variables: matplotlib draws with markers (colours that nothing
else uses), and the SVG has `var(--name)` in their place, so that one drawing suits light and dark
pages.  Equal figures give equal SVG.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from loadtest.drawing import drawing
from loadtest.quantity import tick

WIDTH = 6.0  # inches; 432 of the SVG's units
SIZE = 10.5  # of letters

COLOURS = (
    *("ink", "muted", "grid", "page"),  # text, axes, lines of the grid, what is behind it all
    *("cpu", "gpu", "answered", "throttled", "fault", "p50", "p95", "p99"),
    *("queue", "start", "run", "rest"),
    *("one", "two", "three", "four", "five", "six"),  # one thing and another
)
MARKERS = {name: f"#0102{number:02x}" for number, name in enumerate(COLOURS, start=16)}
SERIES = tuple(MARKERS[name] for name in ("one", "two", "three", "four", "five", "six"))
INK, MUTED, GRID, PAGE = (MARKERS[name] for name in ("ink", "muted", "grid", "page"))
GPU_HATCH = "////"

STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be read aloud, found and copied
    "font.size": SIZE,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "axes.titlesize": SIZE,
    "axes.titlecolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "hatch.linewidth": 0.9,
    "legend.frameon": False,
    "legend.fontsize": SIZE,
    "legend.labelcolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}


def drawn(plot: Callable[[], Figure], name: str, title: str) -> str:
    """What `plot` draws as an `<svg>` element; `name` keeps its ids apart from other plots'."""
    file = io.StringIO()
    with drawing(STYLE | {"svg.hashsalt": name}):
        plot().savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return _cleaned(file.getvalue(), name, title)


def axes(height: float, ratios: Sequence[float] = (1,)) -> tuple[Figure, list[Axes]]:
    """A figure with as many axes below each other, which share their x axis."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    grid = figure.subplots(
        len(ratios), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": list(ratios)}
    )
    return figure, list(grid[:, 0])


def seconds_axis(axes: Axes, end: float) -> None:
    """Seconds of the load, from 0, on the x axis; minutes where it is long."""
    axes.set_xlim(0, max(end, 1))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 6, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("seconds of load")


def counts_axis(axes: Axes, label: str, steps: int = 4) -> None:
    """Whole numbers from 0 on the y axis, with about as many steps."""
    axes.set_ylim(0, max(1, axes.get_ylim()[1]))
    axes.yaxis.set_major_locator(MaxNLocator(steps, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_ylabel(label)


def latency_axis(axes: Axes, low: float, high: float, *, vertical: bool = False) -> None:
    """Latencies (seconds) on a logarithmic axis, with units; at least a decade of it."""
    low, high = low / 1.25, high * 1.25
    while high / low < 10:
        low, high = low / 1.2, high * 1.2
    steps = (1.0,) if high / low > 300 else (1.0, 3.0) if high / low > 30 else (1.0, 2.0, 5.0)
    axis = axes.yaxis if vertical else axes.xaxis
    if vertical:
        axes.set_yscale("log")
        axes.set_ylim(low, high)
    else:
        axes.set_xscale("log")
        axes.set_xlim(low, high)
    axis.set_major_locator(LogLocator(10, subs=steps, numticks=12))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))


def plain_rows(axes: Axes, names: Sequence[str]) -> None:
    """Names on the y axis, the first on top, without ticks and lines."""
    axes.yaxis.set_major_locator(FixedLocator(list(range(len(names)))))
    axes.set_yticks(range(len(names)), labels=list(names))
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)


def legend(figure: Figure, plots: Sequence[Axes], more: Mapping[str, Artist] | None = None) -> None:
    """One legend above the plot: `more`, and all that is labelled, each label once."""
    found = dict(more or {})
    for each in plots:
        for handle, label in zip(*each.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        room = WIDTH * 72 / (max(map(len, found)) * SIZE * 0.58 + 45)  # keys beside each other
        figure.legend(
            list(found.values()),
            list(found),
            loc="outside upper left",
            ncols=max(1, min(len(found), int(room))),
            borderaxespad=0,
            columnspacing=1.4,
            handlelength=1.8,
        )


# ── the SVG ───────────────────────────────────────────────────────────────────────────────────

DECLARATIONS = re.compile(r"^.*?(?=<svg)|<metadata>.*?</metadata>\s*|<style.*?</style>", re.S)
FONT = re.compile(r"font-family: [^;\"]*;? ?")
FONT_SHORT = re.compile(r"font: (?:[\w.]+ )*?([\d.]+px) [^;\"]*")
IDS = re.compile(r'\bid="([^"]*)"|url\(#([^)]*)\)|xlink:href="#([^"]*)"')
SIZES = re.compile(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"')
COLOUR = re.compile("|".join(MARKERS.values()))
VARIABLES = {marker: f"var(--{name})" for name, marker in MARKERS.items()}


def _cleaned(text: str, name: str, title: str) -> str:
    """Without prolog, metadata, fonts and sizes; ids with the plot's name; colours as variables."""
    text = DECLARATIONS.sub("", text)
    text = FONT_SHORT.sub(r"font-size: \1", FONT.sub("", text))
    text = SIZES.sub(rf'\1 role="img" aria-label="{title}"', text, count=1)
    text = text.replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "")
    text = IDS.sub(lambda found: _id(found, name), text)
    return COLOUR.sub(lambda found: VARIABLES[found[0]], text).strip()


def _id(found: re.Match[str], name: str) -> str:
    own, url, link = found.groups()
    if own is not None:
        return f'id="{name}-{own}"'
    return f"url(#{name}-{url})" if url is not None else f'href="#{name}-{link}"'
