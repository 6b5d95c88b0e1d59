"""The gateway as a role: it serves HTTP, for workers elsewhere."""

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

from console.late import LateConsole
from console.sources import Sources
from runtime.access import Access
from runtime.admission import Admission
from runtime.answers import Answers
from runtime.auditor import Auditor
from runtime.batch_routes import BatchRoutes
from runtime.batches import Batches
from runtime.blobs import Blobs
from runtime.catalog import Catalog
from runtime.clearance import Clearance
from runtime.errors import ConfigurationError
from runtime.gateway import Gateway
from runtime.history import History
from runtime.latest_audit import LatestAudit
from runtime.ledger import Ledger
from runtime.letter_routes import LetterRoutes
from runtime.letters import Letters
from runtime.recorder_role import RecorderRole
from runtime.remote import RemoteInvocations
from runtime.reports import Reports
from runtime.role import (
    SETTLE,
    Tasks,
    connection,
    declare,
    void,
)
from runtime.sampler import Sampler
from runtime.settings import Settings
from runtime.speedup import Speedups
from runtime.telemetry import Gauges, Metrics
from runtime.workers import Workers, queues_of

if TYPE_CHECKING:
    from autoscaler.push import PushScaler

ROLL_CALL = 0.3  # seconds that workers have to answer a gateway that starts


class GatewayRole:
    """The HTTP side, and the recorder beside it unless that runs elsewhere."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        catalog: Catalog,
        *,
        records: bool,
        alone: bool = False,  # `lumbre console`: it is there for browsers
    ) -> None:
        self.access = Access(ledger.keys, settings, alone=alone)
        self._settings = settings
        self._ledger = ledger
        self._catalog = catalog
        self._bus = connection(settings, "gateway")
        self._metrics = Metrics(self._gauges)
        self._workers = Workers(
            self._bus, settings.devices, lambda: queues_of(catalog.functions.values())
        )
        self.sampler = Sampler(ledger, self._workers, lambda: catalog.functions.values())
        self.history = History(ledger, self._workers, self.sampler.latest)
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
        self._latest_audit = LatestAudit(auditor)
        self.speedups = Speedups(ledger.runs, blobs, lambda: catalog.functions)
        reports = Reports(
            self._admission,
            self._workers,
            catalog,
            self._invocations,
            ledger,
            self._metrics,
            auditor,
            self._latest_audit,
            self.speedups,
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
            settings,
            self._admission,
            answers,
            reports,
            desk,
            self._invocations,
            ledger,
            batches,
            self.access,
        )
        self._console = LateConsole(
            Sources(
                settings=settings,
                catalog=catalog,
                admission=self._admission,
                fleet=self._workers,
                invocations=self._invocations,
                ledger=ledger,
                blobs=blobs,
                letters=letters,
                clearance=self._clearance,
                latest_audit=self._latest_audit,
                answers=answers,
                reports=reports,
                metrics=self._metrics,
                history=self.history,
                speedups=self.speedups,
                access=self.access,
            )
        )
        self.app.console = self._console if settings.console else None
        self._bus.on_signal = self._signalled
        self._tasks = Tasks()
        self._scales = bool(settings.scaler_port) and not alone
        self._scaler: PushScaler | None = None

    async def start(self) -> None:
        scaler = self._push_scaler() if self._scales else None
        self.access.start()
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
        self.speedups.start()
        self.sampler.start()
        if self._settings.console:
            self._console.start()
        if scaler:
            self._scaler = scaler
            await self._bus.subscribe("wake.#")
            await scaler.start()

    async def reload(self) -> None:
        """Take the functions that the catalog has now."""
        await declare(self._bus, self._catalog.functions.values(), self._settings)

    async def drain(self) -> None:
        self._admission.give_up()
        self._invocations.release_waiters(running=True)
        if self._scaler:
            await self._scaler.close()
        if self._recording:
            await self._recording.drain()

    async def close(self) -> None:
        await self._console.close()
        await self._latest_audit.close()
        await self.access.close()
        await self.speedups.close()
        await self._tasks.close()
        await self._batches.close()
        await self._clearance.close()
        await self.sampler.close()
        await self._workers.close()
        await self._invocations.close()
        await self._bus.settle(SETTLE)
        await self._bus.close()
        if self._recording:
            await self._recording.close()
        await self._invocations.recorder.close()

    def _push_scaler(self) -> "PushScaler":
        """KEDA's external scaler; ConfigurationError where its libraries are not installed."""
        try:
            from autoscaler.backlog import BusBacklogs
            from autoscaler.push import PushScaler
        except ModuleNotFoundError as error:
            if error.name not in ("grpc", "google", "google.protobuf"):
                raise
            raise ConfigurationError(
                f"LUMBRE_SCALER_PORT={self._settings.scaler_port}: grpcio is not installed:"
                " pip install 'lumbre[push]'"
            ) from None
        backlogs = BusBacklogs(self._bus, self._workers, lambda: self._catalog.functions)
        return PushScaler(backlogs, self._settings.host, self._settings.scaler_port)

    def _signalled(self, key: str, body: bytes) -> None:
        if key.startswith("wake."):
            if self._scaler:
                self._scaler.woken(key.removeprefix("wake."))
        elif not self._workers.heard(key, body):
            self._invocations.signalled(key, body)

    def _gauges(self) -> Iterator[Gauges]:
        for (function, device), state in self._workers.all_pools().items():
            depth = self._workers.depth(f"{function}.{device}")
            yield Gauges(
                function, device, depth, state.replicas, state.cold_starts, state.decisions
            )
