"""What there is to run functions on: devices, pools, queues; this machine's, or that of workers."""

from collections.abc import Callable, Mapping
from typing import Protocol

from runtime.brokers.memory import MemoryBroker
from runtime.devices import Machine
from runtime.function import FunctionSpec
from runtime.lifeline import ReplicaLife
from runtime.model import Depth, Device, PoolState
from runtime.worker import Worker


class Fleet(Protocol):
    """What a gateway asks about those who run functions."""

    @property
    def simulated(self) -> bool:
        """Whether what is called a GPU computes on the CPU."""

    def devices(self, spec: FunctionSpec) -> list[Device]:
        """Those a function may be asked to run on now, in its own order."""

    def lacks(self, spec: FunctionSpec, device: str) -> str:
        """Why it cannot run there, and what to do, for whoever asked."""

    def pools(self, spec: FunctionSpec) -> dict[Device, PoolState]:
        """The replicas of a function, where it is served."""

    def lives(self) -> list[ReplicaLife]:
        """Every replica and what it did, and those that ended in the last seconds."""

    def depth(self, queue: str) -> Depth:
        """How full a queue is, as far as is known."""

    def faults(self) -> list[str]:
        """Why this process is not ready, in words; empty when it is."""


class LocalFleet:
    """This machine, its worker and its queues in memory."""

    def __init__(
        self,
        machine: Machine,
        worker: Worker,
        broker: MemoryBroker,
        directions: Callable[[tuple[str, Device]], Mapping[str, int]],
    ) -> None:
        self.simulated = machine.simulated
        self._machine = machine
        self._worker = worker
        self._broker = broker
        self._directions = directions  # how often the autoscaler went up and down

    def devices(self, spec: FunctionSpec) -> list[Device]:
        return [device for device in spec.devices if device in self._machine.devices]

    def lacks(self, spec: FunctionSpec, device: str) -> str:
        return (
            f"no {device.upper()} replica can run here: ask for device=auto, or start with"
            " LUMBRE_SIMULATE_GPU=1 to try a GPU pool that computes on the CPU"
        )

    def pools(self, spec: FunctionSpec) -> dict[Device, PoolState]:
        keys = [(spec.name, device) for device in spec.devices]
        states = {key[1]: self._worker.state(key, self._directions(key)) for key in keys}
        return {device: state for device, state in states.items() if state}

    def lives(self) -> list[ReplicaLife]:
        return self._worker.lives()

    def depth(self, queue: str) -> Depth:
        return self._broker.depth_now(queue)

    def faults(self) -> list[str]:
        return []
