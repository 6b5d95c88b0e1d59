"""The worker as a role: it runs functions for gateways elsewhere."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial

import orjson

from autoscaler.local import LocalScaler
from runtime.catalog import Catalog
from runtime.devices import Machine, find_machine
from runtime.errors import ConfigurationError, LumbreError
from runtime.function import FunctionSpec
from runtime.health import Health
from runtime.hearing import Hearings
from runtime.ledger import ScalingDecision
from runtime.model import DEVICES, Device, PoolState, queue_name
from runtime.once import Once
from runtime.pod import DeletionCost, Pod
from runtime.pool import Pool
from runtime.reporter import BusReporter
from runtime.role import (
    DECISION,
    SETTLE,
    Tasks,
    connection,
    declare,
    identity,
    patiently,
    void,
)
from runtime.roster import told
from runtime.settings import Settings
from runtime.surrender import Surrender
from runtime.worker import Worker
from runtime.worker_health import worker_health
from runtime.worker_metrics import CountingReporter
from runtime.workers import ANNOUNCE_EVERY, LIVES, ROLL, WORKER, announcement

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Duty:
    """What a worker is to serve."""

    functions: tuple[str, ...] = ()  # none is all there are
    devices: tuple[Device, ...] = ()  # none is those of the machine
    replicas: int | None = None  # of each function on each device; None scales them
    once: bool = False  # take one message, finish it, and end


class WorkerRole:
    """Takes deliveries from queues and runs them in replicas of its own."""

    def __init__(
        self, settings: Settings, catalog: Catalog, duty: Duty, pod: Pod | None = None
    ) -> None:
        # Called where the worker is to end by itself: with why, or None where all is done.
        self.on_over: Callable[[LumbreError | None], None] = lambda error: None
        self.health: Health | None = None  # where there is a port for it
        self._settings = settings
        self._catalog = catalog
        self._duty = duty
        self._name = identity()
        self._bus = connection(settings, f"worker {self._name}")
        self._machine = _limited(find_machine(settings), duty)
        self._once = Once(self._bus, lambda: self.on_over(None)) if duty.once else None
        reporter = CountingReporter(self._bus) if settings.health_port else BusReporter(self._bus)
        self._worker = Worker(
            self._once or self._bus,
            reporter,
            catalog.zygote,
            self._machine,
            blobs=settings.blobs,
            max_result=settings.max_result,
            name=self._name,
            each=duty.replicas,
        )
        self._scaler = LocalScaler(self._machine, self._bus.depth, self._decided)
        self._bus.on_signal = self._signalled
        self._bus.on_cancel = lambda id: void(self._worker.cancel(id))
        self._worker.on_change = self._changed
        self._worker.on_doubt = self._doubted
        self._worker.on_taken_out = self._taken_out
        self._hearings = Hearings(self._bus, self._name)
        self._surrender = Surrender(lambda error: self.on_over(error))
        self._cost = DeletionCost(pod, self._worker.busy_for) if pod else None
        if isinstance(reporter, CountingReporter):
            self.health = worker_health(self._bus, self._worker.pools, reporter, self._queues)
        self._served: dict[str, FunctionSpec] = {}
        self._announcing: asyncio.TimerHandle | None = None
        self._tasks = Tasks()

    async def start(self) -> None:
        self._refuse_unknown()
        await self._bus.open(self._settings.broker_patience)
        await patiently(self._settings, self._bus.follow_cancellations)
        await self.reload()
        await self._bus.subscribe(ROLL)
        if self._duty.replicas is None:
            await self._bus.subscribe("wake.#")
        self._tasks.spawn(self._keep_announcing())
        if self.health:
            self._tasks.spawn(self.health.run())
        if self._cost:
            self._tasks.spawn(self._cost.run())
        await self._catalog.warm(self._duty.functions)

    async def reload(self) -> None:
        """Serve the functions that the catalog has now: new replicas run what changed."""
        wanted = {
            name: spec
            for name, spec in self._catalog.functions.items()
            if not self._duty.functions or name in self._duty.functions
        }
        changed = [spec for name, spec in wanted.items() if self._served.get(name) != spec]
        await declare(self._bus, changed, self._settings)
        for spec in changed:
            await patiently(self._settings, partial(self._serve, spec))
        for name in self._served.keys() - wanted.keys():
            for device in DEVICES:
                self._scaler.leave((name, device))
            self._tasks.spawn(self._worker.leave(name, self._settings.grace))
        self._served = wanted

    def _refuse_unknown(self) -> None:
        known = self._catalog.functions.keys() | self._catalog.broken.keys()
        if missing := [name for name in self._duty.functions if name not in known]:
            have = ", ".join(sorted(known)) or "none"
            raise ConfigurationError(
                f"there is no function {', '.join(missing)} in {self._settings.functions}:"
                f" there are {have}"
            )

        if self._duty.once and (found := self._pairs()) != 1:
            raise ConfigurationError(
                f"--once takes one message from one queue, and this worker would serve {found}:"
                " name one function, and with --device one of its devices"
            )

    def _pairs(self) -> int:
        """Functions times devices that are to be served here."""
        specs = [self._catalog.functions.get(name) for name in self._duty.functions]
        wanted = specs if self._duty.functions else self._catalog.functions.values()
        devices = self._machine.devices
        return sum(device in devices for spec in wanted if spec for device in spec.devices)

    def _queues(self) -> list[str]:
        """Those that are taken from; none once the one message has come."""
        if self._once and self._once.taken:
            return []
        return [pool.queue for pool in self._worker.pools.values()]

    async def _serve(self, spec: FunctionSpec) -> None:
        await self._worker.take(spec)
        for device in spec.devices:
            if pool := self._worker.pools.get((spec.name, device)):
                if self._duty.replicas is None:
                    self._scaler.take(pool)
                else:
                    most = self._machine.max_replicas(device, self._duty.replicas)
                    pool.scale(min(most, self._duty.replicas))

    async def drain(self) -> None:
        if self.health:
            self.health.draining = True
        await self._scaler.close()
        self._announce()
        await self._worker.drain(self._settings.grace)
        await self._bus.settle(SETTLE)

    async def close(self) -> None:
        await self._tasks.close()
        if self._announcing:
            self._announcing.cancel()
        self._tell_lives()  # how the last of them ended
        self._bus.signal(f"{WORKER}{self._name}", announcement({}))
        await self._bus.settle(1.0)
        await self._bus.close()

    def _signalled(self, key: str, body: bytes) -> None:
        if key == ROLL:
            self._announce()
        elif key.startswith("wake."):
            self._scaler.activate(key.removeprefix("wake."))
        elif key.startswith(LIVES):
            self._hearings.heard(key, body)

    @property
    def _alone(self) -> bool:
        """Whether this worker is one pool of so many replicas, as it is in a pod."""
        return self._duty.replicas is not None and len(self._worker.pools) == 1

    def _doubted(self, pool: Pool) -> None:
        if hearing := self._hearings.open(pool):
            self._tasks.spawn(hearing)

    def _taken_out(self, pool: Pool, why: str) -> None:
        if self._alone:
            self._surrender.taken_out(pool, why)

    def _changed(self, pool: Pool) -> None:
        if self._alone:
            self._surrender.changed(pool)
        if pool.counts().ready and self._duty.replicas is None:
            self._scaler.wake(pool.queue)
        if self._announcing is None:
            loop = asyncio.get_running_loop()
            self._announcing = loop.call_later(0.05, self._announce)

    def _announce(self) -> None:
        if self._announcing:
            self._announcing.cancel()
            self._announcing = None
        pools: dict[tuple[str, Device], PoolState] = {}
        for key in self._worker.pools:
            if state := self._worker.state(key, self._scaler.directions.get(key, {})):
                pools[key] = replace(state, in_hand=self._bus.in_hand(queue_name(*key)))
        self._bus.signal(f"{WORKER}{self._name}", announcement(pools))
        self._tell_lives()

    def _tell_lives(self) -> None:
        self._bus.signal(f"{LIVES}{self._name}", told(self._worker.lives()))

    async def _keep_announcing(self) -> None:
        while True:
            self._announce()
            await asyncio.sleep(ANNOUNCE_EVERY)

    def _decided(self, decision: ScalingDecision) -> None:
        log.info(
            "function=%s device=%s replicas %d → %d: %s",
            decision.function,
            decision.device,
            decision.before,
            decision.after,
            decision.reason,
        )
        self._bus.signal(DECISION, orjson.dumps(asdict(decision)))


def _limited(machine: Machine, duty: Duty) -> Machine:
    """The machine, held to the devices that the worker is to serve."""
    if not duty.devices:
        return machine
    if missing := [device for device in duty.devices if device not in machine.devices]:
        raise ConfigurationError(
            f"this machine has no {' and no '.join(missing)}: it has {', '.join(machine.devices)};"
            " LUMBRE_SIMULATE_GPU=1 has a GPU pool compute on the CPU"
        )
    return Machine(
        machine.cores,
        machine.memory,
        machine.gpus,
        machine.simulated,
        duty.devices,
        machine.gpu_slots,
    )
