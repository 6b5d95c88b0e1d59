"""Looks at queues and replicas once a second, and keeps the most there was in each bucket.

It runs beside a gateway, which knows both.  Several gateways do no harm: the larger gauge counts.
Nothing waits for it, and it waits for no ledger that is away: it looks on, and writes later.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping

from runtime.errors import LumbreError
from runtime.fleet import Fleet
from runtime.function import FunctionSpec
from runtime.ledger import Ledger
from runtime.lifeline import ReplicaLife
from runtime.model import Device, PoolState, queue_name
from runtime.rollup import WIDTHS, Bucket, Cell, bucket_start

LOOK_EVERY = 1.0  # seconds
WRITE_EVERY = 5.0
TELL_EVERY = 10.0  # a replica of which nothing is new is written again, as a sign of life
HELD = 600.0  # seconds for which what cannot be written is held
LAST_WRITE = 2.0  # seconds that the last one may take

_NOTHING = Cell()

log = logging.getLogger(__name__)


class Sampler:
    """Samples a fleet into a ledger; `start` it, and `close` it before the ledger."""

    def __init__(
        self,
        ledger: Ledger,
        fleet: Fleet,
        functions: Callable[[], Iterable[FunctionSpec]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._fleet = fleet
        self._functions = functions
        self._clock = clock
        self._most: dict[Bucket, Cell] = {}
        self._written: dict[Bucket, Cell] = {}
        self._told: dict[tuple[str, float], tuple[ReplicaLife, float]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._faults: set[str] = set()  # what was said to go wrong, until it goes well again

    def start(self) -> None:
        """Look and write from now on."""
        self._tasks = [
            asyncio.create_task(self._looking(), name="sampler looks"),
            asyncio.create_task(self._writing(), name="sampler writes"),
        ]

    async def close(self) -> None:
        """Stop, and write what is left, if that takes no time."""
        if not self._tasks:
            return
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(LAST_WRITE):
                await self.write()
        except (LumbreError, TimeoutError) as error:
            log.warning("the latest gauges are not written: %s", error or "it takes too long")

    def latest(self) -> Mapping[Bucket, Cell]:
        """The gauges of the latest buckets, whether or not they are written by now."""
        return self._most

    def look(self) -> None:
        """Take in how full queues are and what replicas do now."""
        now = self._clock()
        for spec in self._functions():
            pools = self._fleet.pools(spec)
            for device in spec.devices:
                seen = self._gauges(spec.name, device, pools.get(device))
                if seen != _NOTHING:
                    self._take(now, spec.name, device, seen)
        self._most = {
            bucket: cell
            for bucket, cell in self._most.items()
            if abs(now - bucket.at) < bucket.width + HELD
        }

    async def write(self) -> None:
        """Write what is new of buckets and replicas; Unavailable where that fails."""
        now = self._clock()
        changed = {b: cell for b, cell in self._most.items() if self._written.get(b) != cell}
        if changed:
            await self._ledger.gauges.write(changed)
        self._written |= changed
        over = {b for b, cell in self._written.items() if b.at + b.width <= now}
        self._most = {
            b: cell
            for b, cell in self._most.items()
            if b not in over or cell != self._written.get(b)
        }
        self._written = {b: cell for b, cell in self._written.items() if b in self._most}
        await self._tell(now)

    async def _tell(self, now: float) -> None:
        lives = {(life.name, life.spawned_at): life for life in self._fleet.lives()}
        new = {key: life for key, life in lives.items() if self._is_news(key, life, now)}
        await self._ledger.replicas.keep(new.values(), now)
        told = self._told | {key: (life, now) for key, life in new.items()}
        self._told = {key: told[key] for key in lives}

    def _is_news(self, key: tuple[str, float], life: ReplicaLife, now: float) -> bool:
        before, at = self._told.get(key, (None, 0.0))
        return life != before or (life.ended_at is None and now - at >= TELL_EVERY)

    def _gauges(self, function: str, device: Device, pool: PoolState | None) -> Cell:
        depth = self._fleet.depth(queue_name(function, device))
        seen = Cell(ready=depth.ready, unacknowledged=depth.unacknowledged, dead=depth.dead)
        if pool is not None:
            # RabbitMQ tells what is unacknowledged only by its management API, where that is set.
            seen.unacknowledged = max(seen.unacknowledged, pool.in_hand)
            counts = pool.replicas
            seen.starting, seen.idle = counts.starting, counts.ready
            seen.busy, seen.draining = counts.busy, counts.draining
        return seen

    def _take(self, now: float, function: str, device: Device, seen: Cell) -> None:
        for width in WIDTHS:
            bucket = Bucket(width, bucket_start(now, width), function, device)
            self._most[bucket] = seen + self._most.get(bucket, _NOTHING)

    async def _looking(self) -> None:
        while True:
            try:
                self.look()
            except Exception as error:  # whatever it is, nobody's invocation may suffer from it
                self._failed("look", error)
            else:
                self._went_well("look")
            await asyncio.sleep(LOOK_EVERY)

    async def _writing(self) -> None:
        while True:
            await asyncio.sleep(WRITE_EVERY)
            try:
                await self.write()
            except Exception as error:  # likewise: it is tried again
                self._failed("write", error)
            else:
                self._went_well("write")

    def _failed(self, what: str, error: Exception) -> None:
        if what not in self._faults:  # once, and not again until it has worked
            unexpected = None if isinstance(error, LumbreError) else error
            log.warning("sampler: it cannot %s: %s", what, error, exc_info=unexpected)
        self._faults.add(what)

    def _went_well(self, what: str) -> None:
        if what in self._faults:
            self._faults.discard(what)
            log.info("sampler: it can %s again", what)
