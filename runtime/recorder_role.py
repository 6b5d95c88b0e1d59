"""The recorder as a role: it writes what workers report, and keeps the ledger in order."""

import logging
from collections.abc import Sequence
from functools import partial

import orjson

from runtime.blobs import Blobs
from runtime.brokers.rabbitmq.topology import RESULTS
from runtime.errors import LumbreError
from runtime.exposition import BrokerMetrics, Exposition
from runtime.feeder import WINDOW, Feeder, publish_all
from runtime.health import Health
from runtime.janitor import janitor_of
from runtime.ledger import Ledger, ScalingDecision
from runtime.liveness import Liveness, not_consuming
from runtime.model import Invocation, queue_name
from runtime.recorder import Recorder
from runtime.remote import RemoteInvocations
from runtime.results import Results
from runtime.role import DECISION, SETTLE, Tasks, connection, identity, patiently
from runtime.sending import sending_of
from runtime.settings import Settings
from runtime.telemetry import Metrics

log = logging.getLogger(__name__)


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
        metrics = metrics or Metrics(lambda: ())
        self._results = Results(self._bus, self._recorder, metrics)
        liveness = Liveness(self._bus, lambda: [RESULTS])
        exposition = Exposition(metrics, BrokerMetrics("lumbre_recorder", self._bus, liveness))
        self.health = Health(liveness, lambda: None, self._unready, exposition.text)
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
        self._tasks = Tasks()

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
        if self._own and self._settings.health_port:
            self._tasks.spawn(self.health.run())

    def _unready(self) -> str | None:
        if not self._recorder.healthy:
            return "the ledger cannot be written"
        return not_consuming(self._bus, [RESULTS])

    async def drain(self) -> None:
        self.health.draining = True
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
