"""The invocations of this gateway that are not over: from acceptance to the stored outcome.

Every change of an invocation happens here, on the event loop: it is accepted and published, a
worker reports on it, somebody waits for it, follows or cancels it.  What is terminal and stored is
forgotten; the ledger has it.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field

import orjson

from runtime.brokers import QueueSpec
from runtime.brokers.memory import MemoryBroker
from runtime.capture import Capture
from runtime.errors import Conflict, Overloaded, Unavailable
from runtime.ledger import Attempt, Ledger
from runtime.model import (
    Failure,
    Invocation,
    Message,
    Outcome,
    Status,
    queue_name,
)
from runtime.process import ReplicaProcess
from runtime.recorder import Recorder
from runtime.telemetry import Metrics

log = logging.getLogger(__name__)

MAX_EVENTS = 1000  # progress events kept for a follower that comes late
MAX_UNREAD = 10_000  # events kept for a follower that reads slowly
SHORT = 10.0  # seconds; who waits for longer is answered up to a second late
GIVEN_BACK_LIMIT = 20  # deliveries of one invocation, whoever dies

Event = tuple[str, bytes]  # name and JSON


@dataclass(slots=True)
class _Story:
    """What somebody may follow: the events so far, the output so far, and who listens."""

    events: deque[Event] = field(default_factory=lambda: deque(maxlen=MAX_EVENTS))
    output: Capture = field(default_factory=Capture)
    followers: list[asyncio.Queue[Event]] = field(default_factory=list)


class Invocations:
    """Accepts, tracks and finishes invocations; the `Reporter` of the embedded worker."""

    def __init__(
        self, broker: MemoryBroker, ledger: Ledger, metrics: Metrics, queue_limit: int
    ) -> None:
        self.live: dict[str, Invocation] = {}
        self.recorder = Recorder(ledger, self._stored)
        self.stop_running: Callable[[str], bool] = lambda _: False  # the worker's
        self.draining = False
        self._broker = broker
        self._ledger = ledger
        self._metrics = metrics
        self._limit = queue_limit
        self._waiting: dict[str, list[asyncio.Future[Invocation]]] = {}
        self._patient: dict[asyncio.Future[Invocation], tuple[float, Invocation]] = {}
        self._patience: asyncio.TimerHandle | None = None
        self._stories: dict[str, _Story] = {}
        self._accepting: dict[str, int] = {}  # by queue: committed soon, published then
        self._keys: dict[str, str] = {}  # ids of live invocations, by idempotency key
        self._creating = asyncio.Lock()

    # ── accepting ─────────────────────────────────────────────────────────────────────────────

    async def submit(self, invocation: Invocation, *, durable: bool) -> None:
        """Accept an invocation and put it into its queue.

        `durable` returns only once it is committed to the ledger, and so survives anything.
        Raises Overloaded where the queue is full, Unavailable while draining or where the ledger
        cannot be written; then nothing of it remains.
        """
        message = invocation.message
        queue = queue_name(message.function, message.device)
        self._admit(queue, message)
        self.live[message.id] = invocation
        if not durable:
            self.recorder.note(invocation)
            self._broker.publish_now(queue, message)
            return
        self._accepting[queue] = self._accepting.get(queue, 0) + 1
        try:
            await self.recorder.accept(invocation)
        except BaseException:
            self.live.pop(message.id, None)
            raise
        finally:
            self._accepting[queue] -= 1
        if not invocation.terminal:  # it may have been cancelled meanwhile
            self._broker.publish_now(queue, message)

    async def submit_once(self, invocation: Invocation) -> Invocation:
        """Accept an invocation unless its id or idempotency key was used before.

        Gives the invocation that there is, durable in either case; Conflict where the earlier one
        had another function, device or input.
        """
        async with self._creating:
            earlier = await self._earlier(invocation)
            if earlier is None:
                await self.submit(invocation, durable=True)
                if invocation.idempotency_key:
                    self._keys[invocation.idempotency_key] = invocation.id
                return invocation
        if earlier.fingerprint != invocation.fingerprint:
            what = "idempotency key" if invocation.idempotency_key else "id"
            raise Conflict(
                f"this {what} was used for invocation {earlier.id} of {earlier.message.function!r}"
                " with another input or device: send the same input, or a new key"
            )
        return earlier

    async def resume(self, max_attempts: Callable[[str], int]) -> int:
        """Queue every unfinished invocation of the ledger again; returns how many.

        One that was running when the node went down has lost an attempt.
        """
        resumed = 0
        async for chunk in self._ledger.unfinished():
            self.recorder.adopt([invocation.id for invocation in chunk])
            for invocation in chunk:
                if invocation.id in self.live:
                    continue  # accepted since the start
                await self._resume(invocation, max_attempts(invocation.message.function))
            resumed += len(chunk)
        return resumed

    async def _resume(self, invocation: Invocation, max_attempts: int) -> None:
        message = invocation.message
        self.live[message.id] = invocation
        if invocation.status is Status.RUNNING:
            message.attempt += 1
            invocation.status = Status.QUEUED
        if message.attempt > max(GIVEN_BACK_LIMIT, max_attempts):
            text = f"the node ended in each of {message.attempt - 1} attempts"
            self._finish(invocation, Status.DEAD, Failure("NodeDied", text))
            return
        queue = queue_name(message.function, message.device)
        await self._broker.declare([QueueSpec(queue)])
        self._broker.publish_now(queue, message)

    def _admit(self, queue: str, message: Message) -> None:
        if self.draining:
            raise Unavailable("this node is shutting down: send it again in a moment", 5)
        waiting = self._broker.depth_now(queue).ready + self._accepting.get(queue, 0)
        if waiting >= self._limit:
            rate = self._metrics.drain_rate((message.function, message.device))
            # The time until a tenth of the queue is free again, at the rate of the last minute.
            after = round(self._limit / 10 / rate) if rate else 30
            raise Overloaded(
                f"{waiting:,} invocations of {message.function!r} wait on {message.device}, which"
                f" is the limit (LUMBRE_QUEUE_LIMIT); {rate:.1f} finish per second",
                max(1, min(after, 300)),
            )

    async def _earlier(self, invocation: Invocation) -> Invocation | None:
        key = invocation.idempotency_key
        if key is None:
            return await self.get(invocation.id)
        if (id := self._keys.get(key)) and (live := self.live.get(id)):
            return live
        stored = await self._ledger.by_idempotency_key(key)
        return self.live.get(stored.id, stored) if stored else None

    # ── asking ────────────────────────────────────────────────────────────────────────────────

    async def get(self, invocation: str) -> Invocation | None:
        """An invocation by id, live or stored."""
        return self.live.get(invocation) or await self._ledger.get(invocation)

    async def wait(self, invocation: Invocation, seconds: float) -> bool:
        """Wait until it is terminal; False if that took longer, or the node drains first."""
        if invocation.terminal:
            return True
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Invocation] = loop.create_future()
        waiting = self._waiting.setdefault(invocation.id, [])
        waiting.append(future)
        # Most are answered long before: a timer of its own costs more than the rest of a wait.
        timer = loop.call_later(seconds, _resolve, future, invocation) if seconds < SHORT else None
        if timer is None:
            self._patient[future] = (loop.time() + seconds, invocation)
            if self._patience is None:
                self._patience = loop.call_later(SHORT, self._lose_patience)
        try:
            await future
        finally:
            if timer:
                timer.cancel()
            else:
                del self._patient[future]
            if (left := self._waiting.get(invocation.id)) and future in left:
                left.remove(future)
                if not left:
                    del self._waiting[invocation.id]
        return invocation.terminal

    def _lose_patience(self) -> None:
        """Answer those who have waited for too long; one timer serves all who wait for long."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for future, (until, invocation) in self._patient.items():
            if until <= now:
                _resolve(future, invocation)
        self._patience = loop.call_later(1, self._lose_patience) if self._patient else None

    def follow(self, invocation: Invocation) -> AsyncGenerator[Event, None]:
        """Its events so far and as they come, ending with the terminal one.

        None that comes after this call is missed, however late the first is asked for.
        """
        if invocation.terminal:
            return self._tell_over(invocation)
        story = self._stories.setdefault(invocation.id, _Story())
        queue: asyncio.Queue[Event] = asyncio.Queue()
        queue.put_nowait(("queued", self._told(invocation, Status.QUEUED)))
        if invocation.started_at is not None:
            queue.put_nowait(("running", self._told(invocation, Status.RUNNING)))
        for event in story.events:
            queue.put_nowait(event)
        if story.output.written:
            queue.put_nowait(("log", orjson.dumps({"text": story.output.text()})))
        story.followers.append(queue)
        return self._tell_live(invocation, story, queue)

    async def _tell_over(self, invocation: Invocation) -> AsyncGenerator[Event, None]:
        yield "queued", self._told(invocation, Status.QUEUED)
        if invocation.started_at is not None:
            yield "running", self._told(invocation, Status.RUNNING)
        yield invocation.status.value, self._told(invocation, invocation.status)

    async def _tell_live(
        self, invocation: Invocation, story: _Story, queue: asyncio.Queue[Event]
    ) -> AsyncGenerator[Event, None]:
        try:
            while True:
                name, data = await queue.get()
                if name in _TERMINAL_NAMES:
                    break
                yield name, data
        finally:
            story.followers.remove(queue)
        yield invocation.status.value, self._told(invocation, invocation.status)

    def output(self, invocation: str) -> str:
        """What a running invocation has written so far."""
        story = self._stories.get(invocation)
        return story.output.text() if story else ""

    # ── cancelling ────────────────────────────────────────────────────────────────────────────

    async def cancel(self, invocation: Invocation) -> bool:
        """Stop it: queued it never runs, running it is stopped within a second.

        False if it was terminal already.
        """
        if invocation.terminal:
            return False
        message = invocation.message
        queue = queue_name(message.function, message.device)
        removed = await self._broker.remove(queue, message.id)
        if invocation.terminal:
            return False
        if not removed:
            self.stop_running(message.id)
        self._finish(invocation, Status.CANCELLED, Failure("Cancelled", "somebody cancelled it"))
        await self.recorder.flush()
        return True

    def release_waiters(self, *, running: bool) -> None:
        """The node drains: answer those who wait for what is queued, or for what runs, too.

        They get a 202, since the ledger has it and it goes on at the next start.
        """
        self.draining = True
        for id, futures in list(self._waiting.items()):
            invocation = self.live.get(id)
            if invocation is None or running or invocation.status is not Status.RUNNING:
                for future in futures:
                    if not future.done():
                        future.set_result(None)  # type: ignore[arg-type]

    # ── what the worker reports ───────────────────────────────────────────────────────────────

    def started(self, message: Message, process: ReplicaProcess, at: float) -> None:
        invocation = self.live.get(message.id)
        if invocation is None or invocation.terminal:
            return
        invocation.status = Status.RUNNING
        invocation.started_at = at
        invocation.replica = process.name
        invocation.message = message  # the delivery's: its attempt counts
        ready_at = process.ready_at or at
        invocation.cold = not process.served and ready_at > message.created_at
        self.recorder.note(invocation)
        if message.id in self._stories:
            self._tell(message.id, ("running", self._told(invocation, Status.RUNNING)))

    def progressed(self, message: Message, event: bytes) -> None:
        story = self._stories.setdefault(message.id, _Story())
        story.events.append(("progress", event))
        self._tell(message.id, ("progress", event))

    def wrote(self, message: Message, data: bytes) -> None:
        story = self._stories.setdefault(message.id, _Story())
        story.output.add(data)
        if story.followers:
            text = data.decode(errors="replace")
            self._tell(message.id, ("log", orjson.dumps({"text": text})))

    def retried(
        self, message: Message, process: ReplicaProcess, error: Failure, started_at: float
    ) -> None:
        now = time.time()
        self.recorder.attempt(
            Attempt(
                message.id, message.attempt, process.name, message.device, started_at, now, error
            )
        )
        if (invocation := self.live.get(message.id)) and not invocation.terminal:
            invocation.status = Status.QUEUED
            invocation.message = message  # the delivery's: its attempt counts
            self.recorder.note(invocation)
            if message.id in self._stories:
                self._tell(message.id, ("queued", self._told(invocation, Status.QUEUED)))

    def finished(self, message: Message, process: ReplicaProcess, outcome: Outcome) -> None:
        invocation = self.live.get(message.id)
        if invocation is None or invocation.terminal:
            return
        invocation.message = message  # a batch may end before any of it is seen to start
        invocation.result = outcome.result
        invocation.blobs = outcome.blobs
        invocation.log = outcome.log
        invocation.timings = _timings(invocation, process, outcome)
        self._finish(invocation, outcome.status, outcome.error)

    def _finish(self, invocation: Invocation, status: Status, error: Failure | None) -> None:
        invocation.status = status
        invocation.error = error
        invocation.finished_at = time.time()
        self.recorder.note(invocation)
        self._metrics.observe(invocation)
        if futures := self._waiting.pop(invocation.id, None):
            for future in futures:
                _resolve(future, invocation)
        if self._stories and (story := self._stories.pop(invocation.id, None)):
            if story.output.written and invocation.log is None:
                invocation.log = story.output.text()
            for queue in story.followers:
                queue.put_nowait((status.value, b""))

    def _stored(self, invocations: Sequence[Invocation]) -> None:
        for invocation in invocations:
            self.live.pop(invocation.id, None)
            if invocation.idempotency_key:
                self._keys.pop(invocation.idempotency_key, None)

    # ── telling followers ─────────────────────────────────────────────────────────────────────

    def _tell(self, invocation: str, event: Event) -> None:
        for queue in self._stories[invocation].followers:
            if queue.qsize() >= MAX_UNREAD:
                with contextlib.suppress(asyncio.QueueEmpty):
                    queue.get_nowait()
            queue.put_nowait(event)

    @staticmethod
    def _told(invocation: Invocation, status: Status) -> bytes:
        """The data of a status event; a terminal one carries the result, if it is small JSON."""
        told: dict[str, object] = {
            "id": invocation.id,
            "status": status.value,
            "attempt": invocation.message.attempt,
            "device": invocation.message.device,
        }
        if status is Status.RUNNING:
            told |= {"replica": invocation.replica, "cold": invocation.cold}
        if invocation.terminal and status is invocation.status:
            told["timings"] = invocation.timings
            if error := invocation.error:
                told["error"] = {"type": error.type, "message": error.message} | error.details
            if (result := invocation.result) and result.data and result.media_type == _JSON:
                told["result"] = orjson.Fragment(result.data)
        return orjson.dumps(told)


_JSON = "application/json"
_TERMINAL_NAMES = frozenset(("succeeded", "failed", "timed_out", "cancelled", "dead"))


def _resolve(future: asyncio.Future[Invocation], invocation: Invocation) -> None:
    if not future.done():
        future.set_result(invocation)


def _timings(invocation: Invocation, process: ReplicaProcess, outcome: Outcome) -> dict[str, float]:
    """Where the time went, in seconds: waiting, cold start, running, and the function's phases."""
    message = invocation.message
    started = invocation.started_at or message.created_at
    waited = max(0.0, started - message.created_at)
    start = 0.0
    if invocation.cold and process.ready_at is not None:
        start = max(0.0, process.ready_at - max(message.created_at, process.spawned_at))
    timings = {"queue": max(0.0, waited - start), "start": start, "run": outcome.run}
    return timings | outcome.phases if outcome.phases else timings
