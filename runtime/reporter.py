"""What a worker tells of its invocations, where gateways and recorders are other processes.

An outcome goes to `results`, and comes before the ack; if somebody waits for it, it goes straight
to them as well.  That something runs is told only once it has run for a moment: most have ended by
then.  Progress and output are signals, gathered for a moment; nobody may be listening.
"""

import asyncio
import time
from dataclasses import dataclass, replace

import orjson

from runtime.bus import Bus
from runtime.model import Attempt, Failure, Invocation, Message, Outcome, Status
from runtime.process import ReplicaProcess
from runtime.stories import told
from runtime.timings import is_cold, timings
from runtime.wire import encode_report

TELL_AFTER = 0.1  # seconds of running after which it is told
GATHER = 0.05  # seconds that progress and output wait for more
MAX_GATHERED = 1000  # events of one invocation in one signal; the oldest are left out
SAME_BYTES = 1024  # of input, up to which an answer carries it along rather than be made anew


@dataclass(slots=True)
class _Running:
    """What runs, and whether anybody was told."""

    message: Message
    replica: str
    started_at: float  # unix seconds
    cold: bool
    told: bool = False


class BusReporter:
    """The `Reporter` of a worker on a bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._running: dict[str, _Running] = {}
        self._events: dict[str, list[bytes]] = {}
        self._gathering: asyncio.TimerHandle | None = None
        self._telling: asyncio.TimerHandle | None = None

    def started(self, message: Message, process: ReplicaProcess, at: float) -> None:
        cold = is_cold(message, process, at)
        self._running[message.id] = _Running(message, process.name, at, cold)
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(TELL_AFTER, self._tell_running)

    def progressed(self, message: Message, event: bytes) -> None:
        self._gather(message.id, b"progress " + event)

    def wrote(self, message: Message, data: bytes) -> None:
        text = orjson.dumps({"text": data.decode(errors="replace")})
        self._gather(message.id, b"log " + text)

    def retried(
        self,
        message: Message,
        process: ReplicaProcess,
        error: Failure,
        started_at: float,
        *,
        counted: bool = True,
    ) -> None:
        """It is queued again; `counted` says that this attempt is used up."""
        self._running.pop(message.id, None)
        now = time.time()
        failed = Attempt(
            message.id, message.attempt, process.name, message.device, started_at, now, error
        )
        waiting = replace(message, attempt=message.attempt + counted)
        invocation = _told(waiting, Status.QUEUED)
        invocation.started_at, invocation.replica = started_at, process.name
        self._bus.report(encode_report(invocation, failed))
        self._gather(message.id, b"queued " + told(invocation, Status.QUEUED))

    def finished(self, message: Message, process: ReplicaProcess, outcome: Outcome) -> None:
        running = self._running.pop(message.id, None)
        invocation = _told(message, outcome.status)
        if running:
            invocation.started_at, invocation.cold = running.started_at, running.cold
        invocation.finished_at = time.time()
        invocation.replica = process.name
        invocation.timings = timings(
            message, process, outcome, invocation.started_at, invocation.cold
        )
        invocation.error = outcome.error
        invocation.result = outcome.result
        invocation.blobs = outcome.blobs
        invocation.log = outcome.log
        self._tell(invocation)

    def given_up(self, message: Message, error: Failure) -> None:
        """No replica gave an outcome, and none will."""
        self._running.pop(message.id, None)
        invocation = _told(message, Status.DEAD)
        invocation.error = error
        invocation.finished_at = time.time()
        self._tell(invocation)

    def _tell(self, invocation: Invocation) -> None:
        message = invocation.message
        entry = encode_report(invocation)
        self._bus.report(entry)
        if message.reply_to:
            parameters = message.payload.parameters
            if message.unrecorded and parameters and len(parameters) > SAME_BYTES:
                entry = encode_report(invocation, whole=False)
            self._bus.answer(message.reply_to, entry)
        if message.id in self._events:
            self._flush_events()

    def _tell_running(self) -> None:
        """Report what has run for a moment, and come back while anything runs untold."""
        before = time.time() - TELL_AFTER
        untold = False
        for running in self._running.values():
            if running.told:
                continue
            if running.started_at > before:
                untold = True
                continue
            running.told = True
            invocation = _told(running.message, Status.RUNNING)
            invocation.started_at, invocation.cold = running.started_at, running.cold
            invocation.replica = running.replica
            self._bus.report(encode_report(invocation))
            self._gather(invocation.id, b"running " + told(invocation, Status.RUNNING))
        loop = asyncio.get_running_loop()
        self._telling = loop.call_later(TELL_AFTER, self._tell_running) if untold else None

    def _gather(self, invocation: str, line: bytes) -> None:
        events = self._events.setdefault(invocation, [])
        events.append(line)
        if len(events) > MAX_GATHERED:
            del events[0]
        if self._gathering is None:
            loop = asyncio.get_running_loop()
            self._gathering = loop.call_later(GATHER, self._flush_events)

    def _flush_events(self) -> None:
        if self._gathering:
            self._gathering.cancel()
            self._gathering = None
        events, self._events = self._events, {}
        for invocation, lines in events.items():
            self._bus.signal(f"event.{invocation}", b"\n".join(lines))


def _told(message: Message, status: Status) -> Invocation:
    unrecorded = message.unrecorded
    asked = unrecorded.requested_device if unrecorded else message.device
    version = unrecorded.version if unrecorded else ""
    return Invocation(message, asked, version, status, callback=message.callback)
