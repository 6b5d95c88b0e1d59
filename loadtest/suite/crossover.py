"""From which size on the GPU wins: where the ratio of CPU to GPU seconds crosses 1.

A size whose interval holds 1 × has no winner, so that noise between two devices that are as fast as
each other is no crossover.  Between two measured sizes, seconds are taken as a power of the size,
so that the ratio is a straight line in a drawing with logarithmic axes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from loadtest import quantity
from runtime.estimate import Estimate


@dataclass(frozen=True, slots=True)
class Point:
    """How many times as fast the GPU was at one size."""

    size: float
    ratio: Estimate

    @property
    def gpu_wins(self) -> bool:
        return self.ratio.median > 1

    @property
    def tied(self) -> bool:
        """Whether either device may be the faster: the interval holds 1."""
        low, high = self.ratio.low, self.ratio.high
        return low is not None and high is not None and low <= 1 <= high


@dataclass(frozen=True, slots=True)
class Crossover:
    """Where the faster device changes, over the sizes that were compared."""

    size: float | None  # from which on the GPU wins; None unless there is exactly one such
    words: str  # where the GPU wins: "from n ≈ 350 on", "at every compared size"
    detail: str  # what that is read off from: "between 256 (0.62 ×) and 512 (1.9 ×)"


def crossover(points: Sequence[Point], axis: str) -> Crossover:
    """The crossover of a case; `axis` is the name of its size."""
    ordered = sorted(points, key=lambda point: point.size)
    if not ordered:
        return Crossover(None, "not known", "no size was compared")
    clear = [point for point in ordered if not point.tied]
    if not clear:
        words = "at no size for certain"
        return Crossover(None, words, f"{axis} = {_range(ordered)}: every interval holds 1 ×")
    changes = [(a, b) for a, b in pairwise(clear) if a.gpu_wins != b.gpu_wins]
    if not changes:
        found = Crossover(None, _throughout(ordered, clear), f"{axis} = {_range(clear)}")
    elif len(changes) == 1:
        found = _once(*_neighbours(ordered, *changes[0]), axis)
    else:
        found = _often(clear, [_neighbours(ordered, *change) for change in changes], axis)
    few = " (by too few calls to be sure)" if any(p.ratio.low is None for p in ordered) else ""
    return replace(found, words=found.words + few, detail=found.detail + _doubt(ordered, axis))


def _throughout(ordered: Sequence[Point], clear: Sequence[Point]) -> str:
    every, none = "at every compared size", "at none of the compared sizes"
    told = every if clear[0].gpu_wins else none
    return told if len(clear) == len(ordered) else f"{told} that has a clear winner"


def _neighbours(ordered: Sequence[Point], a: Point, b: Point) -> tuple[Point, Point]:
    """The last two measured sizes between which the ratio crosses 1, from one winner to another."""
    between = [point for point in ordered if a.size <= point.size <= b.size]
    return [(c, d) for c, d in pairwise(between) if d.gpu_wins == b.gpu_wins != c.gpu_wins][-1]


def _once(below: Point, above: Point, axis: str) -> Crossover:
    size = _between(below, above)
    detail = f"between {_place(below)} and {_place(above)}"
    if above.gpu_wins:
        return Crossover(size, f"from {axis} ≈ {_about(size)} on", detail)
    return Crossover(None, f"only up to {axis} ≈ {_about(size)}", detail)


def _often(
    clear: Sequence[Point], crossings: Sequence[tuple[Point, Point]], axis: str
) -> Crossover:
    wins = ", ".join(quantity.given(point.size) for point in clear if point.gpu_wins)
    places = ", ".join(_about(_between(a, b)) for a, b in crossings)
    return Crossover(
        None, f"at {axis} = {wins} only (crosses more than once)", f"near {axis} ≈ {places}"
    )


def _range(points: Sequence[Point]) -> str:
    first, last = quantity.given(points[0].size), quantity.given(points[-1].size)
    return f"{first} to {last}" if len(points) > 1 else first


def _doubt(ordered: Sequence[Point], axis: str) -> str:
    """Which sizes say little, and why."""
    tied = [quantity.given(point.size) for point in ordered if point.tied]
    few = [quantity.given(point.size) for point in ordered if point.ratio.low is None]
    told = f"; no winner at {axis} = {', '.join(tied)}: the interval holds 1 ×" if tied else ""
    return told + (f"; too few calls for an interval at {axis} = {', '.join(few)}" if few else "")


def _between(a: Point, b: Point) -> float:
    """The size between two at which the ratio would be 1."""
    share = -math.log(a.ratio.median) / math.log(b.ratio.median / a.ratio.median)
    if a.size <= 0:
        return a.size + share * (b.size - a.size)
    return float(a.size * (b.size / a.size) ** share)


def _place(point: Point) -> str:
    return f"{quantity.given(point.size)} ({quantity.times(point.ratio.median)})"


def _about(size: float) -> str:
    return quantity.number(float(f"{size:.1e}"))  # two digits: it is read off between two sizes
