"""The worker: every pool of this node, and what concerns them all."""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from runtime.brokers import Source
from runtime.devices import GpuSlots, Machine
from runtime.function import FunctionSpec
from runtime.gpu_memory import GpuMemory
from runtime.lifeline import ReplicaLife
from runtime.model import Device, PoolState
from runtime.pool import Pool, Reporter
from runtime.process import State
from runtime.tenure import Tenure, first_to_go
from runtime.zygote import Zygote

Key = tuple[str, Device]

LOOK_AGAIN = 0.1  # seconds, at least, until it is looked again who may give up a GPU slot


class Worker:
    """Takes deliveries from queues and hands them to its replicas."""

    def __init__(
        self,
        broker: Source,
        reporter: Reporter,
        zygote: Callable[[FunctionSpec], Awaitable[Zygote]],
        machine: Machine,
        *,
        blobs: str,
        max_result: int,
        name: str | None = None,
        each: int | None = None,  # replicas of each function, where their number is fixed
    ) -> None:
        self._each = each
        self.name = name or f"{socket.gethostname().partition('.')[0]}-{os.getpid()}"
        self.pools: dict[Key, Pool] = {}
        self.on_change: Callable[[Pool], None] = lambda _: None
        self.on_doubt: Callable[[Pool], None] = lambda _: None
        self.on_taken_out: Callable[[Pool, str], None] = lambda pool, why: None
        self._broker = broker
        self._reporter = reporter
        self._zygote = zygote
        self._machine = machine
        self._slots = GpuSlots(machine)
        self._looking: dict[str, asyncio.TimerHandle] = {}  # for a slot, by queue
        self._gpu_memory = GpuMemory() if machine.gpus else None
        self._order: dict[str, Any] = {"blobs": blobs, "max_result": max_result}

    async def take(self, spec: FunctionSpec) -> None:
        """Serve a function on every device it and this machine have, or a new version of it."""
        for device in spec.devices:
            if device not in self._machine.devices:
                continue
            if pool := self.pools.get((spec.name, device)):
                pool.replace(spec)
                continue
            pool = Pool(
                spec,
                device,
                broker=self._broker,
                reporter=self._reporter,
                zygote=self._zygote,
                slots=self._slots,
                order=self._order | {"threads": self._threads(spec, device)},
                memory_limit=self._machine.memory * 8 // 10,
            )
            pool.on_change = self.on_change
            pool.on_doubt = self.on_doubt
            pool.on_taken_out = self.on_taken_out
            pool.on_starved = self._make_room
            await pool.open()
            self.pools[spec.name, device] = pool

    async def leave(self, function: str, grace: float) -> None:
        """Serve a function no more: its file is gone, or no longer defines it."""
        gone = [key for key in self.pools if key[0] == function]
        await asyncio.gather(*(self.pools.pop(key).drain(grace) for key in gone))

    def state(self, key: Key, decisions: Mapping[str, int]) -> PoolState | None:
        """A pool as others see it; None where this worker does not serve it."""
        pool = self.pools.get(key)
        if pool is None:
            return None
        asked = pool.spec.scaling[pool.device].max_replicas
        return PoolState(
            replicas=pool.counts(),
            most=self._machine.max_replicas(pool.device, asked),
            gpu_slots=self._machine.gpu_slots,
            trouble=pool.trouble,
            starved=pool.starved,
            cold_starts=pool.cold_starts,
            simulated=self._machine.simulated and pool.device == "gpu",
            decisions=dict(decisions),
        )

    def lives(self) -> list[ReplicaLife]:
        """Its replicas and what they did, and those that ended in the last seconds."""
        lives = [life for pool in self.pools.values() for life in pool.lives()]
        return [replace(life, worker=self.name, gpu_memory=self._held(life)) for life in lives]

    def _held(self, life: ReplicaLife) -> int | None:
        """Bytes of a GPU's memory; of its own accord it looks again, where it is asked."""
        if self._gpu_memory is None or life.gpu is None or life.pid is None or life.ending:
            return None
        return self._gpu_memory.of(life.pid)

    def busy_for(self) -> float | None:
        """Seconds that the longest of what runs has run; None where nothing is in hand."""
        now = time.monotonic()
        busy = [p for pool in self.pools.values() for p in pool.replicas if p.jobs]
        running = [(p, job) for p in busy if (job := p.running())]
        since = [process.running_since(job) for process, job in running]
        return max((now - at for at in since), default=0.0 if busy else None)

    def cancel(self, invocation: str) -> bool:
        """Stop an invocation that some replica has in hand; False if none has it."""
        return any(pool.cancel(invocation) for pool in self.pools.values())

    async def drain(self, grace: float) -> None:
        """Finish what runs, within `grace` seconds, and end every replica."""
        for looking in self._looking.values():
            looking.cancel()
        await asyncio.gather(*(pool.drain(grace) for pool in self.pools.values()))
        if self._gpu_memory:
            await self._gpu_memory.close()

    def _make_room(self, starved: Pool) -> None:
        """Have another pool give up a GPU slot for one that has none; `runtime.tenure` says who.

        Where none may be taken yet, it is looked again when one may.
        """
        if starved.counts().running or not starved.wanted:
            return
        others = [p for p in self.pools.values() if p.device == "gpu" and p is not starved]
        if any(p.counts().draining for p in others):
            return  # a slot is about to be free
        now = time.time()
        tenures = [tenure for pool in others for tenure in _tenures(pool)]
        if goes := first_to_go(tenures, now):
            self.pools[goes.function, "gpu"].yield_slot()
            return
        due = min((tenure.due_at for tenure in tenures), default=now)
        self._look_again(starved, max(due - now, LOOK_AGAIN))

    def _look_again(self, starved: Pool, delay: float) -> None:
        if looking := self._looking.get(starved.queue):
            looking.cancel()
        loop = asyncio.get_running_loop()
        self._looking[starved.queue] = loop.call_later(delay, self._make_room, starved)

    def _threads(self, spec: FunctionSpec, device: Device) -> int:
        """Threads of one replica: asked for, or a fair share of the cores."""
        if spec.resources.cpu:
            return spec.resources.cpu
        most = spec.scaling[device].max_replicas if self._each is None else self._each
        replicas = self._machine.max_replicas(device, most)
        return max(1, self._machine.cores // max(1, replicas))


def _tenures(pool: Pool) -> list[Tenure]:
    """How those of its replicas that are ready hold their GPU slots."""
    found = []
    for process in pool.replicas:
        if process.state is State.READY and process.ready_at is not None:
            last = process.lifeline.segments()[-1]
            idle_since = last.start if last.state == "ready" and not process.jobs else None
            start = process.ready_at - process.spawned_at
            spare = pool.counts().running > 1
            found.append(Tenure(pool.spec.name, process.ready_at, start, idle_since, spare))
    return found
