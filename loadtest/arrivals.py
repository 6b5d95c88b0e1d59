"""When the requests of an open-loop stage are due, whatever becomes of those before them.

A stage has a rate that is linear in pieces.  Its integral, the number of requests due by a time,
is turned around: whole numbers give even spacing, and the points of a Poisson process of rate 1
give a Poisson process of that rate (inversion: E. Çinlar, Introduction to Stochastic Processes,
1975, §4.7; Lewis and Shedler, Naval Research Logistics Quarterly 26, 1979).
"""

import heapq
import itertools
import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from loadtest.mix import Mix
from loadtest.request import Request
from loadtest.stage import (
    MAX_SECONDS,
    Burst,
    Constant,
    OpenStage,
    Poisson,
    Ramp,
    Replay,
    Step,
)
from loadtest.trace import Trace, read_trace
from runtime.errors import ConfigurationError

ROUNDING = 1 - 1e-12  # 1.1 a second for 10 seconds are 11 requests, though floats say a bit more


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request, and the seconds from the beginning of its stage until it is due."""

    at: float
    request: Request


@dataclass(frozen=True, slots=True)
class Piece:
    """A time in which the rate goes evenly from one value to another (requests a second)."""

    seconds: float
    begin: float
    end: float

    @property
    def total(self) -> float:
        """Requests that are due in it."""
        return (self.begin + self.end) / 2 * self.seconds

    def when(self, count: float) -> float:
        """Seconds until `count` are due: the integral, begin·t + slope·t²/2, turned around.

        In the form that loses no digits where the slope is small or 0.
        """
        slope = (self.end - self.begin) / self.seconds
        root = math.sqrt(max(0.0, self.begin**2 + 2 * slope * count))
        return 2 * count / (self.begin + root) if count else 0.0


def arrivals(
    stage: OpenStage, mix: Mix | None, rng: random.Random, folder: Path
) -> Iterator[Arrival]:
    """The requests of a stage in the order they are due, made as they are asked for.

    Times never decrease, and are below the stage's length.  `mix` is needed by all but a replay,
    whose trace is read at the call, relative to `folder`; ConfigurationError where it cannot be.
    Who reads the traces of all stages before the load begins calls `replayed` instead.
    """
    if isinstance(stage, Replay):
        return replayed(stage, read_trace(folder / stage.trace))
    if mix is None:
        raise ConfigurationError("the stage has no mix to send: write mix: [{function: NAME}]")
    return (Arrival(at, mix.next()) for at in times(stage, rng))


def replayed(stage: Replay, trace: Trace) -> Iterator[Arrival]:
    """The requests of a trace at the stage's speed, up to its end."""
    end = stage.seconds or MAX_SECONDS
    if stage.seconds is None and trace.seconds / stage.speed > MAX_SECONDS:
        raise ConfigurationError(
            f"{stage.trace} lasts {trace.seconds / stage.speed:,.0f} s at speed {stage.speed:g},"
            f" over a day ({MAX_SECONDS:,} s): raise speed, or cut it with seconds"
        )
    due = (Arrival(entry.at / stage.speed, entry.request) for entry in trace.entries)
    return itertools.takewhile(lambda arrival: arrival.at < end, due)


def times(stage: Constant | Poisson | Step | Ramp | Burst, rng: random.Random) -> Iterator[float]:
    """Seconds from the beginning of the stage at which requests are due."""
    match stage:
        case Constant():
            return _due([Piece(stage.seconds, stage.rate, stage.rate)], _whole())
        case Poisson():
            return _due([Piece(stage.seconds, stage.rate, stage.rate)], _unit_poisson(rng))
        case Step():
            pieces = [Piece(stage.each, rate, rate) for rate in stage.rates]
            return _due(pieces, _unit_poisson(rng) if stage.poisson else _whole())
        case Ramp():
            pieces = [Piece(stage.seconds, stage.begin, stage.end)]
            return _due(pieces, _unit_poisson(rng) if stage.poisson else _whole())
        case Burst():
            background = _due([Piece(stage.seconds, stage.rate, stage.rate)], _whole())
            return heapq.merge(_bursts(stage), background)


def _due(pieces: Iterable[Piece], counts: Iterable[float]) -> Iterator[float]:
    """When each of the rising counts is reached; a count at a border belongs to what follows."""
    began, before, last = 0.0, 0.0, 0.0
    count = iter(counts)
    next_count = next(count)
    for piece in pieces:
        end, total = began + piece.seconds, before + piece.total
        latest = math.nextafter(end, 0.0)
        while next_count < total * ROUNDING:
            at = began + piece.when(max(0.0, next_count - before))
            last = max(last, min(at, latest))  # no rounding may turn time back, or pass the end
            yield last
            next_count = next(count)
        began, before = end, total


def _whole() -> Iterator[float]:
    return (float(number) for number in itertools.count())


def _unit_poisson(rng: random.Random) -> Iterator[float]:
    """The points of a Poisson process of rate 1: the sums of exponential gaps."""
    at = 0.0
    while True:
        at += rng.expovariate(1.0)
        yield at


def _bursts(stage: Burst) -> Iterator[float]:
    for number in itertools.count():
        at = number * stage.every
        if at >= stage.seconds:
            return
        yield from itertools.repeat(at, stage.size)
