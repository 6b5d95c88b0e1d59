"""Replicas' lives for tests, and a fleet that has some."""

from dataclasses import dataclass, field
from typing import Any

from runtime.function import FunctionSpec
from runtime.lifeline import ReplicaLife, Segment
from runtime.model import Depth, Device, PoolState


def life(name: str = "noop-cpu-1", **fields: Any) -> ReplicaLife:
    """A replica that is ready, and did one thing."""
    given: dict[str, Any] = {
        "function": "noop",
        "device": "cpu",
        "simulated": False,
        "worker": "node",
        "pid": 7,
        "gpu": None,
        "state": "ready",
        "spawned_at": 1000.0,
        "ready_at": 1000.5,
        "ended_at": None,
        "setup": 0.25,
        "served": 1,
        "busy": 1.0,
        "memory": 2**20,
        "gpu_memory": None,
        "ending": None,
        "segments": (
            Segment("starting", 1000.0, 1000.5),
            Segment("busy", 1000.5, 1001.5),
            Segment("ready", 1001.5, None),
        ),
    }
    return ReplicaLife(name=name, **(given | fields))


@dataclass
class FakeFleet:
    """What a test says there is."""

    states: dict[Device, PoolState] = field(default_factory=dict)
    depths: dict[str, Depth] = field(default_factory=dict)
    living: list[ReplicaLife] = field(default_factory=list)
    simulated: bool = False

    def devices(self, spec: FunctionSpec) -> list[Device]:
        return list(spec.devices)

    def lacks(self, spec: FunctionSpec, device: str) -> str:
        return ""

    def pools(self, spec: FunctionSpec) -> dict[Device, PoolState]:
        return self.states

    def lives(self) -> list[ReplicaLife]:
        return self.living

    def depth(self, queue: str) -> Depth:
        return self.depths.get(queue, Depth())

    def faults(self) -> list[str]:
        return []
