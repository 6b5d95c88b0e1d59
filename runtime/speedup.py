"""How much faster a function is on a GPU: CPU run time over GPU run time, as honest as it can be.

Timings of different inputs say little about devices, so runs of the same input are compared where
there are enough, else runs of like cost, and only else whatever there is; and it is said which.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import frexp
from statistics import median
from typing import Literal

from runtime.estimate import Estimate, ratio, resampled, stratified_ratio
from runtime.model import Device

Basis = Literal["same inputs", "like cost", "any inputs"]

ENOUGH = 10  # runs a side, for a speedup that is more than a hint
MIN_PAIRS = 5  # inputs that ran on both devices, for a comparison of these alone
MIN_IN_CLASS = 3  # runs a side of like cost: of fewer, a median says little
RESAMPLES = 1000  # for an interval; it is made anew every few seconds


@dataclass(frozen=True, slots=True)
class Sample:
    """One run that succeeded."""

    run: float  # seconds in the replica, above 0
    version: str  # of the function's code: runs of different versions are not alike
    input: bytes | None  # a digest, the same for equal inputs; None where it is not known
    cost: float | None  # by the function's own expression, above 0; None where there is none
    simulated: bool  # on a GPU that is a CPU


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
    Else the ratio of medians of runs with *any inputs*.  Intervals are bootstraps of that median
    or ratio.  Inputs and costs are alike within one version of the function only.

    Where some GPU runs were simulated and some not, those like the newest count.
    """
    gpu = [sample for sample in gpu if sample.simulated == gpu[0].simulated]
    if not cpu or not gpu:
        return None
    shared = _shared(cpu, gpu)
    if len(shared) >= MIN_PAIRS:
        ratios = [median(above) / median(below) for above, below in shared]
        found = resampled(ratios, resamples=RESAMPLES)
        return _told(found, shared, "same inputs", len(shared), gpu[0].simulated)
    if classes := _classes(cpu, gpu):
        found = stratified_ratio(classes, resamples=RESAMPLES)
        return _told(found, classes, "like cost", len(shared), gpu[0].simulated)
    runs = ([sample.run for sample in cpu], [sample.run for sample in gpu])
    found = ratio(*runs, resamples=RESAMPLES)
    return _told(found, [runs], "any inputs", len(shared), gpu[0].simulated)


Runs = tuple[list[float], list[float]]  # seconds: on the CPU, on the GPU


def _shared(cpu: Sequence[Sample], gpu: Sequence[Sample]) -> list[Runs]:
    """The runs of each input that ran on both devices."""

    def by_input(samples: Sequence[Sample]) -> dict[Hashable, list[float]]:
        found: dict[Hashable, list[float]] = {}
        for sample in samples:
            if sample.input is not None:
                found.setdefault((sample.version, sample.input), []).append(sample.run)
        return found

    return _joined(by_input(cpu), by_input(gpu))


def _classes(cpu: Sequence[Sample], gpu: Sequence[Sample]) -> list[Runs]:
    """The runs of each class of cost that has enough on both sides."""

    def by_cost(samples: Sequence[Sample]) -> dict[Hashable, list[float]]:
        found: dict[Hashable, list[float]] = {}
        for sample in samples:
            if sample.cost is not None:
                _, power = frexp(sample.cost)  # cost = m × 2ᵖ with ½ ≤ m < 1
                found.setdefault((sample.version, power), []).append(sample.run)
        return {key: runs for key, runs in found.items() if len(runs) >= MIN_IN_CLASS}

    return _joined(by_cost(cpu), by_cost(gpu))


def _joined(cpu: Mapping[Hashable, list[float]], gpu: Mapping[Hashable, list[float]]) -> list[Runs]:
    return [(runs, gpu[key]) for key, runs in cpu.items() if key in gpu]


def _told(
    found: Estimate, compared: Sequence[Runs], basis: Basis, pairs: int, simulated: bool
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
