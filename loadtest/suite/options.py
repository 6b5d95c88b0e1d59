"""What somebody asks the suite for."""

from dataclasses import dataclass
from pathlib import Path

from loadtest.suite.plan import BENCH
from runtime.model import DEVICES, Device


@dataclass(frozen=True, slots=True)
class Options:
    """One run, as the command line and the console ask for it."""

    folders: tuple[Path, ...]  # of function files
    seed: int  # of the order of the calls
    plan: Path = BENCH
    quick: bool = False
    functions: tuple[str, ...] = ()  # only these; empty is all
    devices: tuple[Device, ...] = DEVICES
    simulate_gpu: bool = False  # a GPU replica that computes on the CPU, labelled
    threads: int | None = None  # torch's, on the CPU; None is all cores
