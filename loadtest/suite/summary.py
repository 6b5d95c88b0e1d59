"""What the numbers of a run say: medians, speedups, shares of ceilings, crossovers, cold starts.

Computed from Results alone, and always the same from the same ones.  Every report is written from
a Summary, so that no two reports can tell different numbers.
"""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from loadtest.suite.comparison import Comparison as Comparison
from loadtest.suite.comparison import Timing as Timing
from loadtest.suite.comparison import compared, timed
from loadtest.suite.crossover import Crossover, Point, crossover
from loadtest.suite.results import Ceiling, Cell, Cold, DeviceFacts, Results
from runtime.estimate import Estimate, estimate
from runtime.model import Device


@dataclass(frozen=True, slots=True)
class Case:
    """One case over its sizes, from the least up."""

    name: str
    function: str
    axis: str
    sizes: tuple[Comparison, ...]
    crossover: Crossover | None  # None where there is no GPU to compare with
    crossover_with_transfers: Crossover | None

    @property
    def differing(self) -> str:
        """What the devices were given apart, at any size."""
        return next((one.differing for one in reversed(self.sizes) if one.differing), "")

    def ceiling(self, device: Device) -> str | None:
        """The name of what a device's rates are held against."""
        cells = [t.cell for one in self.sizes for t in one.timings if t.cell.device == device]
        return next((cell.ceiling for cell in cells if cell.ceiling), None)

    @property
    def best(self) -> Comparison | None:
        """The largest size that has a speedup: what a case is quoted by."""
        return next((one for one in reversed(self.sizes) if one.speedup), None)


@dataclass(frozen=True, slots=True)
class Start:
    """What the first caller pays on one device: medians over the replicas that were started."""

    case: str
    device: Device
    size: float
    start: float
    first: float
    warm: float
    n: int

    @property
    def extra(self) -> float:
        """Seconds that the first caller waits longer than one who finds a warm replica."""
        return self.start + self.first - self.warm

    @property
    def worth(self) -> float | None:
        """How many warm calls fit into that time; None where a warm one took none."""
        return self.extra / self.warm if self.warm > 0 else None


@dataclass(frozen=True, slots=True)
class Top:
    """One measured ceiling."""

    ceiling: Ceiling
    rate: Estimate


@dataclass(frozen=True, slots=True)
class Summary:
    """All that the reports say of a run."""

    results: Results
    cases: tuple[Case, ...]
    tops: tuple[Top, ...]
    starts: tuple[Start, ...]

    @property
    def has_gpu(self) -> bool:
        """Whether any number here is of a GPU, or of a simulated one."""
        return any(device.kind == "gpu" for device in self.results.devices)

    @property
    def simulated(self) -> bool:
        """Whether the GPU only stands for one: it computed on the CPU."""
        return any(device.simulated for device in self.results.devices)

    def label(self, device: Device) -> str:
        """What a device is called: `CPU`, `GPU`, `GPU (simulated)`."""
        marked = any(d.kind == device and d.simulated for d in self.results.devices)
        return f"{device.upper()} (simulated)" if marked else device.upper()

    def device(self, kind: Device) -> DeviceFacts | None:
        return next((found for found in self.results.devices if found.kind == kind), None)

    @property
    def comparisons(self) -> list[Comparison]:
        return [one for case in self.cases for one in case.sizes]

    @property
    def calls(self) -> int:
        """Warm calls that succeeded."""
        return sum(len(cell.samples) for cell in self.results.cells)


def summarize(results: Results) -> Summary:
    """What a run's numbers say."""
    tops = tuple(
        Top(ceiling, estimate(ceiling.rates, results.confidence))
        for ceiling in results.ceilings
        if ceiling.rates
    )
    rates = {(top.ceiling.device, top.ceiling.name): top.rate.median for top in tops}
    timings = {
        (cell.case, cell.size, cell.device): timed(cell, rates, results.confidence)
        for cell in results.cells
    }
    parities = {(parity.case, parity.size): parity for parity in results.parities}
    gpu = any(device.kind == "gpu" for device in results.devices)
    cases = []
    for name in dict.fromkeys(cell.case for cell in results.cells):
        cells = [cell for cell in results.cells if cell.case == name]
        sizes = sorted({cell.size for cell in cells})
        found = tuple(
            compared(
                cells[0],
                size,
                (timings.get((name, size, "cpu")), timings.get((name, size, "gpu"))),
                parities.get((name, size)),
                results,
            )
            for size in sizes
        )
        cases.append(_case(cells[0], found, gpu))
    return Summary(results, tuple(cases), tops, _starts(results.colds))


def _case(any_cell: Cell, sizes: tuple[Comparison, ...], gpu: bool) -> Case:
    if not gpu:
        return Case(any_cell.case, any_cell.function, any_cell.axis, sizes, None, None)
    plain = [Point(one.size, one.speedup) for one in sizes if one.speedup]
    whole = [Point(one.size, one.with_transfers) for one in sizes if one.with_transfers]
    return Case(
        any_cell.case,
        any_cell.function,
        any_cell.axis,
        sizes,
        crossover(plain, any_cell.axis),
        crossover(whole, any_cell.axis),
    )


def _starts(colds: Iterable[Cold]) -> tuple[Start, ...]:
    groups: dict[tuple[str, Device, float], list[Cold]] = defaultdict(list)
    for cold in colds:
        groups[cold.case, cold.device, cold.size].append(cold)
    return tuple(
        Start(
            case,
            device,
            size,
            _median([cold.start for cold in group]),
            _median([cold.first for cold in group]),
            _median([cold.warm for cold in group]),
            len(group),
        )
        for (case, device, size), group in groups.items()
    )


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)
