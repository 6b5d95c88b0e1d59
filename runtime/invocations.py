"""The invocations of a gateway that are not over: accepted, awaited, followed, cancelled.

`Invocations` is what the HTTP side asks; `EmbeddedInvocations` is that of a node which is its own
broker and worker.  There, every change of an invocation happens here, on the event loop; what is
terminal and stored is forgotten, because the ledger has it.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from weakref import WeakValueDictionary

from runtime.brokers import QueueSpec
from runtime.brokers.memory import MemoryBroker
from runtime.errors import Conflict, Overloaded, Unavailable
from runtime.ledger import Ledger
from runtime.model import (
    Attempt,
    Failure,
    Invocation,
    Message,
    Outcome,
    Status,
    queue_name,
)
from runtime.pool import GIVEN_BACK_LIMIT
from runtime.process import ReplicaProcess
from runtime.recorder import Recorder
from runtime.stories import Event, Stories
from runtime.telemetry import Metrics
from runtime.timings import is_cold, timings
from runtime.waiting import Waiters


class Invocations(ABC):
    """What a gateway knows of the invocations that it accepted or is asked about."""

    sole: bool  # whether nobody else has what the ledger holds: what is not live, is nowhere

    def __init__(self, ledger: Ledger, metrics: Metrics, queue_limit: int) -> None:
        self.live: dict[str, Invocation] = {}
        self.recorder = Recorder(ledger, self._stored)
        self.draining = False
        self.on_stored: Callable[[Sequence[Invocation]], None] = lambda _: None  # terminal rows
        self.revoked: set[str] = set()  # batches of which nothing is queued any more
        self._ledger = ledger
        self._metrics = metrics
        self._limit = queue_limit
        self._waiters = Waiters()
        self._stories = Stories()
        self._keys: dict[str, str] = {}  # ids of live invocations, by idempotency key
        self._creating: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @abstractmethod
    async def submit(self, invocation: Invocation, *, durable: bool, awaited: bool = True) -> None:
        """Accept an invocation and put it into its queue.

        `durable` returns only once it survives anything; `awaited` says that somebody waits for
        its outcome here.  Raises Overloaded where the queue is full, Unavailable while draining,
        where the ledger cannot be written or the broker is away; then nothing of it runs on.
        """

    @abstractmethod
    async def secure(self, invocation: Invocation) -> None:
        """Return once an invocation that was submitted survives anything; Unavailable if not."""

    @abstractmethod
    async def cancel(self, invocation: Invocation) -> bool:
        """Stop it: queued it never runs, running it is stopped within a second.

        False if it was terminal already.
        """

    async def listen(self, invocation: str) -> None:
        """Somebody is about to follow it: miss nothing from now on."""
        self._stories.open(invocation)

    async def unlisten(self, invocation: str) -> None:
        """Nobody will, or nobody does any more."""
        self._stories.forget(invocation)

    async def submit_once(self, invocation: Invocation, *, awaited: bool = True) -> Invocation:
        """Accept an invocation unless its id or idempotency key was used before.

        Gives the invocation that there is, durable in either case; Conflict where the earlier one
        had another function, device or input.
        """
        async with self._alone(invocation):
            earlier = await self._earlier(invocation)
            if earlier is None:
                try:
                    await self.submit(invocation, durable=True, awaited=awaited)
                except Conflict:  # another gateway was first
                    earlier = await self._earlier(invocation)
                    if earlier is None:
                        raise
                else:
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

    def _alone(self, invocation: Invocation) -> asyncio.Lock:
        """What those hold, one after the other, who create under the same key or id here."""
        key = invocation.idempotency_key
        name = f"id {invocation.id}" if key is None else f"key {key}"
        lock = self._creating.get(name)
        if lock is None:
            lock = self._creating[name] = asyncio.Lock()
        return lock

    async def _earlier(self, invocation: Invocation) -> Invocation | None:
        key = invocation.idempotency_key
        return await self.get(invocation.id) if key is None else await self.by_key(key)

    async def by_key(self, key: str) -> Invocation | None:
        """The invocation that was created under an idempotency key, live or stored."""
        if (id := self._keys.get(key)) and (live := self.live.get(id)):
            return live
        stored = await self._ledger.by_idempotency_key(key)
        return self.live.get(stored.id, stored) if stored else None

    async def get(self, invocation: str) -> Invocation | None:
        """An invocation by id, live or stored."""
        return self.live.get(invocation) or await self._ledger.get(invocation)

    async def wait(self, invocation: Invocation, seconds: float) -> Invocation | None:
        """The invocation once it is terminal; None if that takes longer, or the node drains."""
        if invocation.terminal:
            return invocation
        return await self._waiters.wait(invocation.id, seconds)

    def follow(self, invocation: Invocation) -> AsyncGenerator[Event, None]:
        """Its events so far and as they come, ending with the terminal one.

        None that comes after this call is missed, however late the first is asked for.
        """
        return self._stories.follow(invocation)

    def output(self, invocation: str) -> str:
        """What a running invocation has written so far, as far as it is known here."""
        return self._stories.output(invocation)

    def release_waiters(self, *, running: bool) -> None:
        """The node drains: answer those who wait for what is queued, or for what runs, too.

        They get a 202, since it is durable and goes on without this process.
        """
        self.draining = True

        def which(id: str) -> bool:
            invocation = self.live.get(id)
            return invocation is None or running or invocation.status is not Status.RUNNING

        self._waiters.release(which)

    def _admit(self, waiting: int, message: Message) -> None:
        """Raise where nothing more may be accepted."""
        if self.draining:
            raise Unavailable("this node is shutting down: send it again in a moment", 5)
        if waiting >= self._limit:
            rate = self._metrics.drain_rate((message.function, message.device))
            # The time until a tenth of the queue is free again, at the rate of the last minute.
            after = round(self._limit / 10 / rate) if rate else 30
            raise Overloaded(
                f"{waiting:,} invocations of {message.function!r} wait on {message.device}, which"
                f" is the limit (LUMBRE_QUEUE_LIMIT); {rate:.1f} finish per second",
                max(1, min(after, 300)),
            )

    def _over(self, invocation: Invocation) -> None:
        """It is terminal: answer whoever waits for it or follows it."""
        self._waiters.over(invocation)
        story = self._stories.over(invocation)
        if story and story.output.written and invocation.log is None:
            invocation.log = story.output.text()

    def _stored(self, invocations: Sequence[Invocation]) -> None:
        """The rows of these are terminal."""
        for invocation in invocations:
            self.live.pop(invocation.id, None)
            if invocation.idempotency_key:
                self._keys.pop(invocation.idempotency_key, None)
        self.on_stored(invocations)


class EmbeddedInvocations(Invocations):
    """Those of a node that is its own broker; the `Reporter` of its worker."""

    sole = True

    def __init__(
        self, broker: MemoryBroker, ledger: Ledger, metrics: Metrics, queue_limit: int
    ) -> None:
        super().__init__(ledger, metrics, queue_limit)
        self.stop_running: Callable[[str], bool] = lambda _: False  # the worker's
        self._broker = broker
        self._accepting: dict[str, int] = {}  # by queue: committed soon, published then

    # ── accepting ─────────────────────────────────────────────────────────────────────────────

    async def submit(self, invocation: Invocation, *, durable: bool, awaited: bool = True) -> None:
        message = invocation.message
        queue = queue_name(message.function, message.device)
        waiting = self._broker.depth_now(queue).ready + self._accepting.get(queue, 0)
        self._admit(waiting, message)
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

    async def feed(self, rows: Sequence[Invocation]) -> list[str]:
        """Queue invocations that the ledger has held back; the ids of those that are queued now."""
        taken = []
        for row in rows:
            if self.draining or row.batch in self.revoked:
                continue
            if row.id not in self.live:
                queue = queue_name(row.message.function, row.message.device)
                await self.ready(queue)
                row.published = True
                self.live[row.id] = row
                self.recorder.adopt([row.id])
                self._broker.publish_now(queue, row.message)
            taken.append(row.id)
        return taken

    async def ready(self, queue: str) -> int:
        """How many messages wait in a queue; that of a function which is gone is made again."""
        try:
            return self._broker.depth_now(queue).ready
        except KeyError:
            await self._broker.declare([QueueSpec(queue)])
            return 0

    async def secure(self, invocation: Invocation) -> None:
        if not self.recorder.is_stored(invocation.id):
            await self.recorder.flush()

    async def resume(self, max_attempts: Callable[[str], int]) -> int:
        """Queue every unfinished invocation of the ledger again; returns how many.

        One that was running when the node went down has lost an attempt.
        """
        resumed = 0
        async for chunk in self._ledger.unfinished():
            for invocation in chunk:
                if invocation.id in self.live:
                    continue  # accepted since the start
                await self._resume(invocation, max_attempts(invocation.message.function))
                resumed += 1
        return resumed

    async def _resume(self, invocation: Invocation, max_attempts: int) -> None:
        message = invocation.message
        self.recorder.adopt([message.id])
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

    # ── cancelling ────────────────────────────────────────────────────────────────────────────

    async def cancel(self, invocation: Invocation) -> bool:
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

    # ── what the worker reports ───────────────────────────────────────────────────────────────

    def started(self, message: Message, process: ReplicaProcess, at: float) -> None:
        invocation = self.live.get(message.id)
        if invocation is None or invocation.terminal:
            return
        invocation.status = Status.RUNNING
        invocation.started_at = at
        invocation.replica = process.name
        invocation.message = message  # the delivery's: its attempt counts
        invocation.cold = is_cold(message, process, at)
        self.recorder.note(invocation)
        self._stories.changed(invocation, Status.RUNNING)

    def progressed(self, message: Message, event: bytes) -> None:
        self._stories.progressed(message.id, event)

    def wrote(self, message: Message, data: bytes) -> None:
        self._stories.wrote(message.id, data)

    def retried(
        self,
        message: Message,
        process: ReplicaProcess,
        error: Failure,
        started_at: float,
        *,
        counted: bool = True,
    ) -> None:
        now = time.time()
        self.recorder.attempt(
            Attempt(
                message.id, message.attempt, process.name, message.device, started_at, now, error
            )
        )
        if (invocation := self.live.get(message.id)) and not invocation.terminal:
            invocation.status = Status.QUEUED
            invocation.message = replace(message, attempt=message.attempt + counted)
            self.recorder.note(invocation)
            self._stories.changed(invocation, Status.QUEUED)

    def given_up(self, message: Message, error: Failure) -> None:
        if (invocation := self.live.get(message.id)) and not invocation.terminal:
            self._finish(invocation, Status.DEAD, error)

    def finished(self, message: Message, process: ReplicaProcess, outcome: Outcome) -> None:
        invocation = self.live.get(message.id)
        if invocation is None or invocation.terminal:
            return
        invocation.message = message  # a batch may end before any of it is seen to start
        invocation.result = outcome.result
        invocation.blobs = outcome.blobs
        invocation.log = outcome.log
        started_at = invocation.started_at
        invocation.timings = timings(message, process, outcome, started_at, invocation.cold)
        self._finish(invocation, outcome.status, outcome.error)

    def _finish(self, invocation: Invocation, status: Status, error: Failure | None) -> None:
        invocation.status = status
        invocation.error = error
        invocation.finished_at = time.time()
        self.recorder.note(invocation)
        self._metrics.observe(invocation)
        self._over(invocation)
