"""Batches: many inputs of one function, accepted, told of and stopped as one.

The items are rows of the ledger before anything else.  They wait there, in nobody's memory, until
all have come and the batch is accepted as a whole; then the feeder (`runtime.feeder`) takes them to
their queue.  What is not accepted, because an item is wrong, its caller went away or this process
died, never runs, and is taken away.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from runtime.errors import (
    BadRequest,
    Conflict,
    InvalidInput,
    LumbreError,
    NotFound,
    TooLarge,
    Unavailable,
)
from runtime.intake import MAX_FAULTS, Validator, parse_object
from runtime.invocations import Invocations
from runtime.ledger import Batch, BatchState, Ledger
from runtime.model import (
    INLINE_LIMIT,
    Device,
    Failure,
    Invocation,
    Message,
    Payload,
    Status,
    new_id,
)
from runtime.query import Headers, trace_of
from runtime.recorder import Recorder

AT_ONCE = 500  # rows on their way to the ledger while as many more are made
AT_ONCE_BYTES = 4 * 2**20  # of their input, likewise
PRIORITY = -1  # whoever calls meanwhile goes first, where the broker knows priorities
ABANDONED = 300.0  # seconds without an item after which a batch that comes in is given up
SWEEP_EVERY = 30.0  # seconds between two looks for what others have left behind
CANCEL_WAIT = 1.0  # seconds that whoever cancels a batch waits for its items to be cancelled
ON_THEIR_WAY = 2000  # items that a feeder elsewhere may have in hand when a batch is cancelled

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Item:
    """One input as it came: a JSON object, and where it stood, for whoever has to mend it."""

    data: bytes
    where: str = ""  # `line 7`


@dataclass(frozen=True, slots=True)
class Order:
    """What a batch is to run, and as whose."""

    validator: Validator  # and thereby the function
    asked: str  # the device that was asked for
    device: Device
    key: str | None = None  # of idempotency
    headers: Headers = field(default_factory=dict)  # of the request: its trace is the items'


class Batches:
    """Accepts batches, and stops them; `start` and `close` it with the process."""

    def __init__(
        self, ledger: Ledger, invocations: Invocations, wake: Callable[[], None] = lambda: None
    ) -> None:
        self._ledger = ledger
        self._invocations = invocations
        self._wake = wake  # the feeder, where it is in this process
        self._tasks: dict[str, asyncio.Task[None]] = {}  # what is being ended, by batch
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self, *, alone: bool) -> None:
        """Take up what an earlier process left behind.

        `alone` says that no other process accepts batches into this ledger now: then what is half
        accepted is nobody's, and what is cancelled is so when this returns.
        """
        if alone:
            for id in await self._ledger.batch_rows.unstopped():
                await self._stop(id)
            await self._take_up(time.time())
        self._sweeping = asyncio.create_task(self._sweep(), name="batches")

    async def close(self) -> None:
        """Stop; what is not done is found by whoever starts next."""
        tasks = [*self._tasks.values(), *([self._sweeping] if self._sweeping else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ── accepting ─────────────────────────────────────────────────────────────────────────────

    async def accept(
        self,
        order: Order,
        items: AsyncIterator[Sequence[Item]],
        fingerprint: Callable[[], str],
    ) -> Batch:
        """Accept a batch once all its items have come, or nothing of it.

        `fingerprint` tells all that came from anything else, once it has come.  The batch that
        there is, if it was accepted before under the same key.  Raises InvalidInput with the faults
        of the first items that have any, Conflict for a key of another batch, and Unavailable
        where the ledger cannot be written or the node drains.
        """
        if order.key is not None and (earlier := await self._ledger.batch_by_key(order.key)):
            async for _ in items:
                continue
            return _same(earlier, fingerprint())
        batch = Batch(new_id(), order.validator.spec.name, order.asked, time.time())
        await self._ledger.add_batch(batch)
        coming = _Coming(self._invocations.recorder, batch, order)
        try:
            async for some in items:
                self._refuse_while_draining()
                await coming.take(some)
            total = await coming.finish()
            told = fingerprint() if order.key is not None else None
            rows = self._ledger.batch_rows
            accepted = await rows.accept(batch.id, total, order.key, told)
        except BaseException:
            self._begin(batch.id, self._drop(batch.id, coming.settled()))
            raise
        if not accepted:
            return await self._refused(batch, order.key, told)
        self._wake()
        return replace(batch, state=BatchState.ACCEPTED, total=total)

    def _refuse_while_draining(self) -> None:
        if self._invocations.draining:
            raise Unavailable("this node is shutting down: send the batch again in a moment", 5)

    async def _refused(self, batch: Batch, key: str | None, told: str | None) -> Batch:
        """All of it came, and somebody was first: to use its key, to cancel it, or to drop it."""
        now = await self._ledger.batch(batch.id)
        if now and now.state is BatchState.CANCELLED:
            self._begin(batch.id, self._stop(batch.id))
            raise Conflict(f"batch {batch.id} was cancelled while it came in: send it again")
        self._begin(batch.id, self._drop(batch.id))
        if key is not None and (earlier := await self._ledger.batch_by_key(key)):
            return _same(earlier, told)
        raise Conflict("the batch came in too slowly and was given up: send it again")

    # ── telling ───────────────────────────────────────────────────────────────────────────────

    async def get(self, id: str) -> Batch:
        """A batch by id; NotFound, also for one that was never accepted and is being dropped."""
        batch = await self._ledger.batch(id)
        if batch is None or batch.state is BatchState.DROPPED:
            raise NotFound(f"there is no batch {id[:80]!r}; the latest are at /batches")
        return batch

    # ── ending ────────────────────────────────────────────────────────────────────────────────

    async def cancel(self, batch: Batch) -> Batch:
        """Stop it: what is queued never runs, and what runs is stopped; Conflict if it is over.

        Returns once it is certain; the last of many items may take longer.
        """
        rows = self._ledger.batch_rows
        (progress,) = await rows.progress([batch])
        if progress.finished:
            if batch.state is BatchState.CANCELLED:
                return batch
            raise Conflict(f"batch {batch.id} cannot be cancelled: all of its items are over")
        self._invocations.revoked.add(batch.id)
        try:
            await self._ledger.set_batch_state(batch.id, BatchState.CANCELLED)
        except BaseException:
            self._invocations.revoked.discard(batch.id)
            raise
        stopping = self._begin(batch.id, self._stop(batch.id))
        await asyncio.wait([stopping], timeout=CANCEL_WAIT)
        return await self.get(batch.id)

    async def _stop(self, id: str) -> None:
        """Cancel every item of a cancelled batch that is not over."""
        live, after, doubtful = self._invocations.live, -1, ON_THEIR_WAY
        while found := await self._ledger.batch_rows.unfinished(id, after, AT_ONCE):
            after = max(row.batch_index or 0 for row in found)
            held, known = [], []
            for row in found:
                if row.id in live:
                    known.append(live[row.id])
                elif not self._invocations.sole and (row.published or doubtful > 0):
                    doubtful -= not row.published
                    known.append(row)
                else:
                    held.append(row)
            await asyncio.gather(*map(self._invocations.cancel, known))
            await self._cancel_held(held)

    async def _cancel_held(self, rows: Iterable[Invocation]) -> None:
        """Cancel items that nobody has but the ledger."""
        recorder = self._invocations.recorder
        for row in rows:
            row.status, row.finished_at = Status.CANCELLED, time.time()
            row.error = Failure("Cancelled", "its batch was cancelled")
            recorder.adopt([row.id])
            recorder.note(row)
        await recorder.flush()

    async def _drop(self, id: str, settled: Awaitable[Any] | None = None) -> None:
        """Take away what was never accepted, once all that was on its way has `settled`."""
        if settled:
            await settled
        while await self._ledger.drop_batch(id, AT_ONCE) == AT_ONCE:
            continue

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            try:
                await self._take_up(time.time() - ABANDONED)
            except LumbreError as error:
                log.debug("batches cannot be looked after now: %s", error)

    async def _take_up(self, before: float) -> None:
        """Drop what nobody accepts any more, and stop what somebody began to stop."""
        rows = self._ledger.batch_rows
        for id in await rows.unaccepted(before):
            self._begin(id, self._drop(id))
        for id in await rows.unstopped():
            self._begin(id, self._stop(id))

    def _begin(self, id: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """End a batch on the side; one that is being ended already is not ended twice."""
        if task := self._tasks.get(id):
            work.close()
            return task
        task = self._tasks[id] = asyncio.create_task(work)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.pop(id, None)
            if not task.cancelled() and (error := task.exception()):
                unexpected = None if isinstance(error, LumbreError) else error
                log.warning("batch=%s is not ended yet: %s", id, error, exc_info=unexpected)

        task.add_done_callback(ended)
        return task


class _Coming:
    """A batch that comes in: makes rows of its items, some ahead of those that are committed."""

    def __init__(self, recorder: Recorder, batch: Batch, order: Order) -> None:
        self._recorder = recorder
        self._batch = batch
        self._order = order
        self._count = 0  # items so far
        self._faults: list[tuple[str, str]] = []
        self._earlier: dict[str, Awaitable[None]] = {}  # rows that are being written, by id
        self._latest: dict[str, Awaitable[None]] = {}
        self._bytes = 0  # of input of the latest

    async def take(self, items: Iterable[Item]) -> None:
        """Take the next items; InvalidInput once there are as many faults as are told at once."""
        for item in items:
            if self._is_good(item) and not self._faults:
                self._write(item)
            self._count += 1
        if len(self._faults) >= MAX_FAULTS:
            raise self._invalid()
        if len(self._latest) >= AT_ONCE or self._bytes >= AT_ONCE_BYTES:
            await self._advance()

    async def finish(self) -> int:
        """All have come: how many, once every one of them is committed."""
        if self._faults:
            raise self._invalid()
        if not self._count:
            raise InvalidInput("items", "has none: send one at least")
        await self._advance()
        await self._advance()
        return self._count

    async def settled(self) -> None:
        """Return once nothing is on its way to the ledger any more, whatever became of it."""
        await asyncio.gather(
            *self._earlier.values(), *self._latest.values(), return_exceptions=True
        )

    async def _advance(self) -> None:
        """Wait until the rows before the latest are committed."""
        await asyncio.gather(*self._earlier.values())
        for id in self._earlier:
            self._recorder.forget(id)  # it is the feeder's from here on
        self._earlier, self._latest, self._bytes = self._latest, {}, 0

    def _is_good(self, item: Item) -> bool:
        if len(item.data) > INLINE_LIMIT:
            raise TooLarge(
                f"item {self._count} has more than {INLINE_LIMIT:,} bytes: invoke the function with"
                " it by itself, and batch the others"
            )
        at = f"/items/{self._count}"
        try:
            self._order.validator.check(parse_object(item.data, item.where or "the item"))
        except InvalidInput as error:
            place = f" ({item.where})" if item.where else ""
            self._faults += [(at + pointer, detail + place) for pointer, detail in error.errors]
        except BadRequest as error:
            self._faults.append((at, str(error)))
        else:
            return True
        return False

    def _invalid(self) -> InvalidInput:
        first, *more = self._faults[:MAX_FAULTS]
        return InvalidInput(*first, *more)

    def _write(self, item: Item) -> None:
        order, id = self._order, new_id()
        spec, payload = order.validator.spec, Payload(item.data)
        trace = trace_of(id, order.headers)
        now = time.time()
        message = Message(id, spec.name, order.device, payload, now, 1, PRIORITY, trace)
        invocation = Invocation(message, order.asked, spec.version, published=False)
        invocation.batch, invocation.batch_index = self._batch.id, self._count
        self._latest[id] = self._recorder.accept(invocation)
        self._bytes += len(item.data)


def _same(earlier: Batch, told: str | None) -> Batch:
    """The batch that was accepted under a key, if it was the same; Conflict if not."""
    if earlier.fingerprint != told:
        raise Conflict(
            f"this idempotency key was used for batch {earlier.id} of {earlier.function!r} with"
            " other items or another device: send the same, or a new key"
        )
    return earlier
