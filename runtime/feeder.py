"""From the ledger to the queues: what is accepted and not published, is published.

Batches are accepted as rows and fed from there, so that a hundred thousand inputs are held by the
ledger and not by anybody's memory.  And an invocation whose gateway died between the row and the
publish finds its way here.  One process does it at a time, under a lease; should two overlap, a
message goes out twice and its outcome is recorded once.
"""

import asyncio
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
LOOK_EVERY = 1.0  # seconds
LEASE = 10.0  # seconds

Publish = Callable[[Sequence[Invocation]], Awaitable[Sequence[str]]]

log = logging.getLogger(__name__)


class Feeder:
    """Publishes unpublished invocations; `publish` gives the ids that it took."""

    def __init__(self, ledger: Ledger, recorder: Recorder, publish: Publish, holder: str) -> None:
        self._ledger = ledger
        self._recorder = recorder
        self._publish = publish
        self._holder = holder
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
            try:
                if await self._ledger.lease("feeder", self._holder, LEASE):
                    while await self.feed() == AT_ONCE:
                        await self._ledger.lease("feeder", self._holder, LEASE)
            except LumbreError as error:
                log.debug("nothing is fed now: %s", error)
            try:
                await asyncio.wait_for(self._wake.wait(), LOOK_EVERY)
            except TimeoutError:
                continue

    async def feed(self) -> int:
        """Publish what the ledger holds, up to AT_ONCE; returns how many were taken."""
        rows = await self._ledger.unpublished(time.time() - FORGOTTEN, AT_ONCE)
        if not rows:
            return 0
        taken = await self._publish(rows)
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
