"""From `results` to the ledger: what workers report is written down, and then acknowledged."""

import asyncio
import logging
import time
from collections.abc import Callable

from runtime.brokers import Consumer
from runtime.bus import Bus
from runtime.errors import Unavailable
from runtime.model import Failure, Invocation, Message, Status
from runtime.recorder import Recorder
from runtime.telemetry import Metrics
from runtime.wire import Report, Unreadable, decode_reports

PREFETCH = 64  # messages of results, each with up to 256 outcomes
GATHER = 0.05  # seconds that a report waits for others, so that a commit takes many
RETRY = 0.5  # seconds between two tries while the ledger is away
LAST_TRY = 5.0  # seconds that a drain waits for a ledger that is away

log = logging.getLogger(__name__)


class Results:
    """Takes reports from a bus into a recorder; a message is acknowledged after its commit."""

    def __init__(self, bus: Bus, recorder: Recorder, metrics: Metrics) -> None:
        self._bus = bus
        self._recorder = recorder
        self._metrics = metrics
        self._unwritten: list[Callable[[], None]] = []  # acknowledgements, after the next commit
        self._noted: set[str] = set()  # ids, until the next commit
        self._arrived = asyncio.Event()
        self._consumer: Consumer | None = None
        self._writing: asyncio.Task[None] | None = None
        self._closing = False

    async def start(self) -> None:
        self._consumer = await self._bus.consume_results(PREFETCH, self._take)
        self._writing = asyncio.create_task(self._write(), name="results")

    async def close(self) -> None:
        """Take no more, and write what was taken; where that takes too long, others write it."""
        self._closing = True
        if self._consumer:
            await self._consumer.close()
        self._arrived.set()
        if self._writing:
            _, late = await asyncio.wait([self._writing], timeout=LAST_TRY)
            if late:
                self._writing.cancel()
                log.warning("queue=results what is not written stays there: the ledger is away")
                await asyncio.wait(late)
            else:
                self._writing.result()

    def _take(self, body: bytes, ack: Callable[[], None]) -> None:
        try:
            for report in decode_reports(body):
                if isinstance(report, Message):
                    self._given_up(report)
                else:
                    self._note(report)
        except Unreadable as error:  # it is not of ours, or from a newer Lumbre: nothing to record
            log.error("queue=results a message cannot be read and is dropped: %s", error)
        self._unwritten.append(ack)
        self._arrived.set()

    def _note(self, report: Report) -> None:
        invocation = report.invocation
        if report.attempt:
            self._recorder.attempt(report.attempt)
        if invocation.message.unrecorded is None:
            self._recorder.adopt([invocation.message.id])
        self._recorder.note(invocation)
        self._noted.add(invocation.message.id)
        if invocation.terminal:
            self._metrics.observe(invocation)

    def _given_up(self, message: Message) -> None:
        """The broker gave up on it: whoever took it died before a worker could say anything."""
        text = "it was delivered too often: the worker that took it died each time"
        invocation = Invocation(message, message.device, "", Status.DEAD, callback=message.callback)
        if message.unrecorded:
            invocation.requested_device = message.unrecorded.requested_device
            invocation.version = message.unrecorded.version
        invocation.error = Failure("WorkerDied", text)
        invocation.finished_at = time.time()
        self._note(Report(invocation))

    async def _write(self) -> None:
        """Commit what has arrived, acknowledge it, and so on; group commit by itself."""
        while True:
            await self._arrived.wait()
            if not self._closing:
                await asyncio.sleep(GATHER)
            self._arrived.clear()
            acks, self._unwritten = self._unwritten, []
            noted, self._noted = self._noted, set()
            if acks:
                await self._commit()
                for id in noted - self._noted:
                    self._recorder.forget(id)  # another recorder may write how it ends
                for ack in acks:
                    ack()
            if self._closing and not self._unwritten:
                return

    async def _commit(self) -> None:
        while True:
            try:
                return await self._recorder.flush()
            except Unavailable as error:
                log.debug("what workers report waits for the ledger: %s", error)
                await asyncio.sleep(RETRY)
