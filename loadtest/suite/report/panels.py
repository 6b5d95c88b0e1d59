"""The panels that figures are put together from: seconds over size, speedups, shares of ceilings.

Each draws into axes that it is given, so that the picture of a report and the figures of a paper
show the same, each in its own size and type.
"""

import math
import textwrap
from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from loadtest import quantity
from loadtest.line import short
from loadtest.suite.summary import Case, Comparison, Summary, Timing
from runtime.estimate import Estimate
from runtime.model import DEVICES, Device

COLOURS: dict[Device, str] = {"cpu": "#1f5fa8", "gpu": "#d1470c"}  # apart for the colour-blind, too
PALE = "#f2b596"  # the GPU with its transfers
GREY = "#666666"
FARTHEST = 10  # times a median; a whisker that goes on leaves the panel
LONGEST = 32  # characters of a name
BACKED = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}  # text over lines
WHISKER = {"elinewidth": 0.8, "ecolor": "#333333"}


def seconds_over_size(axes: Axes, case: Case, summary: Summary) -> None:
    """Median seconds with intervals: CPU solid ○, GPU dashed □, with transfers dotted △."""
    for device in DEVICES:
        style, marker = ("-", "o") if device == "cpu" else ("--", "s")
        found = [
            (one.size, timing.seconds)
            for one in case.sizes
            if (timing := _on(one, device)) and timing.seconds
        ]
        _line(axes, found, COLOURS[device], style, marker)
    whole = [
        (one.size, one.gpu.total)
        for one in case.sizes
        if one.gpu and one.gpu.total and summary.has_gpu
    ]
    _line(axes, whole, COLOURS["gpu"], ":", "^")
    _differing(axes, case)
    _logarithmic(axes, case)
    axes.set_title(short(case.name, LONGEST), fontweight="bold", loc="left")
    axes.grid(True, which="major", color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)


def legend(summary: Summary) -> list[Line2D]:
    """What the lines of `seconds_over_size` are."""
    handles = [Line2D([], [], color=COLOURS["cpu"], linestyle="-", marker="o", label="CPU")]
    if summary.has_gpu:
        gpu, colour = summary.label("gpu"), COLOURS["gpu"]
        handles += [
            Line2D([], [], color=colour, linestyle="--", marker="s", label=gpu, mfc="white"),
            Line2D(
                [],
                [],
                color=colour,
                linestyle=":",
                marker="^",
                label=f"{gpu} with transfers in and out",
                mfc="white",
            ),
        ]
    return handles


def speedups(axes: Axes, summary: Summary) -> None:
    """Bars from 1 × with intervals, at each case's largest size that has a speedup."""
    reach = [1.0]
    for row, case in enumerate(summary.cases):
        best = case.best
        if best is None or best.speedup is None or best.with_transfers is None:
            why = textwrap.fill(f"no speedup: {case.sizes[-1].short}", 44)
            axes.text(1.08, row, why, va="center", color=GREY, fontsize="small")
            continue
        _bar(axes, row - 0.2, best.speedup, COLOURS["gpu"])
        _bar(axes, row + 0.2, best.with_transfers, PALE)
        reach += [*_reach(best.speedup), *_reach(best.with_transfers)]
    axes.set_xscale("log")
    axes.axvline(1, color="#333333", linewidth=1)
    high, low = max(reach), min(reach)
    span = max(math.log10(high / low), 0.7)
    axes.set_xlim(low / 10 ** (0.05 * span), high * 10 ** (0.45 * span))  # room for the numbers
    axes.xaxis.set_major_locator(LogLocator(subs=(1,) if span > 1.3 else (1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} ×"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    _rows(axes, summary, [case.best or case.sizes[-1] for case in summary.cases])
    _title(
        axes,
        f"{summary.label('gpu')}: times as fast as the CPU",
        [(COLOURS["gpu"], "the work itself"), (PALE, "with transfers in and out")],
    )


def ceilings(axes: Axes, summary: Summary) -> None:
    """What share of its own measured ceiling each device reached at each case's largest size."""
    devices: Sequence[Device] = ("cpu", "gpu") if summary.has_gpu else ("cpu",)
    most = 1.0
    for row, case in enumerate(summary.cases):
        for place, device in enumerate(devices):
            timing = _on(case.sizes[-1], device)
            at = row + (0.4 * place - 0.2 if len(devices) > 1 else 0)
            if timing is None or timing.share is None or timing.rate is None:
                axes.text(0.01, at, "not known", va="center", color=GREY, fontsize="small")
                continue
            axes.barh(at, timing.share, 0.36, color=COLOURS[device])
            rate = quantity.amount(timing.rate, f"{timing.cell.unit}/s")
            top = case.ceiling(device)
            of = "" if top in (None, case.sizes[-1].case) else f" of {short(top, LONGEST)}"
            _told(axes, timing.share, at, f"{quantity.share(timing.share)}{of}, {rate}")
            most = max(most, timing.share)
    axes.set_xlim(0, 1.5 * most)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: quantity.share(value)))
    axes.axvline(1, color="#333333", linewidth=1, linestyle=(0, (4, 3)))
    _rows(axes, summary, [case.sizes[-1] for case in summary.cases])
    _title(
        axes,
        "Share of the measured ceiling",
        [(COLOURS[device], summary.label(device)) for device in devices],
    )


def has_ceilings(summary: Summary) -> bool:
    """Whether any case's largest size can be held against a ceiling."""
    return any(timing.share for case in summary.cases for timing in case.sizes[-1].timings)


def _on(one: Comparison, device: Device) -> Timing | None:
    return one.cpu if device == "cpu" else one.gpu


def _line(
    axes: Axes,
    found: Sequence[tuple[float, Estimate]],
    colour: str,
    style: str,
    marker: str,
) -> None:
    if not found:
        return
    medians = [each.median for _, each in found]
    below = [each.median - (each.median if each.low is None else each.low) for _, each in found]
    above = [(each.median if each.high is None else each.high) - each.median for _, each in found]
    axes.errorbar(
        [size for size, _ in found],
        medians,
        yerr=[below, above],
        color=colour,
        linestyle=style,
        marker=marker,
        markerfacecolor=colour if style == "-" else "white",
        elinewidth=0.8,
    )


def _differing(axes: Axes, case: Case) -> None:
    """A cross over the GPU's time at sizes where its result is not the CPU's."""
    wrong = [
        (one.size, one.gpu.seconds.median)
        for one in case.sizes
        if one.parity and one.parity.holds is False and one.gpu and one.gpu.seconds
    ]
    for size, seconds in wrong:
        axes.plot(size, seconds, marker="x", color="black", markersize=11, markeredgewidth=1.6)
        axes.annotate(
            "results differ",
            (size, seconds),
            textcoords="offset points",
            xytext=(4, -16),
            ha="right",
            va="top",
            fontsize="small",
            bbox=BACKED,
        )


def _logarithmic(axes: Axes, case: Case) -> None:
    sizes = [one.size for one in case.sizes]
    if min(sizes) > 0 and len(sizes) > 1:
        axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sizes, _apart(sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: quantity.tick(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(case.axis)
    _a_decade_at_least(axes)


def _a_decade_at_least(axes: Axes) -> None:
    """Widen the seconds until two powers of ten show: without them, nobody can read the scale."""
    low, high = axes.get_ylim()
    if low <= 0 or math.floor(math.log10(high)) - math.ceil(math.log10(low)) >= 1:
        return
    bottom = 10.0 ** math.floor(math.log10(low))
    axes.set_ylim(0.9 * bottom, max(1.1 * high, 11 * bottom))


def _apart(sizes: Sequence[float]) -> list[str]:
    """The sizes as labels, but none where it would touch the next: the largest is always there."""
    places = [math.log10(size) if size > 0 else 0.0 for size in sizes]
    span = max(places) - min(places) or 1.0
    labels = [""] * len(sizes)
    last = math.inf
    for at in reversed(range(len(sizes))):
        if last - places[at] > 0.16 * span:
            labels[at], last = compact(sizes[at]), places[at]
    return labels


def compact(size: float) -> str:
    """A size for the few places under a panel: `8,192`, `100k`, `10M`."""
    for by, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= max(by, 1e4) and size % (by / 10) == 0:
            return f"{size / by:g}{suffix}"
    return quantity.given(size)


def _bar(axes: Axes, at: float, found: Estimate, colour: str) -> None:
    whiskers = None
    if found.low is not None and found.high is not None:
        whiskers = [[found.median - found.low], [found.high - found.median]]
    axes.barh(
        at, found.median - 1, 0.36, left=1, color=colour, xerr=whiskers, error_kw=dict(WHISKER)
    )
    told = f"{quantity.times(found.median)}, {quantity.counted(found.n, 'call')}"
    # The number of a bar to the left of 1 × stands right of it, clear of the names of the rows.
    _told(axes, max(1.0, *_reach(found)), at, told)


def _reach(found: Estimate) -> tuple[float, float]:
    """How far a bar and its whiskers are shown: an interval without end would hide the bars."""
    low, high = found.low or found.median, found.high or found.median
    return max(low, found.median / FARTHEST), min(high, found.median * FARTHEST)


def _told(axes: Axes, right_of: float, at: float, words: str) -> None:
    axes.annotate(
        words,
        (right_of, at),
        textcoords="offset points",
        xytext=(5, 0),
        va="center",
        fontsize="small",
        bbox=BACKED,
    )


def _title(axes: Axes, title: str, colours: Sequence[tuple[str, str]]) -> None:
    """A title, and under it what the colours are."""
    axes.set_title(title, fontweight="bold", loc="left", pad=2.1 * matplotlib.rcParams["font.size"])
    axes.legend(
        handles=[Patch(color=colour, label=label) for colour, label in colours],
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=len(colours),
        frameon=False,
        borderpad=0,
        borderaxespad=0.5,
        fontsize="small",
    )


def _rows(axes: Axes, summary: Summary, at: Sequence[Comparison]) -> None:
    labels = [f"{short(one.case, LONGEST)}\n{one.axis} = {quantity.given(one.size)}" for one in at]
    axes.set_yticks(range(len(summary.cases)), labels)
    axes.set_ylim(len(summary.cases) - 0.4, -0.6)  # the first case on top
    axes.tick_params(axis="y", length=0)
    axes.grid(True, axis="x", which="major", color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
