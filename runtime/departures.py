"""The lives of a pool's replicas, those that ended lately included, and how they ended in words."""

import os
import time
from collections import deque
from collections.abc import Iterable

from runtime.devices import SIMULATED
from runtime.lifeline import REMEMBERED, ReplicaLife
from runtime.model import Device
from runtime.process import ReplicaProcess
from runtime.zygote import ending

MAX_REMEMBERED = 200  # replicas of one pool: those of a crash loop are told of by the latest
MAX_WORDS = 300  # characters

_KILLED = {
    "timeout": "killed: an invocation ran over its timeout",
    "cancel": "killed: an invocation was cancelled",
    "memory": "killed: out of memory, it held more than it may",
    "drain": "killed: its worker ended, and the grace period was over",
    "setup": "its setup failed",
}


def how_it_ended(process: ReplicaProcess, status: int | None) -> str:
    """Why a replica is gone; `status` is its wait status, None where nobody knows it."""
    told, killed = process.drained_for, _KILLED.get(process.killed_for or "")
    if killed:
        words = f"{killed}: {process.trouble}" if process.trouble else killed
    elif told and (process.killed_for or status == 0):
        words = told
    else:
        words = f"{told}, and then {_by_itself(status)}" if told else _by_itself(status)
    return words if len(words) <= MAX_WORDS else f"{words[:MAX_WORDS]}…"


def _by_itself(status: int | None) -> str:
    if status is None:
        return ending(status)
    return f"{'killed by' if os.WIFSIGNALED(status) else 'it ended with'} {ending(status)}"


def life_of(
    process: ReplicaProcess, function: str, device: Device, now: float, ending: str | None = None
) -> ReplicaLife:
    """A replica and what it did until now; its worker and its GPU's memory are not known here."""
    line = process.lifeline
    simulated = process.gpu == SIMULATED
    return ReplicaLife(
        name=process.name,
        function=function,
        device=device,
        simulated=simulated,
        worker="",
        pid=process.pid,
        gpu=None if simulated else process.gpu,
        state=line.state,
        spawned_at=process.spawned_at,
        ready_at=process.ready_at,
        ended_at=line.ended_at,
        setup=process.setup,
        served=process.served,
        busy=line.busy(now),
        memory=process.memory() if process.pid and line.ended_at is None else 0,
        gpu_memory=None,
        ending=ending,
        segments=line.segments(),
        failed=process.conduct.failed,
        failed_in_a_row=process.conduct.in_a_row,
        proven_at=process.conduct.proven_at or None,
    )


class Departures:
    """Remembers the replicas that ended within the last REMEMBERED seconds."""

    def __init__(self) -> None:
        self._lives: deque[ReplicaLife] = deque(maxlen=MAX_REMEMBERED)

    def add(self, process: ReplicaProcess, function: str, device: Device, how: str) -> None:
        """A replica is gone."""
        now = time.time()
        process.lifeline.end(now)
        self._lives.append(life_of(process, function, device, now, how))

    def lives(
        self, alive: Iterable[ReplicaProcess], function: str, device: Device
    ) -> list[ReplicaLife]:
        """Those that are alive, and those that ended lately."""
        now = time.time()
        while self._lives and (self._lives[0].ended_at or 0.0) < now - REMEMBERED:
            self._lives.popleft()
        return [*(life_of(process, function, device, now) for process in alive), *self._lives]
