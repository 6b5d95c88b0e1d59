"""One case at one size: what its calls say on each device, and of one device against the other."""

import statistics
from collections import Counter
from dataclasses import dataclass

from loadtest import quantity
from loadtest.suite.results import Cell, Parity, Results, Sample
from runtime.estimate import Estimate, estimate, ratio
from runtime.model import DEVICES, Device

PER_DEVICE = {"repeat"}  # how often a call does its work; what one piece takes is not changed by it


@dataclass(frozen=True, slots=True)
class Timing:
    """One case at one size on one device.  None: not one call succeeded."""

    cell: Cell
    seconds: Estimate | None  # of the work itself
    total: Estimate | None  # with the transfers in and out
    transfer_in: float | None  # median
    transfer_out: float | None
    call: float | None  # median of the whole call in the replica
    rate: float | None  # of work a second, at the median; its unit is the cell's a second
    share: float | None  # of the ceiling's median

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The warm calls that succeeded."""
        return self.cell.samples

    @property
    def failures(self) -> str:
        """`12 of 24 calls failed: out of memory (12 ×)`, or nothing."""
        failed = Counter(self.cell.failures)
        if not failed:
            return ""
        calls = len(self.cell.samples) + len(self.cell.failures)
        reasons = "; ".join(
            f"{reason} ({times} ×)" if len(failed) > 1 else reason
            for reason, times in failed.most_common()
        )
        return f"{len(self.cell.failures)} of {calls} calls failed: {reasons}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One case at one size on both devices, or on the one that there is."""

    case: str
    axis: str
    size: float
    cpu: Timing | None
    gpu: Timing | None
    parity: Parity | None
    speedup: Estimate | None  # CPU seconds over GPU seconds, of the work itself
    with_transfers: Estimate | None  # CPU seconds over GPU seconds and its transfers
    why: str  # why there is no speedup; empty where there is one
    differing: str  # what the devices were given apart, by the plan: "dtype: CPU float32, GPU tf32"

    @property
    def short(self) -> str:
        """`why` without its details, for a cell of a table."""
        return self.why.partition(": ")[0]

    @property
    def timings(self) -> tuple[Timing, ...]:
        return tuple(timing for timing in (self.cpu, self.gpu) if timing)

    @property
    def failures(self) -> list[str]:
        """Every device's failures: "on the GPU: 12 of 24 calls failed: …"."""
        told = [(timing.cell.device, timing.failures) for timing in self.timings]
        return [f"on the {device.upper()}, {failures}" for device, failures in told if failures]


def timed(cell: Cell, rates: dict[tuple[Device, str], float], confidence: float) -> Timing:
    """What the calls of a cell say; `rates` are the medians of ceilings, by device and name."""
    samples = cell.samples
    if not samples:
        return Timing(cell, None, None, None, None, None, None, None)
    seconds = estimate([sample.seconds for sample in samples], confidence)
    rate = cell.work / seconds.median if cell.work and seconds.median > 0 else None
    most = rates.get((cell.device, cell.ceiling)) if cell.ceiling else None
    return Timing(
        cell,
        seconds,
        estimate(_totals(cell), confidence),
        statistics.median(sample.transfer_in for sample in samples),
        statistics.median(sample.transfer_out for sample in samples),
        statistics.median(sample.run for sample in samples),
        rate,
        rate / most if rate and most else None,
    )


def compared(
    any_cell: Cell,
    size: float,
    timings: tuple[Timing | None, Timing | None],
    parity: Parity | None,
    results: Results,
) -> Comparison:
    """Both devices at one size: by how much the GPU is the faster, or why that cannot be said."""
    cpu, gpu = timings
    speedup = with_transfers = None
    why = _why_none(cpu, gpu, parity, results)
    if cpu and gpu and not why:
        above = [sample.seconds for sample in cpu.cell.samples]
        below = [sample.seconds for sample in gpu.cell.samples]
        speedup = ratio(above, below, confidence=results.confidence)
        with_transfers = ratio(above, _totals(gpu.cell), confidence=results.confidence)
    return Comparison(
        any_cell.case,
        any_cell.axis,
        size,
        cpu,
        gpu,
        parity,
        speedup,
        with_transfers,
        why,
        _differing(cpu, gpu),
    )


def disagreement(parity: Parity) -> str:
    """What differs: `checksum: CPU 1.5, GPU 1.75, and |cpu − gpu| ≤ 0.1 was asked for`."""
    broken = [
        f"{check.field}: CPU {_value(check.cpu)}, GPU {_value(check.gpu)}, and {check.rule}"
        " was asked for"
        for check in parity.checks
        if not check.holds
    ]
    return "; ".join(broken) or parity.reason


def _totals(cell: Cell) -> list[float]:
    return [sample.seconds + sample.transfer_in + sample.transfer_out for sample in cell.samples]


def _why_none(
    cpu: Timing | None, gpu: Timing | None, parity: Parity | None, results: Results
) -> str:
    """Why a speedup is not printed; empty where it may be: both devices did the same work."""
    for device, timing in zip(DEVICES, (cpu, gpu), strict=True):
        if timing is None:
            return _absence(device, results)
        if timing.seconds is None:
            where = f"on the {device.upper()}, "
            return where + (timing.failures or timing.cell.stopped or "no call was made")
        if any(sample.seconds <= 0 for sample in timing.cell.samples):
            return f"on the {device.upper()} it took less time than the clock can tell"
    assert cpu and gpu
    return _unequal(parity)


def _absence(device: Device, results: Results) -> str:
    if not any(found.kind == device for found in results.devices):
        return f"no {device.upper()} here"
    if results.interrupted:
        return f"not measured on the {device.upper()}: the run ended early"
    return f"not measured on the {device.upper()}"


def _differing(cpu: Timing | None, gpu: Timing | None) -> str:
    """What the devices were given apart, as a plan may want it: `dtype: CPU float32, GPU tf32`."""
    if cpu is None or gpu is None:
        return ""
    mine, yours = cpu.cell.parameters, gpu.cell.parameters
    told = [
        f"{name}: CPU {mine.get(name, 'not given')}, GPU {yours.get(name, 'not given')}"
        for name in sorted((mine.keys() | yours.keys()) - PER_DEVICE)
        if mine.get(name) != yours.get(name)
    ]
    return "; ".join(told)


def _unequal(parity: Parity | None) -> str:
    """Why a parity does not allow a speedup."""
    if parity is None:
        return "the results were not compared"
    if parity.holds is None:
        return f"the results were not compared ({parity.reason})"
    return "" if parity.holds else f"results differ: {disagreement(parity)}"


def _value(value: float | None) -> str:
    return "none" if value is None else quantity.exact(value)
