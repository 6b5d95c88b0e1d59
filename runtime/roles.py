"""The roles of a distributed deployment: gateway, worker, recorder; a process runs some of them.

They share nothing but the broker and the ledger, and a worker not even that: it has the broker and
the blobs.  Each has a connection of its own, because RabbitMQ stops reading from one that publishes
while it is short of memory.
"""

import asyncio
import logging
import os
import socket
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, TypeVar

import orjson
import uvloop

from autoscaler.local import LocalScaler
from runtime.admission import Admission
from runtime.answers import Answers
from runtime.auditor import Auditor
from runtime.batch_routes import BatchRoutes
from runtime.batches import Batches
from runtime.blobs import Blobs
from runtime.brokers import QueueSpec
from runtime.brokers.rabbitmq import Address, RabbitBroker, check_timeout
from runtime.bus import Bus
from runtime.catalog import Catalog
from runtime.clearance import Clearance
from runtime.devices import Machine, find_machine
from runtime.errors import ConfigurationError, LumbreError, Unavailable
from runtime.feeder import WINDOW, Feeder, publish_all
from runtime.function import FunctionSpec
from runtime.gateway import Gateway
from runtime.janitor import janitor_of
from runtime.ledger import Ledger, ScalingDecision
from runtime.letter_routes import LetterRoutes
from runtime.letters import Letters
from runtime.model import DEVICES, Device, Invocation, PoolState, queue_name
from runtime.pool import GIVEN_BACK_LIMIT, Pool
from runtime.recorder import Recorder
from runtime.remote import RemoteInvocations
from runtime.reporter import BusReporter
from runtime.reports import Reports
from runtime.results import Results
from runtime.sending import sending_of
from runtime.serving import Process, Role, bound, check_address, listen, serve
from runtime.settings import Settings
from runtime.telemetry import Gauges, Metrics, set_up_logging
from runtime.worker import Worker
from runtime.workers import ANNOUNCE_EVERY, ROLL, Workers, announcement, queues_of

ROLL_CALL = 0.3  # seconds that workers have to answer a gateway that starts
SETTLE = 10.0  # seconds that the last confirms may take
AGAIN = 1.0  # seconds until what is away is tried again
DECISION = "decision"  # the key of scaling decisions

T = TypeVar("T")

log = logging.getLogger(__name__)


def identity() -> str:
    """A name of this process, unlike any other's."""
    return f"{socket.gethostname().partition('.')[0]}-{os.getpid()}-{uuid.uuid4().hex[:6]}"


def connection(settings: Settings, name: str) -> RabbitBroker:
    """A bus that is not open yet; ConfigurationError for a URL that is none."""
    return RabbitBroker(
        Address.of(settings),
        name=name,
        management_url=settings.management_url or None,
        consumer_timeout=settings.consumer_timeout,
    )


async def patiently(settings: Settings, work: Callable[[], Awaitable[T]]) -> T:
    """What a start needs of a broker or a ledger, which may go away just then.

    Tried again while they are away; Unavailable if that takes too long.
    """
    until = time.monotonic() + settings.broker_patience
    while True:
        try:
            return await work()
        except Unavailable as error:
            if time.monotonic() > until:
                raise
            log.warning("%s; trying again", error)
            await asyncio.sleep(AGAIN)


async def open_ledger(settings: Settings) -> Ledger:
    """The ledger, once it can be reached; Unavailable if it is away for too long."""
    return await patiently(settings, lambda: Ledger.open(settings.ledger))


class _Tasks:
    """Work on the side, ended with its role."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("work on the side failed: %s", error, exc_info=error)


async def declare(bus: Bus, specs: Iterable[FunctionSpec], settings: Settings) -> None:
    """Make their queues exist; ConfigurationError for a timeout that the broker would cut short."""
    queues = []
    for spec in specs:
        check_timeout(spec.name, spec.timeout, settings.consumer_timeout)
        limit = max(
            GIVEN_BACK_LIMIT, spec.max_attempts, spec.retries.max_attempts if spec.retries else 0
        )
        queues += [QueueSpec(queue, limit) for queue in queues_of([spec])]
    await patiently(settings, lambda: bus.declare(queues))


class RecorderRole:
    """Writes what workers report, and keeps the ledger in order."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        invocations: RemoteInvocations | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._settings = settings
        self._bus = connection(settings, "recorder")
        self._ledger = ledger
        self._sending = sending_of(settings, self._bus, ledger)
        enqueue = self._sending.enqueue if self._sending else None
        self._own = invocations is None
        self._recorder = invocations.recorder if invocations else Recorder(ledger, enqueue)
        if invocations and enqueue:
            invocations.on_stored = enqueue
        self._blobs = Blobs(settings.blobs)
        self._results = Results(self._bus, self._recorder, metrics or Metrics(lambda: ()))
        holder = identity()
        self.feeder = Feeder(
            ledger,
            self._recorder,
            self._publish,
            self._bus.ready,
            holder,
            min(WINDOW, settings.queue_limit // 2),
        )
        self._janitor = janitor_of(settings, ledger, self._blobs, holder)
        self._tasks = _Tasks()

    async def start(self) -> None:
        await self._bus.open(self._settings.broker_patience)
        if self._own:
            await self._recorder.start()
        await patiently(self._settings, self._results.start)
        self._bus.on_signal = self._signalled
        await self._bus.subscribe(DECISION)
        if self._sending:
            await patiently(self._settings, partial(self._sending.start, forgetful=False))
        self.feeder.start()
        self._tasks.spawn(self._janitor.run())

    async def drain(self) -> None:
        await self._results.close()

    async def close(self) -> None:
        await self.feeder.close()
        await self._tasks.close()
        if self._sending:
            await self._sending.close()
        await self._bus.settle(SETTLE)
        if self._own:
            await self._recorder.close()
        await self._bus.close()

    async def _publish(self, rows: Sequence[Invocation]) -> list[str]:
        """Publish what was left behind, and of batches as much as the queues have room for."""
        if not self._bus.connected or self._bus.blocked:
            return []
        room: dict[str, int] = {}
        fitting = []
        for row in rows:
            queue = queue_name(row.message.function, row.message.device)
            if queue not in room:
                depth = await self._bus.depth(queue)
                room[queue] = self._settings.queue_limit - depth.ready
            room[queue] -= 1
            if room[queue] >= 0 or row.batch is None:
                fitting.append(row)
        return await publish_all(self._bus, fitting)

    def _signalled(self, key: str, body: bytes) -> None:
        if key == DECISION:
            self._tasks.spawn(self._record(body))

    async def _record(self, body: bytes) -> None:
        try:
            await self._ledger.record_decision(ScalingDecision(**orjson.loads(body)))
        except (LumbreError, ValueError, TypeError) as error:
            log.warning("a scaling decision is not recorded: %s", error)


class GatewayRole:
    """The HTTP side, and the recorder beside it unless that runs elsewhere."""

    def __init__(
        self, settings: Settings, ledger: Ledger, catalog: Catalog, *, records: bool
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._catalog = catalog
        self._bus = connection(settings, "gateway")
        self._metrics = Metrics(self._gauges)
        self._workers = Workers(
            self._bus, settings.devices, lambda: queues_of(catalog.functions.values())
        )
        self._invocations = RemoteInvocations(
            self._bus,
            ledger,
            self._metrics,
            settings.queue_limit,
            self._workers.depth,
            self._workers.asleep,
        )
        self._invocations.observes = not records
        blobs = Blobs(settings.blobs)
        self._admission = Admission(
            self._workers,
            catalog,
            self._invocations,
            blobs,
            settings.max_body,
            settings.callback_hosts,
        )
        auditor = Auditor(
            ledger,
            self._bus,
            queues=lambda: queues_of(catalog.functions.values()),
            settle=self._invocations.recorder.flush,
            in_hand=self._workers.in_hand,
            blocked=lambda: self._bus.blocked is not None,
        )
        reports = Reports(
            self._admission,
            self._workers,
            catalog,
            self._invocations,
            ledger,
            self._metrics,
            auditor,
        )
        answers = Answers(settings, blobs, self._invocations)
        letters = Letters(
            self._bus, ledger, self._admission, self._invocations, lambda: catalog.functions
        )
        self._clearance = Clearance(
            letters, self._admission, self._workers.depth, settings.queue_limit
        )
        desk = LetterRoutes(letters, self._clearance, self._admission, answers)
        self._recording = (
            RecorderRole(settings, ledger, self._invocations, self._metrics) if records else None
        )
        wake = self._recording.feeder.wake if self._recording else void
        self._batches = Batches(ledger, self._invocations, wake)
        batches = BatchRoutes(self._admission, self._batches, self._invocations, ledger)
        self.app = Gateway(
            settings, self._admission, answers, reports, desk, self._invocations, ledger, batches
        )
        self._bus.on_signal = self._signalled
        self._tasks = _Tasks()

    async def start(self) -> None:
        await self._invocations.recorder.start()
        await self._bus.open(self._settings.broker_patience)
        await declare(self._bus, self._catalog.functions.values(), self._settings)
        if self._recording:
            await self._recording.start()
        self._invocations.start()
        await self._batches.start(alone=False)
        await self._workers.start()
        await asyncio.sleep(ROLL_CALL)
        self._admission.described.set()

    async def reload(self) -> None:
        """Take the functions that the catalog has now."""
        await declare(self._bus, self._catalog.functions.values(), self._settings)

    async def drain(self) -> None:
        self._admission.give_up()
        self._invocations.release_waiters(running=True)
        if self._recording:
            await self._recording.drain()

    async def close(self) -> None:
        await self._tasks.close()
        await self._batches.close()
        await self._clearance.close()
        await self._workers.close()
        await self._invocations.close()
        await self._bus.settle(SETTLE)
        await self._bus.close()
        if self._recording:
            await self._recording.close()
        await self._invocations.recorder.close()

    def _signalled(self, key: str, body: bytes) -> None:
        if key.startswith("worker."):
            self._workers.heard(key, body)
        else:
            self._invocations.signalled(key, body)

    def _gauges(self) -> Iterator[Gauges]:
        for (function, device), state in self._workers.all_pools().items():
            depth = self._workers.depth(f"{function}.{device}")
            yield Gauges(
                function, device, depth, state.replicas, state.cold_starts, state.decisions
            )


@dataclass(frozen=True, slots=True)
class Duty:
    """What a worker is to serve."""

    functions: tuple[str, ...] = ()  # none is all there are
    devices: tuple[Device, ...] = ()  # none is those of the machine
    replicas: int | None = None  # of each function on each device; None scales them


class WorkerRole:
    """Takes deliveries from queues and runs them in replicas of its own."""

    def __init__(self, settings: Settings, catalog: Catalog, duty: Duty) -> None:
        self._settings = settings
        self._catalog = catalog
        self._duty = duty
        self._name = identity()
        self._bus = connection(settings, f"worker {self._name}")
        self._machine = _limited(find_machine(settings), duty)
        self._reporter = BusReporter(self._bus)
        self._worker = Worker(
            self._bus,
            self._reporter,
            catalog.zygote,
            self._machine,
            blobs=settings.blobs,
            max_result=settings.max_result,
        )
        self._scaler = LocalScaler(self._machine, self._bus.depth, self._decided)
        self._bus.on_signal = self._signalled
        self._bus.on_cancel = lambda id: void(self._worker.cancel(id))
        self._worker.on_change = self._changed
        self._served: dict[str, FunctionSpec] = {}
        self._announcing: asyncio.TimerHandle | None = None
        self._tasks = _Tasks()

    async def start(self) -> None:
        self._refuse_unknown()
        await self._bus.open(self._settings.broker_patience)
        await patiently(self._settings, self._bus.follow_cancellations)
        await self.reload()
        await self._bus.subscribe(ROLL)
        if self._duty.replicas is None:
            await self._bus.subscribe("wake.#")
        self._tasks.spawn(self._keep_announcing())
        await self._catalog.warm()

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
        await self._scaler.close()
        self._announce()
        await self._worker.drain(self._settings.grace)
        await self._bus.settle(SETTLE)

    async def close(self) -> None:
        await self._tasks.close()
        if self._announcing:
            self._announcing.cancel()
        self._bus.signal(f"worker.{self._name}", announcement({}))
        await self._bus.settle(1.0)
        await self._bus.close()

    def _signalled(self, key: str, body: bytes) -> None:
        if key == ROLL:
            self._announce()
        elif key.startswith("wake."):
            self._scaler.activate(key.removeprefix("wake."))

    def _changed(self, pool: Pool) -> None:
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
        self._bus.signal(f"worker.{self._name}", announcement(pools))

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


def void(*_: object) -> None:
    """Nothing."""


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


class CatalogRole:
    """The functions of this process, described, and described again when their files change."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self.followers: list[GatewayRole | WorkerRole] = []
        self._settings = settings
        self._catalog = catalog
        self._tasks = _Tasks()
        catalog.on_late = lambda: self._tasks.spawn(self._reload())

    async def start(self) -> None:
        await self._catalog.refresh()
        if self._settings.reload:
            self._tasks.spawn(self._watch())

    async def drain(self) -> None:
        await self._tasks.close()

    async def close(self) -> None:
        self._catalog.close()

    async def _watch(self) -> None:
        from watchfiles import PythonFilter, awatch

        folders = [folder for folder in self._settings.folders if folder.is_dir()]
        async for _ in awatch(*folders, watch_filter=PythonFilter()):
            await self._reload()

    async def _reload(self) -> None:
        await self._catalog.refresh()
        for follower in self.followers:
            await follower.reload()
        for broken in self._catalog.broken.values():
            error = broken.error
            log.error("file=%s is broken: %s: %s", broken.file, error.type, error.message)


class LedgerRole:
    """The ledger of this process, closed after everybody who writes it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def start(self) -> None:
        return None

    async def drain(self) -> None:
        return None

    async def close(self) -> None:
        await self._ledger.close()


def run_gateway(settings: Settings, *, records: bool, duty: Duty | None = None) -> None:
    """Serve HTTP until a signal ends it; with a `duty`, run functions in this process, too."""
    began = time.perf_counter()
    _prepare(settings)
    check_address(settings)

    async def main(settings: Settings) -> None:
        ledger = await open_ledger(settings)
        catalog = _catalog(settings)
        described = CatalogRole(settings, catalog)
        gateway = GatewayRole(settings, ledger, catalog, records=records)
        workers = [WorkerRole(settings, catalog, duty)] if duty else []
        described.followers = [gateway, *workers]

        def up(seconds: float) -> str:
            names = ", ".join(sorted(catalog.functions)) or "none yet; `lumbre new NAME` makes one"
            host, port = listening.getsockname()[:2]
            what = "lumbre" if duty else "lumbre gateway"
            return f"{what} is up on http://{host}:{port} ({seconds:.1f} s); functions: {names}"

        roles: list[Role] = [LedgerRole(ledger), described, gateway, *workers]
        await Process(roles, up, (serve(gateway.app), listening), began=began).run()

    with listen(settings) as listening:
        uvloop.run(main(bound(settings, listening)))


def run_worker(settings: Settings, duty: Duty) -> None:
    """Run functions until a signal ends it."""
    began = time.perf_counter()
    _prepare(settings)

    async def main() -> None:
        catalog = _catalog(settings)
        described = CatalogRole(settings, catalog)
        worker = WorkerRole(settings, catalog, duty)
        described.followers = [worker]

        def up(seconds: float) -> str:
            names = ", ".join(duty.functions or sorted(catalog.functions)) or "none yet"
            return f"lumbre worker is up ({seconds:.1f} s); functions: {names}"

        await Process([described, worker], up, began=began).run()

    uvloop.run(main())


def run_recorder(settings: Settings) -> None:
    """Write what workers report until a signal ends it."""
    began = time.perf_counter()
    _prepare(settings)

    async def main() -> None:
        ledger = await open_ledger(settings)
        roles: list[Role] = [LedgerRole(ledger), RecorderRole(settings, ledger)]
        await Process(roles, lambda s: f"lumbre recorder is up ({s:.1f} s)", began=began).run()

    uvloop.run(main())


def _prepare(settings: Settings) -> None:
    set_up_logging(settings.log_format, settings.log_level)
    if settings.embedded:
        raise ConfigurationError(
            "LUMBRE_BROKER_URL=memory:// is one process, `lumbre up`: give the roles a RabbitMQ,"
            " such as amqp://guest:guest@localhost"
        )
    settings.state.mkdir(parents=True, exist_ok=True)


def _catalog(settings: Settings) -> Catalog:
    return Catalog(settings.folders, settings.state.resolve() / "catalog.json")
