"""GPU beside CPU, as a load test saw them: run times of the same calls, function by function."""

from dataclasses import dataclass

from rich.table import Table

from loadtest.latencies import Latencies
from loadtest.outcome import Group, Outcome
from loadtest.quantity import duration, times
from runtime.model import Status

RUN = "run"  # the phase that is the function's own time in its replica
FEWEST = 10  # answers of each device, below which a ratio says little


@dataclass(frozen=True, slots=True)
class Pair:
    """One function on both devices: the medians of its run times, in seconds."""

    function: str
    cpu: float
    gpu: float
    n: tuple[int, int]  # answers of the CPU and of the GPU
    simulated: bool

    @property
    def enough(self) -> bool:
        """Whether there are enough of each to say something."""
        return min(self.n) >= FEWEST


def pairs(outcome: Outcome) -> list[Pair]:
    """The functions that succeeded on both devices, by name."""
    runs: dict[tuple[str, str], Latencies] = {}
    simulated = {group.function for group in outcome.groups if group.simulated}
    for group in outcome.groups:
        if group.status == Status.SUCCEEDED and RUN in group.phases:
            _add(runs, group)
    names = sorted({function for function, _ in runs})
    return [
        Pair(
            name,
            cpu.percentile(50),
            gpu.percentile(50),
            (cpu.count, gpu.count),
            name in simulated,
        )
        for name in names
        if (cpu := runs.get((name, "cpu"))) and (gpu := runs.get((name, "gpu")))
    ]


def table(found: list[Pair]) -> Table:
    """GPU beside CPU, to print; a simulated GPU is called that, and its ratio no speedup."""
    simulated = any(pair.simulated for pair in found)
    title = "GPU (simulated: it computes on the CPU) beside CPU" if simulated else "GPU beside CPU"
    out = Table(title=title, title_justify="left")
    for name in ("function", "CPU run p50", "GPU run p50", "CPU / GPU", "n"):
        out.add_column(name, justify="left" if name == "function" else "right")
    for pair in found:
        ratio = pair.cpu / pair.gpu if pair.gpu else None
        out.add_row(
            pair.function,
            duration(pair.cpu),
            duration(pair.gpu),
            times(ratio) if pair.enough else f"fewer than {FEWEST}",
            f"{pair.n[0]}, {pair.n[1]}",
        )
    return out


def _add(runs: dict[tuple[str, str], Latencies], group: Group) -> None:
    key = (group.function, group.device)
    runs.setdefault(key, Latencies()).add(Latencies.decode(group.phases[RUN]))
