"""The invocations of a gateway whose workers are elsewhere, behind a broker.

The ledger is the record and the broker holds the work; here is only what somebody waits for now.
A call that is awaited goes to its queue at once, and its answer comes straight from the worker; the
recorder writes it down meanwhile.  A call that is accepted (202) is committed to the ledger, then
to its queue, and then forgotten here.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import replace

from runtime.bus import Bus
from runtime.errors import Unavailable
from runtime.invocations import Invocations
from runtime.ledger import Ledger
from runtime.model import Depth, Failure, Invocation, Status, Unrecorded, queue_name
from runtime.problem import BROKER_AWAY
from runtime.stories import Event
from runtime.telemetry import Metrics
from runtime.wire import Report, Unreadable, decode_reports

NOTE_AFTER = 0.3  # seconds after which a call that is awaited gets a row of its own
ASK_EVERY = 0.5  # seconds between two looks into the ledger for those that are awaited
ASKED_AT_ONCE = 500  # ids in one query
LATE = 1.0  # seconds after which an answer may have been lost
TELL_LIMIT = 2.0  # seconds that a caller waits for the workers to be told of a cancellation
WAKE_EVERY = 0.2  # seconds between two calls for replicas of one queue

log = logging.getLogger(__name__)


class RemoteInvocations(Invocations):
    """Accepts for workers elsewhere, and waits for what they tell."""

    sole = False

    def __init__(
        self,
        bus: Bus,
        ledger: Ledger,
        metrics: Metrics,
        queue_limit: int,
        depth: Callable[[str], Depth],
        asleep: Callable[[str], bool],
    ) -> None:
        super().__init__(ledger, metrics, queue_limit)
        self._bus = bus
        self._depth = depth  # how full a queue was when it was last looked at
        self._asleep = asleep  # whether a queue has no replicas, as far as is known
        self._woken: dict[str, float] = {}  # loop time of the last call for replicas, by queue
        self._asking: asyncio.Task[None] | None = None
        self._uncancelled: set[str] = set()  # cancelled here, and the broker was away
        self._publishing: set[asyncio.Future[None]] = set()  # accepted, and not confirmed yet
        self._promised: set[str] = set()  # calls whose callers were told 202 meanwhile
        self.observes = False  # no recorder in this process counts what is finished
        bus.on_answer = self._answered

    def start(self) -> None:
        """Begin to look after what is awaited."""
        self._asking = asyncio.create_task(self._ask(), name="awaited")

    async def close(self) -> None:
        if self._asking:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    # ── accepting ─────────────────────────────────────────────────────────────────────────────

    async def submit(self, invocation: Invocation, *, durable: bool, awaited: bool = True) -> None:
        message = invocation.message
        queue = queue_name(message.function, message.device)
        self._admit(self._depth(queue).ready, message)
        if self._asleep(queue):
            self._wake(queue)
        if durable:
            await self._accept(queue, invocation, awaited)
        else:
            self._call(queue, invocation)

    def _call(self, queue: str, invocation: Invocation) -> None:
        """Send what is awaited: its answer says that it was done, its record is the recorder's."""
        id = invocation.id
        if not self._bus.connected or self._bus.blocked:
            raise Unavailable(_away(self._bus), 2)
        invocation.message.unrecorded = Unrecorded(invocation.requested_device, invocation.version)
        # Should it get a row and this process end before the confirm, the feeder publishes it.
        invocation.published = False
        self.live[id] = invocation

        def settled(error: Exception | None) -> None:
            if error is None:
                invocation.published = True
                noted = self.recorder.is_stored(id) or id not in self.live
                if noted and not invocation.terminal:
                    self.recorder.published(id)
            elif id in self.live:
                self._refused(invocation, error)

        self._bus.send(queue, invocation.message, reply=True, settled=settled)

    def _refused(self, invocation: Invocation, error: Exception) -> None:
        """The broker did not take it: its caller is told, and its row, if it has one, ends here.

        Unless somebody was promised its outcome: then the feeder publishes it later.
        """
        if invocation.id in self._promised:
            log.warning("invocation=%s is published later: %s", invocation.id, error)
            self._forget(invocation)
            return
        invocation.status = Status.CANCELLED
        invocation.finished_at = time.time()
        invocation.error = Failure(BROKER_AWAY, _why(error))
        if self.recorder.is_stored(invocation.id):
            self.recorder.note(invocation)
        self._forget(invocation)
        self._over(invocation)

    async def _accept(self, queue: str, invocation: Invocation, awaited: bool) -> None:
        """Ledger row, then confirmed publish.

        Once the row is committed it is accepted: should the broker go away just then, the feeder
        publishes it later.
        """
        if not self._bus.connected or self._bus.blocked:
            raise Unavailable(_away(self._bus), 2)
        invocation.published = False
        invocation.message.callback = invocation.callback
        if awaited:
            self.live[invocation.id] = invocation
        try:
            await self.recorder.accept(invocation)
        except BaseException:
            self.live.pop(invocation.id, None)
            raise
        if invocation.terminal:  # it was cancelled meanwhile
            return
        try:
            await self._publish(queue, invocation, reply=awaited)
        except Unavailable as error:
            log.warning("invocation=%s is published later: %s", invocation.id, error)
        else:
            invocation.published = True
            self.recorder.published(invocation.id)
        if not awaited:
            self.recorder.forget(invocation.id)

    async def _publish(self, queue: str, invocation: Invocation, *, reply: bool) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def settled(error: Exception | None) -> None:
            if future.done():
                return
            if error:
                future.set_exception(Unavailable(_why(error), 2))
            else:
                future.set_result(None)

        self._publishing.add(future)
        self._bus.send(queue, invocation.message, reply=reply, settled=settled)
        try:
            await future
        finally:
            self._publishing.discard(future)

    async def secure(self, invocation: Invocation) -> None:
        """Give an awaited call a row; from then on it is not given up, should it be refused."""
        if invocation.terminal:
            return
        self._promised.add(invocation.id)
        if not self.recorder.is_stored(invocation.id):
            self.recorder.note(invocation)
            await self.recorder.flush()

    def _wake(self, queue: str) -> None:
        """Call for replicas: a message goes to a queue that nobody is known to consume."""
        now = asyncio.get_running_loop().time()
        if now > self._woken.get(queue, 0.0) + WAKE_EVERY:
            self._woken[queue] = now
            self._bus.signal(f"wake.{queue}", b"")

    def release_waiters(self, *, running: bool) -> None:
        """Those whose row is committed get their 202: the feeder sees to the publish."""
        super().release_waiters(running=running)
        for future in self._publishing:
            if not future.done():
                future.set_exception(Unavailable("this gateway is shutting down", 5))

    # ── asking ────────────────────────────────────────────────────────────────────────────────

    async def get(self, invocation: str) -> Invocation | None:
        live = self.live.get(invocation)
        if live and live.terminal:
            return live
        return await self._ledger.get(invocation) or live

    async def listen(self, invocation: str) -> None:
        await super().listen(invocation)
        await self._bus.subscribe(f"event.{invocation}")

    async def unlisten(self, invocation: str) -> None:
        await super().unlisten(invocation)
        if invocation not in self._stories:
            await self._bus.unsubscribe(f"event.{invocation}")

    def follow(self, invocation: Invocation) -> AsyncGenerator[Event, None]:
        return self._follow(invocation, super().follow(invocation))

    async def _follow(
        self, invocation: Invocation, story: AsyncGenerator[Event, None]
    ) -> AsyncGenerator[Event, None]:
        pattern = f"event.{invocation.id}"
        await self._bus.subscribe(pattern)
        try:
            async with contextlib.aclosing(story) as events:
                async for event in events:
                    yield event
        finally:
            await self.unlisten(invocation.id)

    def signalled(self, key: str, body: bytes) -> None:
        """What a worker tells of an invocation that somebody follows here: `name JSON` lines."""
        kind, _, id = key.partition(".")
        if kind != "event" or id not in self._stories:
            return
        for line in body.split(b"\n"):
            name, _, data = line.partition(b" ")
            self._stories.relay(id, name.decode(), data)

    # ── cancelling ────────────────────────────────────────────────────────────────────────────

    async def cancel(self, invocation: Invocation) -> bool:
        if invocation.terminal:
            return False
        cancelled = replace(
            invocation,
            status=Status.CANCELLED,
            error=Failure("Cancelled", "somebody cancelled it"),
            finished_at=time.time(),
        )
        self.recorder.note(cancelled)
        await self.recorder.flush()
        stored = await self._ledger.get(invocation.id)
        if stored and stored.status is not Status.CANCELLED:
            return False  # it ended in between, and the first terminal status wins
        take_over(invocation, cancelled)
        self._finish(invocation)
        try:
            # It is cancelled already, and a caller need not wait for a broker that does not answer:
            # a gateway that drained meanwhile would have to break the request off.
            async with asyncio.timeout(TELL_LIMIT):
                await self._bus.cancel(invocation.id)
        except (Unavailable, TimeoutError):
            self._uncancelled.add(invocation.id)  # told as soon as the broker is back
        return True

    # ── what comes back ───────────────────────────────────────────────────────────────────────

    def _answered(self, body: bytes) -> None:
        """A worker's answer to this gateway."""
        try:
            for report in decode_reports(body):
                if isinstance(report, Report):
                    self._heard(report.invocation)
        except Unreadable as error:
            log.warning("an answer cannot be read: %s", error)

    def _heard(self, told: Invocation) -> None:
        invocation = self.live.get(told.message.id)
        if invocation is None or invocation.terminal:
            return
        take_over(invocation, told)
        message = invocation.message
        message.attempt, message.device = told.message.attempt, told.message.device
        self._finish(invocation)

    def _finish(self, invocation: Invocation) -> None:
        if self.observes:
            self._metrics.observe(invocation)
        self._forget(invocation)
        self._over(invocation)

    def _forget(self, invocation: Invocation) -> None:
        self.live.pop(invocation.message.id, None)
        self._promised.discard(invocation.message.id)
        self.recorder.forget(invocation.message.id)
        if invocation.idempotency_key:
            self._keys.pop(invocation.idempotency_key, None)

    def recorded(self, invocations: Iterable[Invocation]) -> None:
        """A recorder in this process has written these: answer whoever still waits for them."""
        for invocation in invocations:
            if invocation.id in self._waiters or invocation.id in self._stories:
                self._end(invocation)

    def _stored(self, invocations: Sequence[Invocation]) -> None:
        self.recorded(invocations)
        self.on_stored(invocations)

    def _end(self, stored: Invocation) -> None:
        """The ledger says that it is over; the live one, if there is one, takes that over."""
        live = self.live.get(stored.id)
        if live is None:
            self._over(stored)
        elif not live.terminal:
            take_over(live, stored)
            live.message.attempt, live.message.device = (
                stored.message.attempt,
                stored.message.device,
            )
            self._finish(live)

    async def _ask(self) -> None:
        """Ask the ledger about everything that is awaited: an answer may be lost, a row is not."""
        while True:
            await asyncio.sleep(ASK_EVERY)
            try:
                self._note_slow()
                await self._ask_once()
                await self._tell_cancelled()
            except Unavailable as error:
                log.debug("cannot ask about what is awaited: %s", error)

    def _note_slow(self) -> None:
        """Give rows to calls that take long, so that others can see and cancel them.

        And forget those that nobody waits for any more and that are safe without this process.
        """
        before = time.time() - NOTE_AFTER
        for id, invocation in list(self.live.items()):
            if invocation.message.created_at > before or invocation.terminal:
                continue
            if not self.recorder.is_stored(id):
                self.recorder.note(invocation)
            elif id not in self._waiters and id not in self._stories:
                self._forget(invocation)

    async def _ask_once(self) -> None:
        before = time.time() - LATE
        awaited = {*self._waiters, *self._stories}
        late = [
            id
            for id in awaited
            if (live := self.live.get(id)) is None or live.message.created_at < before
        ]
        for start in range(0, len(late), ASKED_AT_ONCE):
            for stored in await self._ledger.terminal_among(late[start : start + ASKED_AT_ONCE]):
                self._end(stored)

    async def _tell_cancelled(self) -> None:
        for id in list(self._uncancelled):
            await self._bus.cancel(id)
            self._uncancelled.discard(id)


def take_over(invocation: Invocation, told: Invocation) -> None:
    """Take over how it ended, or where it is, from what somebody else tells of it."""
    invocation.status = told.status
    invocation.started_at = told.started_at
    invocation.finished_at = told.finished_at
    invocation.timings = told.timings
    invocation.cold = told.cold
    invocation.replica = told.replica
    invocation.error = told.error
    invocation.result = told.result
    invocation.blobs = told.blobs
    invocation.log = told.log


def _why(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"there is no queue {error}, and it cannot be declared"
    return f"{error}"


def _away(bus: Bus) -> str:
    if bus.connected:
        return f"RabbitMQ takes nothing now ({bus.blocked}): try again in a moment"
    return "the broker is away: try again in a moment"
