"""The one writer of the ledger: invocations go in one by one, and out in batches.

Everything here runs on one event loop and none of it in another thread.  What comes while a batch
is being written goes into the next (group commit), so a thousand acceptances at once cost a few
transactions, and an invocation that begins and ends between two writes is written once.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from runtime.errors import Conflict, Unavailable
from runtime.ledger import RETRY_AFTER, Attempt, Ledger, Written
from runtime.model import Invocation
from runtime.rows import merged

INTERVAL = 0.2  # seconds a noted change may wait for others
MAX_ROWS = 1000  # accepted, and as many noted, in one transaction
MAX_BYTES = 8 * 1024 * 1024  # of input, result and log, likewise
FIRST_BACKOFF = 0.1  # seconds until a failed write is tried again; doubles up to
LAST_BACKOFF = 2.0
STOPPING = "this node is stopping: try again"

log = logging.getLogger(__name__)

Stored = Callable[[Sequence[Invocation]], None]
_Acceptance = tuple[Invocation, "asyncio.Future[None]"]


@dataclass(frozen=True, slots=True)
class _Batch:
    """What one transaction takes."""

    accepted: list[_Acceptance]
    noted: dict[str, Invocation]
    attempts: list[Attempt]
    published: set[str]

    def __bool__(self) -> bool:
        return bool(self.accepted or self.noted or self.attempts or self.published)

    @property
    def invocations(self) -> list[Invocation]:
        return [invocation for invocation, _ in self.accepted] + list(self.noted.values())


@dataclass(slots=True)
class _Barrier:
    """A `flush` that waits: `ahead` of it are so many noted invocations, the first in line."""

    done: "asyncio.Future[None]"
    ahead: int


class Recorder:
    """Writes invocations to a ledger; `start` it, and `close` it before the ledger.

    `on_stored` is called with the invocations whose rows are terminal after a commit.
    """

    def __init__(self, ledger: Ledger, on_stored: Stored | None = None) -> None:
        self.healthy = True  # False from a failed write until one succeeds, and when stopped
        self._ledger = ledger
        self._on_stored = on_stored
        self._accepting: list[_Acceptance] = []
        self._noted: dict[str, Invocation] = {}
        self._attempts: list[Attempt] = []
        self._published: set[str] = set()
        self._known: set[str] = set()  # ids that have a row which is not terminal
        self._flushes: list[asyncio.Future[None]] = []
        self._barriers: list[_Barrier] = []
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._backoff = FIRST_BACKOFF
        self._fault: str | None = None  # while a failed write waits to be tried again

    async def start(self) -> None:
        """Begin to write; what was given before is written too."""
        self._task = asyncio.create_task(self._run(), name="recorder")

    def accept(self, invocation: Invocation) -> Awaitable[None]:
        """Store an invocation durably: what is returned is done once its row is committed.

        Raises Unavailable when the ledger cannot be written, and Conflict when the idempotency key
        is another invocation's; the invocation is not stored then, unless it was noted as well.
        Giving up the wait does not take the invocation back.
        """
        future = asyncio.get_running_loop().create_future()
        if self._closing:
            future.set_exception(Unavailable(STOPPING, RETRY_AFTER))
        elif self._fault is not None:
            future.set_exception(Unavailable(self._fault, RETRY_AFTER))
        else:
            self._accepting.append((invocation, future))
            self._wake.set()
        return future

    def note(self, invocation: Invocation) -> None:
        """See to it that the invocation's state, as it is when written, is stored soon.

        What is noted is never given up while the recorder runs: a failed write is tried again.
        Of two records of one invocation, told by different processes, the newer counts
        (`rows.is_newer`), and the input is that of whichever has it.
        """
        id = invocation.message.id
        if (noted := self._noted.get(id)) is not None:
            invocation = merged(noted, invocation)
        self._noted[id] = invocation
        if self._timer is None:
            self._arm()

    def published(self, id: str) -> None:
        """Mark the row of an accepted invocation, with the next batch: its message is in a queue.

        What is never marked, because this process ends before, is published once more.
        """
        self._published.add(id)
        if self._timer is None:
            self._arm()

    def attempt(self, attempt: Attempt) -> None:
        """Store an attempt that did not give the outcome, with the next batch."""
        self._attempts.append(attempt)
        if self._timer is None:
            self._arm()

    def is_stored(self, id: str) -> bool:
        """Whether an invocation that is not terminal has a row already."""
        return id in self._known

    def adopt(self, ids: Iterable[str]) -> None:
        """Say that these have a row that is not terminal, such as `Ledger.unfinished` gave.

        It saves sending their input again; leaving it out does no harm.
        """
        self._known.update(ids)

    def forget(self, id: str) -> None:
        """Nothing more will be told of this one here, whatever others write of it."""
        self._known.discard(id)

    async def flush(self) -> None:
        """Return once everything noted until now is committed.

        Raises Unavailable when a write fails meanwhile; what was noted is tried again all the same.
        """
        if self._task is not None and self._task.done():
            raise Unavailable(STOPPING, RETRY_AFTER)
        if self._fault is not None:
            raise Unavailable(self._fault, RETRY_AFTER)
        done = asyncio.get_running_loop().create_future()
        self._flushes.append(done)
        self._wake.set()
        await done

    async def close(self, grace: float = 5.0) -> None:
        """Write what is left, for at most `grace` seconds, and stop."""
        self._closing = True
        self._wake.set()
        if self._task is None:
            self._abandon()
            return
        _, late = await asyncio.wait([self._task], timeout=grace)
        if late:
            self._task.cancel()
            await asyncio.wait(late)
        else:
            self._task.result()

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._wake.set)

    async def _run(self) -> None:
        try:
            while self._waiting() or not self._closing:
                await self._wake.wait()
                await self._write_batch()
        finally:
            self._abandon()

    def _waiting(self) -> bool:
        waiting = self._accepting or self._noted or self._attempts or self._published
        return bool(waiting or self._flushes)

    async def _write_batch(self) -> None:
        self._wake.clear()
        self._disarm()
        self._barriers += [_Barrier(done, len(self._noted)) for done in self._flushes]
        self._flushes.clear()
        batch = self._take()
        # While unhealthy, an empty batch is written too: an idle node, that gets no traffic
        # because it is unhealthy, would stay so.
        if self.healthy and not batch:
            self._lower_barriers(0)
        elif not await self._write(batch):
            await self._pause()

    def _take(self) -> _Batch:
        """The first in line, as many as fit; the loop is woken for what is left."""
        count = _fitting(invocation for invocation, _ in self._accepting)
        accepted, self._accepting = self._accepting[:count], self._accepting[count:]
        count = _fitting(self._noted.values())
        noted, self._noted = self._noted, {}
        if count < len(noted):
            items = iter(noted.items())
            noted = dict(islice(items, count))
            self._noted = dict(items)
        attempts, self._attempts = self._attempts, []
        published, self._published = self._published, set()
        if self._accepting or self._noted:
            self._wake.set()
        return _Batch(accepted, noted, attempts, published)

    async def _write(self, batch: _Batch) -> bool:
        """Write a batch and tell whoever waits for it; False when it could not be written."""
        try:
            written = await self._ledger.write(
                batch.invocations, batch.attempts, self._known, batch.published
            )
        except asyncio.CancelledError:
            self._put_back(batch)
            raise
        except Exception as error:  # whatever it is, outcomes must survive it and be tried again
            self._put_back(batch)
            self._failed(error)
            return False
        self._succeeded()
        self._settle(batch, written)
        return True

    def _put_back(self, batch: _Batch) -> None:
        """Put the batch first in line again."""
        self._accepting = batch.accepted + self._accepting
        both = batch.noted.keys() & self._noted.keys()
        newest = {id: merged(batch.noted[id], self._noted[id]) for id in both}
        self._noted = batch.noted | self._noted | newest
        self._attempts = batch.attempts + self._attempts
        self._published |= batch.published

    def _failed(self, error: Exception) -> None:
        """Tell everybody who waits; what was noted is kept, and what was to be accepted is not."""
        if self.healthy:  # once, and not again until it has worked
            unexpected = None if isinstance(error, Unavailable) else error
            waiting = len(self._noted)
            log.error("ledger=unwritable noted=%d: %s", waiting, error, exc_info=unexpected)
        self.healthy = False
        self._fault = str(error)
        self._refuse(self._fault)

    def _refuse(self, reason: str) -> None:
        waiting = [future for _, future in self._accepting] + self._flushes
        for future in waiting + [barrier.done for barrier in self._barriers]:
            if not future.done():
                future.set_exception(Unavailable(reason, RETRY_AFTER))
        self._accepting, self._flushes, self._barriers = [], [], []

    def _succeeded(self) -> None:
        if not self.healthy:
            log.warning("ledger=writable")
        self.healthy = True
        self._backoff = FIRST_BACKOFF

    async def _pause(self) -> None:
        """Wait before the next try, in which time acceptances are refused at once."""
        await asyncio.sleep(self._backoff)
        self._backoff = min(2 * self._backoff, LAST_BACKOFF)
        self._fault = None
        self._wake.set()

    def _settle(self, batch: _Batch, written: Written) -> None:
        self._known.difference_update(invocation.id for invocation in batch.invocations)
        self._known.update(written.unfinished)
        refused = {invocation.id for invocation in written.refused}
        for invocation, future in batch.accepted:
            if future.done():
                continue
            if invocation.id in refused:
                future.set_exception(_key_taken(invocation))
            else:
                future.set_result(None)
        kept = {id: invocation for id, invocation in batch.noted.items() if id in refused}
        for invocation in kept.values():
            self._give_up_key(invocation)
        self._put_back(_Batch([], kept, [], set()))
        self._lower_barriers(len(batch.noted) - len(kept))
        if written.terminal and self._on_stored is not None:
            try:
                self._on_stored(written.terminal)
            except Exception:
                log.exception("on_stored failed: the rows are written all the same")

    def _give_up_key(self, invocation: Invocation) -> None:
        """An outcome must be recorded even when its idempotency key went to another invocation."""
        if invocation.idempotency_key is not None:
            log.warning("invocation=%s loses its idempotency key to another", invocation.id)
        invocation.idempotency_key = None
        self._known.discard(invocation.id)  # where there was no key, the row was taken away
        self._wake.set()

    def _lower_barriers(self, count: int) -> None:
        """Let every flush return whose last noted invocation was among the first `count`."""
        for barrier in self._barriers:
            barrier.ahead -= count
            if barrier.ahead <= 0 and not barrier.done.done():
                barrier.done.set_result(None)
        self._barriers = [barrier for barrier in self._barriers if not barrier.done.done()]

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _abandon(self) -> None:
        """Let nobody wait for a recorder that has ended."""
        self._closing = True
        self.healthy = False
        self._disarm()
        self._refuse(STOPPING)
        if self._noted or self._attempts:
            log.error("outcomes=%d attempts=%d not recorded", len(self._noted), len(self._attempts))


def _fitting(invocations: Iterable[Invocation]) -> int:
    """How many of the first fit into one transaction; at least one."""
    count, room = 0, MAX_BYTES
    for invocation in invocations:
        room -= _weight(invocation)
        if count and (room < 0 or count == MAX_ROWS):
            break
        count += 1
    return count


def _weight(invocation: Invocation) -> int:
    """About how many bytes its row takes."""
    parameters, result, log = (
        invocation.message.payload.parameters,
        invocation.result,
        invocation.log,
    )
    size = 500
    if parameters is not None:
        size += len(parameters)
    if result is not None and result.data is not None:
        size += len(result.data)
    return size if log is None else size + len(log)


def _key_taken(invocation: Invocation) -> Conflict:
    return Conflict(
        f"the idempotency key {invocation.idempotency_key!r} is another invocation's: ask for that"
        " one, or send another key"
    )
