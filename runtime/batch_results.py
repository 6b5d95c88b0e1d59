"""The outcomes of a batch for whoever reads along: as they come or in order, each of them once.

What is remembered of those that were told is a bit each.  No clock and no order of commits decides
what is seen: the ledger is asked again and again which items are over, at the pace it answers.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from runtime.errors import Unavailable
from runtime.ledger import BatchState, Ledger
from runtime.model import Invocation

PAGE = 10_000  # items that are looked at at once
AT_ONCE = 50  # outcomes that are read at once; each may have 256 KiB of result
FIRST_PAUSE, LAST_PAUSE = 0.05, 1.0  # seconds between two looks; longer while nothing ends
SHARE = 5  # a look that takes long is followed by a pause of so many times its length


class BatchResults:
    """Reads the outcomes of one batch from the ledger."""

    def __init__(
        self, ledger: Ledger, batch: str, draining: Callable[[], bool] = lambda: False
    ) -> None:
        self._ledger = ledger
        self._batch = batch
        self._draining = draining

    async def as_they_end(
        self, after: int = -1, *, wait: bool = True
    ) -> AsyncIterator[list[Invocation]]:
        """Outcomes of items beyond an index, a few at a time, until all are over.

        Without `wait`, those that there are now.  Raises Unavailable where the process drains, or
        the batch is taken away, before all were told.
        """
        told = _Told(after)
        pause = FIRST_PAUSE
        while True:
            began = time.monotonic()
            over = await self._is_over()
            new = False
            async for some in self._untold(told):
                yield some
                new = True
            if over or not wait:
                return
            pause = FIRST_PAUSE if new else min(2 * pause, LAST_PAUSE)
            await asyncio.sleep(max(pause, SHARE * (time.monotonic() - began)))

    async def in_order(
        self, after: int = -1, *, wait: bool = True
    ) -> AsyncIterator[list[Invocation]]:
        """The same by index: with `wait`, each once all before it are over."""
        pause = FIRST_PAUSE
        while True:
            over = await self._is_over()
            end = await self._ledger.batch_rows.first_unfinished(self._batch, after)
            last = after
            async for some in self._before(end if wait else None, after):
                yield some
                last = some[-1].batch_index or 0
            if over or not wait:
                return
            pause = FIRST_PAUSE if last > after else min(2 * pause, LAST_PAUSE)
            after = last
            await asyncio.sleep(pause)

    async def _is_over(self) -> bool:
        """Whether nothing of it is left to end; what has ended by now is found from now on."""
        if self._draining():
            raise Unavailable("this node is shutting down: ask again in a moment", 5)
        batch = await self._ledger.batch(self._batch)
        if batch is None or batch.state is BatchState.DROPPED:
            raise Unavailable(f"batch {self._batch} was never accepted: send it again", 5)
        left = await self._ledger.batch_rows.first_unfinished(self._batch, -1)
        return left is None and batch.state is not BatchState.ACCEPTING

    async def _untold(self, told: "_Told") -> AsyncIterator[list[Invocation]]:
        async for page in self._pages(told.first_missing - 1):
            new = {index: id for index, id in page if index not in told}
            async for some in self._outcomes(new):
                yield sorted(some, key=lambda i: (i.finished_at or 0.0, i.batch_index))
            for index in new:
                told.add(index)

    async def _before(self, end: int | None, after: int) -> AsyncIterator[list[Invocation]]:
        async for page in self._pages(after):
            near = {index: id for index, id in page if end is None or index < end}
            async for some in self._outcomes(near):
                yield sorted(some, key=lambda i: i.batch_index or 0)
            if len(near) < len(page):
                return

    async def _pages(self, after: int) -> AsyncIterator[list[tuple[int, str]]]:
        """Index and id of what is over, by index, from the one after this."""
        page = await self._ledger.batch_finished(self._batch, after, PAGE)
        while page:
            yield page
            if len(page) < PAGE:
                return
            page = await self._ledger.batch_finished(self._batch, page[-1][0], PAGE)

    async def _outcomes(self, ids: dict[int, str]) -> AsyncIterator[list[Invocation]]:
        known = list(ids.values())
        for start in range(0, len(known), AT_ONCE):
            if some := await self._ledger.batch_rows.outcomes(known[start : start + AT_ONCE]):
                yield some


class _Told:
    """Indices that were told, a bit each; those up to `after` count as told."""

    def __init__(self, after: int) -> None:
        self.first_missing = after + 1
        self._base = after + 1
        self._bits = bytearray()

    def __contains__(self, index: int) -> bool:
        place, bit = divmod(index - self._base, 8)
        return index < self._base or (place < len(self._bits) and self._bits[place] >> bit & 1 == 1)

    def add(self, index: int) -> None:
        place, bit = divmod(index - self._base, 8)
        if place >= len(self._bits):
            self._bits += bytes(place + 1 - len(self._bits))
        self._bits[place] |= 1 << bit
        while self.first_missing in self:
            self.first_missing += 1
