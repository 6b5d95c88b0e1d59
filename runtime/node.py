"""Composition: what one process runs, in which order it starts, and how it stops.

`lumbre up` is gateway, recorder, embedded broker, worker and autoscaler on one event loop.
"""

import asyncio
import contextlib
import fcntl
import logging
import socket
import time
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from typing import IO, Any

import uvloop

from autoscaler.local import LocalScaler
from console.late import LateConsole
from console.sources import Sources
from runtime.access import Access
from runtime.admission import Admission
from runtime.answers import Answers
from runtime.auditor import Auditor
from runtime.baked import open_catalog
from runtime.batch_routes import BatchRoutes
from runtime.batches import Batches
from runtime.blobs import Blobs
from runtime.brokers import QueueSpec
from runtime.brokers.memory import MemoryBroker
from runtime.clearance import Clearance
from runtime.devices import Machine, find_machine
from runtime.errors import ConfigurationError
from runtime.feeder import WINDOW, Feeder
from runtime.fleet import LocalFleet
from runtime.function import FunctionSpec
from runtime.gateway import Gateway
from runtime.history import History
from runtime.invocations import EmbeddedInvocations
from runtime.janitor import janitor_of
from runtime.latest_audit import LatestAudit
from runtime.ledger import Ledger, ScalingDecision
from runtime.letter_routes import LetterRoutes
from runtime.letters import Letters
from runtime.logs import say, set_up_logging
from runtime.model import Device, queue_name
from runtime.pool import GIVEN_BACK_LIMIT, Pool
from runtime.reports import Reports
from runtime.sampler import Sampler
from runtime.sending import sending_of
from runtime.serving import Process, bound, listen, serve
from runtime.settings import Settings
from runtime.speedup import Speedups
from runtime.telemetry import Gauges, Metrics
from runtime.worker import Worker
from runtime.workers import queues_of

LATENCY_SAMPLES = 500  # invocations of earlier days that percentiles start with

log = logging.getLogger(__name__)


class Node:
    """Everything `lumbre up` runs."""

    def __init__(self, settings: Settings, machine: Machine, ledger: Ledger) -> None:
        self.settings = settings
        self.machine = machine
        self.ledger = ledger
        self.access = Access(ledger.keys, settings)
        self.blobs = Blobs(settings.blobs)
        self.broker = MemoryBroker()
        self.metrics = Metrics(self._gauges)
        self.catalog = open_catalog(settings, ())
        self.invocations = EmbeddedInvocations(
            self.broker, ledger, self.metrics, settings.queue_limit
        )
        self.worker = Worker(
            self.broker,
            self.invocations,
            self.catalog.zygote,
            machine,
            blobs=settings.blobs,
            max_result=settings.max_result,
        )
        self.feeder = Feeder(
            ledger,
            self.invocations.recorder,
            self.invocations.feed,
            self.invocations.ready,
            "node",
            min(WINDOW, settings.queue_limit // 2),
        )
        self.scaler = LocalScaler(machine, self.broker.depth, self._decided)
        fleet = LocalFleet(machine, self.worker, self.broker, self._directions)
        self.sampler = Sampler(ledger, fleet, lambda: self.catalog.functions.values())
        self.history = History(ledger, fleet, self.sampler.latest)
        self.admission = Admission(
            fleet,
            self.catalog,
            self.invocations,
            self.blobs,
            settings.max_body,
            settings.callback_hosts,
        )
        auditor = Auditor(
            ledger,
            self.broker,
            queues=lambda: queues_of(self.catalog.functions.values()),
            settle=self.invocations.recorder.flush,
            forget=lambda id: self.invocations.live.pop(id, None),
        )
        self._latest_audit = LatestAudit(auditor)
        self.speedups = Speedups(ledger.runs, self.blobs, lambda: self.catalog.functions)
        reports = Reports(
            self.admission,
            fleet,
            self.catalog,
            self.invocations,
            ledger,
            self.metrics,
            auditor,
            self._latest_audit,
            self.speedups,
        )
        answers = Answers(settings, self.blobs, self.invocations)
        self.letters = Letters(
            self.broker, ledger, self.admission, self.invocations, lambda: self.catalog.functions
        )
        self.clearance = Clearance(self.letters, self.admission, fleet.depth, settings.queue_limit)
        desk = LetterRoutes(self.letters, self.clearance, self.admission, answers)
        self.batches = Batches(ledger, self.invocations, self.feeder.wake)
        batches = BatchRoutes(self.admission, self.batches, self.invocations, ledger)
        self.gateway = Gateway(
            settings,
            self.admission,
            answers,
            reports,
            desk,
            self.invocations,
            ledger,
            batches,
            self.access,
        )
        self.console = LateConsole(
            Sources(
                settings=settings,
                catalog=self.catalog,
                admission=self.admission,
                fleet=fleet,
                invocations=self.invocations,
                ledger=ledger,
                blobs=self.blobs,
                letters=self.letters,
                clearance=self.clearance,
                latest_audit=self._latest_audit,
                answers=answers,
                reports=reports,
                metrics=self.metrics,
                history=self.history,
                speedups=self.speedups,
                access=self.access,
            )
        )
        self.gateway.console = self.console if settings.console else None
        self.sending = sending_of(settings, self.broker, ledger)
        if self.sending:
            self.invocations.on_stored = self.sending.enqueue
        self.broker.on_activation = self.scaler.activate
        self.worker.on_change = self._pool_changed
        self.catalog.on_late = lambda: self._spawn(self.reload())
        self.invocations.stop_running = self.worker.cancel
        self._tasks: set[asyncio.Task[None]] = set()
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Describe the functions, queue what was left unfinished, and begin to scale."""
        self.access.start()
        await self.invocations.recorder.start()
        await self.catalog.refresh()
        await self._serve(self.catalog.functions.values())
        await self.batches.start(alone=True)
        resumed = await self.invocations.resume(self._max_attempts)
        if resumed:
            log.info("queued %d unfinished invocations again", resumed)
        self.letters.recall(self.broker)
        self.feeder.start()
        self._spawn(janitor_of(self.settings, self.ledger, self.blobs, "node").run())
        if self.sending:
            await self.sending.start(forgetful=True)
        self.admission.described.set()
        self.speedups.start()
        self.sampler.start()
        if self.settings.reload:
            self._watching = asyncio.create_task(self.watch())
        if self.settings.console:
            self.console.start()
        await self.catalog.warm()

    async def _serve(self, specs: Iterable[FunctionSpec]) -> None:
        for spec in specs:
            asked = max(spec.max_attempts, spec.retries.max_attempts if spec.retries else 0)
            limit = max(GIVEN_BACK_LIMIT, asked)
            queues = [QueueSpec(queue_name(spec.name, d), limit) for d in spec.devices]
            await self.broker.declare(queues)
            await self.worker.take(spec)
            for device in spec.devices:
                if pool := self.worker.pools.get((spec.name, device)):
                    await self._remember_latency(pool)
                    self.scaler.take(pool)

    async def reload(self) -> None:
        """Take changed function files: new replicas run the new version, old ones finish."""
        before = dict(self.catalog.functions)
        await self.catalog.refresh()
        after = self.catalog.functions
        await self._serve(s for name, s in after.items() if before.get(name) != s)
        for name in before.keys() - after.keys():
            for key in [key for key in self.worker.pools if key[0] == name]:
                self.scaler.leave(key)
            self._spawn(self.worker.leave(name, self.settings.grace))
        for broken in self.catalog.broken.values():
            error = broken.error
            log.error("file=%s is broken: %s: %s", broken.file, error.type, error.message)
        changed = sorted(name for name, s in after.items() if before.get(name) != s)
        log.info("reloaded; changed: %s", ", ".join(changed) or "nothing")

    async def watch(self) -> None:
        """Reload whenever a Python file of the function folders changes."""
        from watchfiles import PythonFilter, awatch

        folders = [folder for folder in self.settings.folders if folder.is_dir()]
        async for _ in awatch(*folders, watch_filter=PythonFilter()):
            await self.reload()

    async def drain(self) -> None:
        """Finish what runs; what waits stays in the ledger for the next start."""
        self.admission.give_up()
        if self._watching:
            self._watching.cancel()
        await self.feeder.close()
        self.invocations.release_waiters(running=False)
        await self.scaler.close()
        await self.worker.drain(self.settings.grace)
        self.invocations.release_waiters(running=True)

    async def close(self) -> None:
        """Write what is left and end every process."""
        await self.speedups.close()
        await self.console.close()
        await self._latest_audit.close()
        await self.access.close()
        await self.batches.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.clearance.close()
        await self.letters.close()
        if self.sending:
            await self.sending.close()
        await self.sampler.close()
        await self.invocations.recorder.close()
        await self.broker.close()
        self.catalog.close()
        await self.ledger.close()

    def _max_attempts(self, function: str) -> int:
        spec = self.catalog.functions.get(function)
        return spec.max_attempts if spec else 1

    async def _remember_latency(self, pool: Pool) -> None:
        key = (pool.spec.name, pool.device)
        samples = await self.ledger.samples(*key, LATENCY_SAMPLES)
        runs = [s["run"] for s in samples if "run" in s]
        totals = [s["queue"] + s["start"] + s["run"] for s in samples if "run" in s]
        self.metrics.remember(key, reversed(totals), reversed(runs))

    def _pool_changed(self, pool: Pool) -> None:
        if pool.counts().ready:
            self.scaler.wake(pool.queue)

    def _decided(self, decision: ScalingDecision) -> None:
        log.info(
            "function=%s device=%s replicas %d → %d: %s",
            decision.function,
            decision.device,
            decision.before,
            decision.after,
            decision.reason,
        )
        self._spawn(self.ledger.record_decision(decision))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _directions(self, key: tuple[str, Device]) -> Mapping[str, int]:
        return self.scaler.directions.get(key, {})

    def _gauges(self) -> Iterator[Gauges]:
        for (function, device), pool in self.worker.pools.items():
            depth = self.broker.depth_now(pool.queue)
            directions = dict(self._directions((function, device)))
            yield Gauges(function, device, depth, pool.counts(), pool.cold_starts, directions)


def run_node(settings: Settings) -> None:
    """Run until a signal ends it; ConfigurationError where it cannot start."""
    began = time.perf_counter()
    set_up_logging(settings.log_format, settings.log_level)
    with _state_folder(settings), listen(settings) as listening:
        uvloop.run(_run(bound(settings, listening), listening, began))


async def _run(settings: Settings, listening: socket.socket, began: float) -> None:
    ledger = await Ledger.open(settings.ledger)
    node = Node(settings, find_machine(settings), ledger)
    try:
        await node.access.open()
    except BaseException:
        await ledger.close()
        raise

    def up(seconds: float) -> str:
        for broken in node.catalog.broken.values():
            say(f"broken: {broken.file}: {broken.error.type}: {broken.error.message}")
        names = ", ".join(sorted(node.catalog.functions)) or "none yet; `lumbre new NAME` makes one"
        host, port = listening.getsockname()[:2]
        return f"lumbre is up on http://{host}:{port} ({seconds:.1f} s); functions: {names}"

    await Process([node], up, (serve(node.gateway), listening), began=began).run()


@contextlib.contextmanager
def _state_folder(settings: Settings) -> Iterator[IO[str]]:
    """Make the state folder and hold its lock: two nodes on one ledger would run things twice."""
    folder = settings.state.resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / "lock", "w")  # noqa: SIM115 (held until the process ends)
    except OSError as error:
        raise ConfigurationError(
            f"the state folder {folder} cannot be written ({error.strerror}): set LUMBRE_STATE"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigurationError(
                f"another lumbre uses the state folder {folder}: stop it, or set LUMBRE_STATE"
            ) from None
        yield lock
