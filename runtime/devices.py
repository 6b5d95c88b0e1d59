"""What this machine can run on: its cores, its GPUs, and who holds which GPU slot.

GPUs are found without CUDA, which must not be initialized in a process that forks.
"""

import math
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.model import Device

if TYPE_CHECKING:
    from runtime.settings import Settings  # which needs more than a machine that only computes has

CPU_QUOTA = "/sys/fs/cgroup/cpu.max"  # µs of CPU in a period of µs (cgroup v2)
SIMULATED = "simulated"  # in the place of a GPU's index, and in the names of its replicas
_IN_NAMES = f"-{SIMULATED}-"


@dataclass(frozen=True, slots=True)
class Gpu:
    """One visible GPU: the index to put into CUDA_VISIBLE_DEVICES, and what it is."""

    index: str
    name: str
    memory: int  # bytes


@dataclass(frozen=True, slots=True)
class Machine:
    """The hardware this node may use."""

    cores: int
    memory: int  # bytes
    gpus: tuple[Gpu, ...]
    simulated: bool  # the GPU pool computes on the CPU
    devices: tuple[Device, ...]
    gpu_slots: int

    def max_replicas(self, device: Device, asked: int | None) -> int:
        """How many replicas there may be: what was asked, held to the hardware."""
        if device == "cpu":
            return asked or self.cores
        return min(asked or self.gpu_slots, self.gpu_slots)


def find_machine(settings: "Settings") -> Machine:
    """Look at this machine, once."""
    gpus = () if settings.simulate_gpu else find_gpus()
    wanted = settings.devices.replace(" ", "").split(",")
    slots = (settings.gpus or 2) if settings.simulate_gpu else len(gpus) * (settings.gpus or 1)
    devices: tuple[Device, ...] = ("cpu", "gpu") if slots else ("cpu",)
    if wanted != ["auto"]:
        devices = tuple(d for d in devices if d in wanted)
    return Machine(
        settings.cores or core_limit(), memory_limit(), gpus, settings.simulate_gpu, devices, slots
    )


def find_gpus() -> tuple[Gpu, ...]:
    """The NVIDIA GPUs that nvidia-smi lists and CUDA_VISIBLE_DEVICES leaves visible."""
    if not shutil.which("nvidia-smi"):
        return ()
    query = ["nvidia-smi", "--query-gpu=index,name,memory.total", "--format=csv,noheader,nounits"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (subprocess.SubprocessError, OSError):
        return ()  # a driver that does not answer is no GPU
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    allowed = None if visible is None else visible.replace(" ", "").split(",")
    found = []
    for line in listed.stdout.splitlines():
        index, name, memory = (field.strip() for field in line.split(",", 2))
        if allowed is None or index in allowed:
            found.append(Gpu(index, name, int(float(memory)) * 2**20))
    return tuple(found)


def simulates(replica: str | None) -> bool:
    """Whether the GPU of a replica was a CPU in disguise; its name says so, for ever."""
    return replica is not None and _IN_NAMES in replica


def core_limit() -> int:
    """Cores this process may use: those it is bound to, or its control group's quota if less."""
    cores = len(os.sched_getaffinity(0))
    try:
        with open(CPU_QUOTA) as file:
            quota, period = file.read().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else min(cores, max(1, math.ceil(int(quota) / int(period))))


def memory_limit() -> int:
    """Bytes of memory this process may use: the machine's, or its control group's if less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path) as file:
                text = file.read().strip()
        except OSError:
            continue
        if text.isdigit():
            total = min(total, int(text))
    return total


class GpuSlots:
    """Gives each GPU replica one GPU, and never more replicas than slots."""

    def __init__(self, machine: Machine) -> None:
        indexes = [gpu.index for gpu in machine.gpus] or [SIMULATED]
        self._free = [indexes[i % len(indexes)] for i in range(machine.gpu_slots)]
        self._waiting: dict[Callable[[], None], bool] = {}  # and whether it is first

    def take(self) -> str | None:
        """A GPU index, spread over the GPUs; None when all slots are taken."""
        return self._free.pop(0) if self._free else None

    def give_back(self, index: str) -> None:
        """Free a slot, and call whoever has waited for one, first come, first served.

        Those who have none come before those who want another one.
        """
        self._free.append(index)
        waiting, self._waiting = self._waiting, {}
        for callback in sorted(waiting, key=lambda callback: not waiting[callback]):
            callback()

    def wait(self, callback: Callable[[], None], *, first: bool) -> None:
        """Have `callback` called once when a slot is free; `first` where it has none yet."""
        self._waiting[callback] = first
