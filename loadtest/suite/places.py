"""Where replicas run here: on the CPU with all its cores, and on one GPU, if there is one."""

from collections.abc import Collection
from dataclasses import dataclass, field

from loadtest.suite.machine import cores
from loadtest.suite.subject import Place
from runtime.devices import Gpu, find_gpus, memory_limit
from runtime.model import Device

OF_HOST = 0.8  # of the machine's memory: what a replica may hold, as in a node
OF_GPU = 0.9  # of a GPU's memory

NO_GPU = "no GPU here"


@dataclass(slots=True)
class Places:
    """The devices that are measured, and why the others are not."""

    found: dict[Device, Place] = field(default_factory=dict)
    absent: dict[Device, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def drop(self, device: Device, reason: str, note: str) -> None:
        """A device that is there and cannot be used."""
        del self.found[device]
        self.absent[device] = reason
        self.notes.append(note)


def find_places(devices: Collection[Device], *, simulate_gpu: bool, threads: int | None) -> Places:
    """Look at this machine: `devices` are those asked for, `threads` None is all its cores."""
    places = Places()
    memory, threads = int(OF_HOST * memory_limit()), threads or cores()
    if "cpu" in devices:
        places.found["cpu"] = Place("cpu", None, False, threads, memory, memory)
    else:
        places.absent["cpu"] = "only the GPU was asked for"
    if "gpu" not in devices:
        places.absent["gpu"] = "only the CPU was asked for"
    elif simulate_gpu:
        places.found["gpu"] = Place("gpu", None, True, threads, memory, memory)
        places.notes.append(
            "the GPU is simulated: what is called a GPU computes on the CPU, and its speedup says"
            " nothing about a GPU"
        )
    elif gpus := find_gpus():
        room = min(memory, int(OF_GPU * gpus[0].memory))
        places.found["gpu"] = Place("gpu", gpus[0].index, False, threads, memory, room)
        if len(gpus) > 1:
            places.notes.append(_first_of(gpus))
    else:
        places.absent["gpu"] = NO_GPU
        places.notes.append(f"{NO_GPU}: only the CPU was measured, and there is no speedup to tell")
    return places


def _first_of(gpus: tuple[Gpu, ...]) -> str:
    return f"there are {len(gpus)} GPUs: only the first, {gpus[0].name}, was measured"
