"""How much faster a function is on a GPU: CPU run time over GPU run time, as honest as it can be.

Timings of different inputs say little about devices, so runs of the same input are compared where
there are enough, else runs of like cost, and only else whatever there is; and it is said which.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import frexp
from statistics import median
from typing import Literal

from runtime.blobs import Blobs
from runtime.cost import Cost
from runtime.errors import ConfigurationError, Unavailable
from runtime.estimate import Estimate, estimate, ratio, stratified_ratio
from runtime.function import FunctionSpec
from runtime.model import DEVICES, Device
from runtime.runs import Run, RunInput, Runs
from runtime.samples import Sample, SampleMaker

Basis = Literal["same inputs", "like cost", "any inputs"]

ENOUGH = 10  # runs a side, for a speedup that is more than a hint
MIN_PAIRS = 5  # inputs that ran on both devices, for a comparison of these alone
MIN_IN_CLASS = 3  # runs a side of like cost: of fewer, a median says little
RESAMPLES = 400  # for an interval; it is made anew every few seconds, beside what callers wait for
LATEST = 200  # runs of a function on each device that are compared
LOOK_EVERY = 5.0  # seconds between two looks at what has succeeded
LOOK_BACK = 10.0  # seconds: rows are written that late, by clocks that differ
LOOK_AT_ALL_EVERY = 60.0  # seconds between two looks at every function, whatever ended lately

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Speedup:
    """How many times faster a GPU is than a CPU, and what that rests on."""

    ratio: float  # CPU run time / GPU run time
    low: float | None  # the 95 % interval of the ratio; None where there are too few runs
    high: float | None
    n: dict[Device, int]  # runs that were compared, by device
    pairs: int  # inputs that ran on both devices, whatever the basis
    basis: Basis
    median_run: dict[Device, float]  # seconds, of the runs that were compared
    simulated: bool  # the GPU is a CPU
    enough: bool  # at least 10 runs a side


def speedup(cpu: Sequence[Sample], gpu: Sequence[Sample]) -> Speedup | None:
    """The speedup that runs on both devices show, newest first; None where a side has none.

    *Same inputs*, where at least 5 inputs ran on both devices: the median over these of the ratio
    of run times, several runs of an input on a device counting as their median.  *Like cost*, where
    both sides have at least 3 runs of like cost (within the same power of two): the ratio of
    medians within each class of cost, and the median of these weighted as `stratified_ratio` says.
    Else the ratio of medians of runs with *any inputs*.  The interval of the first is
    exact, between order statistics, since a bootstrap of a single median is too narrow where values
    are few (with 6 pairs it holds the true one in 90 % of cases instead of 95 %); those of the
    others are bootstraps.  Inputs and costs are alike within one version of the function only.

    Where some GPU runs were simulated and some not, those like the newest count.
    """
    gpu = [sample for sample in gpu if sample.simulated == gpu[0].simulated]
    if not cpu or not gpu:
        return None
    shared = _shared(cpu, gpu)
    if len(shared) >= MIN_PAIRS:
        ratios = [median(above) / median(below) for above, below in shared]
        found = estimate(ratios)
        return _told(found, shared, "same inputs", len(shared), gpu[0].simulated)
    if classes := _classes(cpu, gpu):
        found = stratified_ratio(classes, resamples=RESAMPLES)
        return _told(found, classes, "like cost", len(shared), gpu[0].simulated)
    runs = ([sample.run for sample in cpu], [sample.run for sample in gpu])
    found = ratio(*runs, resamples=RESAMPLES)
    return _told(found, [runs], "any inputs", len(shared), gpu[0].simulated)


Sides = tuple[list[float], list[float]]  # seconds: on the CPU, on the GPU


def _shared(cpu: Sequence[Sample], gpu: Sequence[Sample]) -> list[Sides]:
    """The runs of each input that ran on both devices."""

    def by_input(samples: Sequence[Sample]) -> dict[Hashable, list[float]]:
        found: dict[Hashable, list[float]] = {}
        for sample in samples:
            if sample.input is not None:
                found.setdefault((sample.version, sample.input), []).append(sample.run)
        return found

    return _joined(by_input(cpu), by_input(gpu))


def _classes(cpu: Sequence[Sample], gpu: Sequence[Sample]) -> list[Sides]:
    """The runs of each class of cost that has enough on both sides."""

    def by_cost(samples: Sequence[Sample]) -> dict[Hashable, list[float]]:
        found: dict[Hashable, list[float]] = {}
        for sample in samples:
            if sample.cost is not None:
                _, power = frexp(sample.cost)  # cost = m × 2ᵖ with ½ ≤ m < 1
                found.setdefault((sample.version, power), []).append(sample.run)
        return {key: runs for key, runs in found.items() if len(runs) >= MIN_IN_CLASS}

    return _joined(by_cost(cpu), by_cost(gpu))


def _joined(
    cpu: Mapping[Hashable, list[float]], gpu: Mapping[Hashable, list[float]]
) -> list[Sides]:
    return [(runs, gpu[key]) for key, runs in cpu.items() if key in gpu]


def _told(
    found: Estimate, compared: Sequence[Sides], basis: Basis, pairs: int, simulated: bool
) -> Speedup:
    cpu = [run for runs, _ in compared for run in runs]
    gpu = [run for _, runs in compared for run in runs]
    return Speedup(
        ratio=found.median,
        low=found.low,
        high=found.high,
        n={"cpu": len(cpu), "gpu": len(gpu)},
        pairs=pairs,
        basis=basis,
        median_run={"cpu": median(cpu), "gpu": median(gpu)},
        simulated=simulated,
        enough=min(len(cpu), len(gpu)) >= ENOUGH,
    )


class Speedups:
    """The speedups of all functions that have a GPU, as of some seconds ago.

    Every 5 seconds it looks at those that had a new success, and once a minute at all.  The event
    loop only awaits queries; inputs are digested and intervals made in a thread.
    """

    def __init__(
        self, runs: Runs, blobs: Blobs, functions: Callable[[], Mapping[str, FunctionSpec]]
    ) -> None:
        self._runs = runs
        self._blobs = blobs
        self._functions = functions
        self._compared: dict[str, _Compared] = {}
        self._looked_at = 0.0  # unix seconds
        self._all_looked_at = -LOOK_AT_ALL_EVERY  # monotonic seconds
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._looking = asyncio.create_task(self._look(), name="speedups")

    async def close(self) -> None:
        if self._looking:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    def of(self, function: str) -> Speedup | None:
        """A function's speedup as of the last look; None where it did not run on both devices."""
        compared = self._compared.get(function)
        return compared.speedup if compared else None

    async def refresh(self) -> None:
        """Look once; Unavailable where the ledger cannot be read."""
        now, at = time.time(), time.monotonic()
        every = at - self._all_looked_at >= LOOK_AT_ALL_EVERY
        ended = set() if every else await self._runs.ended_since(self._looked_at - LOOK_BACK)
        both = {n: spec for n, spec in self._functions().items() if set(spec.devices) >= {*DEVICES}}
        for name, spec in both.items():
            if every or any((name, device) in ended for device in DEVICES):
                await self._compare(spec)
        for name in self._compared.keys() - both.keys():
            del self._compared[name]
        self._looked_at = now
        if every:
            self._all_looked_at = at

    async def _look(self) -> None:
        while True:
            try:
                await self.refresh()
            except Unavailable as error:
                log.debug("speedups stay as they were: %s", error)
            await asyncio.sleep(LOOK_EVERY)

    async def _compare(self, spec: FunctionSpec) -> None:
        gpu = await self._runs.latest(spec.name, "gpu", LATEST)
        cpu = await self._runs.latest(spec.name, "cpu", LATEST) if gpu else []
        if not cpu or not gpu:
            self._compared.pop(spec.name, None)
            return
        known = self._compared.get(spec.name)
        if known is None or known.expression != spec.cost:
            known = _Compared(spec.cost, {}, None)
        if known.samples.keys() == {run.id for run in (*cpu, *gpu)}:
            return
        inputs = await self._runs.inputs(
            {run.id for run in (*cpu, *gpu) if run.id not in known.samples}
        )
        made = await asyncio.to_thread(_compared, spec, cpu, gpu, known, inputs, self._blobs)
        self._compared[spec.name] = made


@dataclass(frozen=True, slots=True)
class _Compared:
    """What a speedup was made of, so that only what is new has to be looked at."""

    expression: str | None  # of the cost
    samples: dict[str, Sample]  # by invocation
    speedup: Speedup | None


def _compared(
    spec: FunctionSpec,
    cpu: Sequence[Run],
    gpu: Sequence[Run],
    known: _Compared,
    inputs: Mapping[str, RunInput],
    blobs: Blobs,
) -> _Compared:
    maker = SampleMaker(spec.input_schema, _cost_of(spec), blobs)

    def samples(runs: Sequence[Run]) -> dict[str, Sample]:
        return {
            run.id: known.samples.get(run.id) or maker.of(run, inputs.get(run.id)) for run in runs
        }

    ours, theirs = samples(cpu), samples(gpu)
    found = speedup(
        [sample for sample in ours.values() if sample.run > 0],
        [sample for sample in theirs.values() if sample.run > 0],
    )
    return _Compared(spec.cost, ours | theirs, found)


def _cost_of(spec: FunctionSpec) -> Cost | None:
    """How it says that its cost is; None too where an earlier Lumbre let pass what is no cost."""
    try:
        return Cost(spec.cost, spec.input_schema) if spec.cost else None
    except ConfigurationError as error:
        log.debug("function=%s cost %s", spec.name, error)
        return None
