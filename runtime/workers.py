"""The workers of a bus, as a gateway knows them: what they announce, and their queues."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import orjson

from runtime.bus import Bus
from runtime.errors import LumbreError
from runtime.function import FunctionSpec
from runtime.lifeline import ReplicaLife
from runtime.model import DEVICES, Depth, Device, PoolState, ReplicaCounts, queue_name
from runtime.roster import Roster

ANNOUNCE_EVERY = 2.0  # seconds
FORGET_AFTER = 10.0  # seconds without a word, and a worker counts as gone
LOOK_EVERY = 2.0  # seconds between two looks at the queues
ROLL = "roll"  # the key that has every worker announce itself
WORKER = "worker."  # before its name, the key of a worker's announcement
LIVES = "lives."  # before its name, the key of what it tells of its replicas
Key = tuple[str, Device]

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Worker:
    """One worker, as it announced itself."""

    heard_at: float  # monotonic seconds
    pools: dict[Key, PoolState]


def announcement(pools: dict[Key, PoolState]) -> bytes:
    """What a worker says of itself; none is a goodbye."""
    said = [{"function": f, "device": d, **asdict(state)} for (f, d), state in pools.items()]
    return orjson.dumps(said)


def announced(body: bytes) -> dict[Key, PoolState]:
    """What a worker said; ValueError where that is no announcement."""
    pools: dict[Key, PoolState] = {}
    for said in orjson.loads(body):
        key = (said.pop("function"), said.pop("device"))
        pools[key] = PoolState(replicas=ReplicaCounts(**said.pop("replicas")), **said)
    return pools


class Workers:
    """The `Fleet` of a gateway on a bus."""

    def __init__(self, bus: Bus, devices: str, queues: Callable[[], Iterable[str]]) -> None:
        self._bus = bus
        self._allowed = None if devices == "auto" else devices.replace(" ", "").split(",")
        self._queues = queues  # those of all functions
        self._workers: dict[str, _Worker] = {}
        self._pools: dict[Key, PoolState] = {}  # of all workers together
        self._depths: dict[str, Depth] = {}
        self._roster = Roster()
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Ask who is there, and keep looking."""
        await self._bus.subscribe(f"{WORKER}*")
        await self._bus.subscribe(f"{LIVES}*")
        self._bus.signal(ROLL, b"")
        self._looking = asyncio.create_task(self._look(), name="workers")

    async def close(self) -> None:
        if self._looking:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    def heard(self, key: str, body: bytes) -> bool:
        """A worker announces itself, says goodbye or tells of its replicas; False for no such key.

        `key` and `body` are a signal's.
        """
        if not key.startswith((WORKER, LIVES)):
            return False
        take = self._announced if key.startswith(WORKER) else self._told
        try:
            take(key.partition(".")[2], body)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("key=%s an announcement cannot be read: %r", key, error)
        return True

    def _announced(self, worker: str, body: bytes) -> None:
        if pools := announced(body):
            self._workers[worker] = _Worker(time.monotonic(), pools)
        else:
            self._workers.pop(worker, None)
            self._roster.left(worker, "its worker ended")
        self._add_up()

    def _told(self, worker: str, body: bytes) -> None:
        if worker in self._workers:  # else its goodbye came first, or it is not heard of itself
            self._roster.heard(worker, body)

    def lives(self) -> list[ReplicaLife]:
        return self._roster.lives()

    @property
    def count(self) -> int:
        """Live workers."""
        return len(self._workers)

    @property
    def simulated(self) -> bool:
        return any(state.simulated for state in self._pools.values())

    def devices(self, spec: FunctionSpec) -> list[Device]:
        if self._allowed is not None:
            return [device for device in spec.devices if device in self._allowed]
        return [device for device in spec.devices if (spec.name, device) in self._pools]

    def lacks(self, spec: FunctionSpec, device: str) -> str:
        if self._allowed is not None:
            return f"LUMBRE_DEVICES allows {','.join(self._allowed)} only: ask for one of these"
        return (
            f"no worker serves {spec.name} on {device}: start one with `lumbre worker {spec.name}"
            f" --device {device}`, or set LUMBRE_DEVICES where one is started by the queue's length"
        )

    def pools(self, spec: FunctionSpec) -> dict[Device, PoolState]:
        found = ((device, self._pools.get((spec.name, device))) for device in DEVICES)
        return {device: state for device, state in found if state and device in spec.devices}

    def all_pools(self) -> dict[Key, PoolState]:
        """What all workers announce together."""
        return self._pools

    def in_hand(self) -> dict[str, int]:
        """What workers have taken and not settled, by queue, as they last announced it."""
        return {queue_name(*key): state.in_hand for key, state in self._pools.items()}

    def depth(self, queue: str) -> Depth:
        return self._depths.get(queue, Depth())

    def asleep(self, queue: str) -> bool:
        """Whether no replica is known to take from a queue."""
        function, _, device = queue.rpartition(".")
        state = self._pools.get((function, "gpu" if device == "gpu" else "cpu"))
        return state is None or not state.replicas.running

    def faults(self) -> list[str]:
        if not self._bus.connected:
            return ["the broker is away"]
        return [f"RabbitMQ takes nothing now ({self._bus.blocked})"] if self._bus.blocked else []

    def _add_up(self) -> None:
        pools: dict[Key, PoolState] = {}
        for worker in self._workers.values():
            for key, state in worker.pools.items():
                pools[key] = pools[key] + state if key in pools else state
        self._pools = pools

    async def _look(self) -> None:
        while True:
            self._forget_silent()
            for queue in self._queues():
                try:
                    self._depths[queue] = await self._bus.depth(queue)
                except (LumbreError, KeyError) as error:
                    log.debug("queue=%s cannot be looked at: %s", queue, error)
            await asyncio.sleep(LOOK_EVERY)

    def _forget_silent(self) -> None:
        now = time.monotonic()
        if not self._bus.connected:  # nobody can be heard: what was known last goes on to count
            for worker in self._workers.values():
                worker.heard_at = now
            return
        before = now - FORGET_AFTER
        silent = [key for key, worker in self._workers.items() if worker.heard_at < before]
        for key in silent:
            log.warning("worker %s has not been heard of for %.0f s", key, FORGET_AFTER)
            del self._workers[key]
            self._roster.left(key, "its worker was not heard of any more")
        if silent:
            self._add_up()


def queues_of(specs: Iterable[FunctionSpec]) -> list[str]:
    """The queues of all functions, on every device they may run on."""
    return [queue_name(spec.name, device) for spec in specs for device in spec.devices]
