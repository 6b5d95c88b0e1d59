"""From the ledger to the queues: what is accepted and not published, is published.

Batches are accepted as rows and fed from there, a window at a time, so that a hundred thousand
inputs are held by the ledger and not by anybody's memory, and whoever calls meanwhile does not
stand behind all of them.  Batches of one queue take turns.  And an invocation whose gateway died
between the row and the publish finds its way here.  One process does it at a time, under a lease;
should two overlap, a message goes out twice and its outcome is recorded once.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from runtime.bus import Bus
from runtime.errors import LumbreError
from runtime.ledger import Ledger
from runtime.model import Invocation, queue_name
from runtime.recorder import Recorder

FORGOTTEN = 15.0  # seconds after which an unpublished invocation was left behind by its gateway
AT_ONCE = 500  # rows
TURNS = 50  # batches of one queue that take turns; the others come after them
LOOK_EVERY = 1.0  # seconds
LOOK_SOON = 0.1  # seconds, while batches wait for room
LEASE = 10.0  # seconds
WINDOW = 2000  # messages that may wait in a queue for one of a batch to join them
WINDOW_BYTES = 32 * 2**20  # of input, likewise
FIRST = 50  # of a batch, from which the size of its items is judged

Publish = Callable[[Sequence[Invocation]], Awaitable[Sequence[str]]]
Ready = Callable[[str], Awaitable[int]]

log = logging.getLogger(__name__)


class Feeder:
    """Publishes unpublished invocations.

    `publish` gives the ids that it took; `ready` tells how many messages wait in a queue now, and
    raises KeyError for one that is not there.
    """

    def __init__(
        self,
        ledger: Ledger,
        recorder: Recorder,
        publish: Publish,
        ready: Ready,
        holder: str,
        window: int = WINDOW,
    ) -> None:
        self._ledger = ledger
        self._recorder = recorder
        self._publish = publish
        self._ready = ready
        self._holder = holder
        self._window = max(1, window)
        self._windows: dict[str, int] = {}  # by batch, smaller where its items are large
        self._waiting = False  # whether batches have more to come
        self._until = 0.0  # loop time of the end of the lease, if it is ours
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="feeder")

    def wake(self) -> None:
        """There is something to feed: do not wait for the next look."""
        self._wake.set()

    async def close(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            more = False
            try:
                more = await self._leads() and await self.feed()
            except LumbreError as error:
                log.debug("nothing is fed now: %s", error)
            except Exception:  # whatever it is, what is held back must not stay so for ever
                log.exception("feeding failed, and is tried again")
            with contextlib.suppress(TimeoutError):
                # Not wait_for: in Python 3.11 it drops a cancellation that comes as it is woken.
                async with asyncio.timeout(LOOK_SOON if more else LOOK_EVERY):
                    await asyncio.sleep(0)  # the others have their turn, however often it is woken
                    await self._wake.wait()

    async def feed(self) -> bool:
        """Publish what the ledger holds, as far as there is room; whether batches wait for more."""
        while await self._feed_left_behind() and await self._leads():
            continue
        while await self._feed_batches() and await self._leads():
            continue
        return self._waiting

    async def _leads(self) -> bool:
        """Whether this process has the lease; asked for again in good time."""
        now = asyncio.get_running_loop().time()
        if now > self._until - LEASE / 2:
            ours = await self._ledger.lease("feeder", self._holder, LEASE)
            self._until = now + LEASE if ours else 0.0
        return self._until > now

    async def _feed_left_behind(self) -> bool:
        rows = await self._ledger.unpublished(time.time() - FORGOTTEN, AT_ONCE)
        return await self._take(rows) == AT_ONCE

    async def _feed_batches(self) -> int:
        """A turn for every batch whose queue has room; how many were taken."""
        queues: dict[str, list[str]] = {}
        for id, queue in await self._ledger.batch_rows.waiting():
            queues.setdefault(queue, []).append(id)
        self._waiting = bool(queues)
        known = self._windows
        self._windows = {id: known[id] for ids in queues.values() for id in ids if id in known}
        return sum([await self._feed_queue(queue, ids) for queue, ids in queues.items()])

    async def _feed_queue(self, queue: str, batches: Sequence[str]) -> int:
        """Share what room a queue has among its batches; none while it is more than half full."""
        try:
            ready = await self._ready(queue)
        except KeyError:
            return 0  # its function is gone, and may come back
        window = min(self._windows.get(id, self._window) for id in batches)
        if ready > window // 2:
            return 0
        turns = batches[:TURNS]
        share = min(AT_ONCE, max(1, (window - ready) // len(turns)))
        taken = 0
        for id in turns:
            limit = share if id in self._windows else min(share, FIRST)
            rows = await self._ledger.batch_rows.unpublished(id, limit)
            self._windows[id] = self._fitting(rows)
            taken += await self._take(rows)
        return taken

    def _fitting(self, rows: Sequence[Invocation]) -> int:
        """How many such inputs may wait in a queue."""
        sizes = [len(row.message.payload.parameters or b"") for row in rows]
        mean = sum(sizes) // len(sizes) + 1 if sizes else 1
        return min(self._window, max(FIRST, WINDOW_BYTES // mean))

    async def _take(self, rows: Sequence[Invocation]) -> int:
        """Publish rows and mark them so; how many."""
        taken = await self._publish(rows) if rows else ()
        for id in taken:
            self._recorder.published(id)
        if taken:
            await self._recorder.flush()
        return len(taken)


async def publish_all(bus: Bus, rows: Sequence[Invocation]) -> list[str]:
    """Publish to a bus, all at once; the ids of those that were confirmed."""
    loop = asyncio.get_running_loop()
    confirmed: list[str] = []
    done = loop.create_future()
    left = len(rows)

    def settled(id: str, error: Exception | None) -> None:
        nonlocal left
        left -= 1
        if error is None:
            confirmed.append(id)
        else:
            log.debug("invocation=%s is not fed now: %s", id, error)
        if not left and not done.done():
            done.set_result(None)

    if not rows:
        return []
    for row in rows:
        message = row.message
        message.callback = row.callback
        queue = queue_name(message.function, message.device)
        bus.send(queue, message, settled=partial(settled, row.id))
    await done
    return confirmed
