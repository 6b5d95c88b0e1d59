"""A simulation as a picture: backlog over replicas, or a sweep's p95 over cost; PNG or SVG."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoscaler.simulated import Simulated
from autoscaler.sweep import Sweep
from autoscaler.timeline import Moment
from loadtest.drawing import drawing
from runtime.errors import ConfigurationError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg")
POINTS = 600
SIZE = (9.0, 5.5)  # inches
DOTS = 150  # an inch, of a PNG
STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
STATES = (  # of replicas, from below; colours that are told apart without colour vision, too
    ("busy", "#1b7837", ""),
    ("idle", "#a6dba0", ""),
    ("starting", "#fdae61", "///"),
    ("draining", "#bababa", "..."),
)


def check_plot(file: Path) -> None:
    """ConfigurationError for a name that is none of a picture."""
    if file.suffix.lower() not in FORMATS:
        raise ConfigurationError(f"--plot {file}: name a file that ends with .png or .svg")


def plot(found: Simulated, title: str, file: Path) -> None:
    """Draw backlog and replicas over time into a file."""
    from matplotlib.figure import Figure

    with drawing(STYLE):
        figure = Figure(figsize=SIZE, layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 3))
        moments = [moment or _NOTHING for moment in found.timeline.sampled(found.end, POINTS)]
        step = found.end / POINTS
        times = [number * step for number in range(len(moments))]
        above.fill_between(times, [moment.backlog for moment in moments], step="post", color="#888")
        above.set_ylabel("backlog (messages)")
        above.set_title(title, loc="left")
        _stack(below, times, moments)
        below.set_ylabel("replicas")
        below.set_xlabel("seconds")
        if below.collections:
            figure.legend(loc="outside lower center", ncols=len(STATES), frameon=False)
        _save(figure, file)


def plot_sweep(found: Sweep, title: str, file: Path, price: float | None) -> None:
    """Draw p95 over cost of every policy into a file, the front as a line."""
    from matplotlib.figure import Figure

    each = price or 1.0
    with drawing(STYLE):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        kept = [one for one in found.candidates if not one.found.unserved]
        axes.scatter(
            [one.found.cost(each) for one in kept], [one.p95() for one in kept], s=18, color="#888"
        )
        costs = [one.found.cost(each) for one in found.front]
        axes.plot(costs, [one.p95() for one in found.front], "o-", color="#1b7837", label="front")
        for one in found.front:
            point = (one.found.cost(each), one.p95())
            axes.annotate(
                one.words, point, textcoords="offset points", xytext=(5, 5), fontsize="x-small"
            )
        best = found.recommended
        axes.scatter(
            [best.found.cost(each)], [best.p95()], s=120, marker="*", color="#d7301f", zorder=3
        )
        axes.set_yscale("log")
        axes.set_ylabel("p95 from arrival to end (s)")
        axes.set_xlabel("replica-hours" if price is None else f"cost at {price:g} a replica-hour")
        axes.set_title(title, loc="left")
        _save(figure, file)


_NOTHING = Moment(0.0, 0, 0, 0, 0, 0, 0)


def _stack(axes: "Axes", times: list[float], moments: list[Moment]) -> None:
    below = [0] * len(times)
    for name, colour, hatch in STATES:
        counts = [getattr(moment, name) for moment in moments]
        if any(counts):
            tops = [low + count for low, count in zip(below, counts, strict=True)]
            axes.fill_between(
                times,
                below,
                tops,
                step="post",
                label=name,
                facecolor=colour,
                hatch=hatch,
                edgecolor="#555",
                linewidth=0,
            )
            below = tops


def _save(figure: "Figure", file: Path) -> None:
    metadata: dict[str, Any] = {"Date": None} if file.suffix.lower() == ".svg" else {}
    try:
        figure.savefig(file, dpi=DOTS, metadata=metadata)
    except OSError as error:
        raise ConfigurationError(
            f"{file} cannot be written ({error.strerror or error}): name another place"
        ) from error
