"""The outcomes of a batch for whoever reads along: as they come or in order, each of them once.

What is remembered of those that were told is a bit each.  No clock and no order of commits decides
what is seen: the ledger is asked again and again which items are over, at the pace it answers.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from operator import attrgetter

from runtime.batch_rows import ItemOutcome
from runtime.errors import Unavailable
from runtime.ledger import BatchState, Ledger

PAGE = 10_000  # items that are looked at at once
LEAST, MOST = 20, 500  # outcomes that are read at once: each may have 256 KiB of result,
AT_ONCE_BYTES = 4 * 2**20  # and all of them together about so many bytes
FIRST_PAUSE, LAST_PAUSE = 0.05, 1.0  # seconds between two looks; longer while nothing ends
SHARE = 5  # looking takes no more than one part in so many of the time


class BatchResults:
    """Reads the outcomes of one batch from the ledger."""

    def __init__(
        self, ledger: Ledger, batch: str, draining: Callable[[], bool] = lambda: False
    ) -> None:
        self._ledger = ledger
        self._batch = batch
        self._draining = draining
        self._at_once = LEAST
        self._looked = 0.0  # seconds that the latest look took

    async def as_they_end(
        self, after: int = -1, *, wait: bool = True
    ) -> AsyncIterator[list[ItemOutcome]]:
        """Outcomes of items beyond an index, a few at a time, until all are over.

        Without `wait`, those that there are now.  Raises Unavailable where the process drains, or
        the batch is taken away, before all were told.
        """
        told = _Told(after)
        pause = FIRST_PAUSE
        while True:
            over = await self._is_over()
            new = False
            async for some in self._untold(told):
                yield some
                new = True
            if over or not wait:
                return
            pause = FIRST_PAUSE if new else min(2 * pause, LAST_PAUSE)
            await asyncio.sleep(max(pause, SHARE * self._looked))

    async def in_order(
        self, after: int = -1, *, wait: bool = True
    ) -> AsyncIterator[list[ItemOutcome]]:
        """The same by index: with `wait`, each once all before it are over."""
        pause = FIRST_PAUSE
        while True:
            over = await self._is_over()
            end = await self._ledger.batch_rows.first_unfinished(self._batch, after)
            last = after
            async for some in self._before(end if wait else None, after):
                yield some
                last = some[-1].index
            if over or not wait:
                return
            pause = FIRST_PAUSE if last > after else min(2 * pause, LAST_PAUSE)
            after = last
            await asyncio.sleep(max(pause, SHARE * self._looked))

    async def _is_over(self) -> bool:
        """Whether nothing of it is left to end; what has ended by now is found from now on."""
        if self._draining():
            raise Unavailable("this node is shutting down: ask again in a moment", 5)
        batch = await self._ledger.batch(self._batch)
        if batch is None or batch.state is BatchState.DROPPED:
            raise Unavailable(f"batch {self._batch} was never accepted: send it again", 5)
        left = await self._ledger.batch_rows.first_unfinished(self._batch, -1)
        return left is None and batch.state is not BatchState.ACCEPTING

    async def _untold(self, told: "_Told") -> AsyncIterator[list[ItemOutcome]]:
        async for page in self._pages(told.first_missing - 1):
            new = {index: id for index, id in page if index not in told}
            async for some in self._outcomes(new):
                yield sorted(some, key=attrgetter("finished_at", "index"))
            for index in new:
                told.add(index)

    async def _before(self, end: int | None, after: int) -> AsyncIterator[list[ItemOutcome]]:
        async for page in self._pages(after):
            near = {index: id for index, id in page if end is None or index < end}
            async for some in self._outcomes(near):
                yield sorted(some, key=attrgetter("index"))
            if len(near) < len(page):
                return

    async def _pages(self, after: int) -> AsyncIterator[list[tuple[int, str]]]:
        """Index and id of what is over, by index, from the one after this."""
        self._looked = 0.0
        while True:
            began = time.monotonic()
            page = await self._ledger.batch_finished(self._batch, after, PAGE)
            self._looked += time.monotonic() - began
            if page:
                yield page
            if len(page) < PAGE:
                return
            after = page[-1][0]

    async def _outcomes(self, ids: dict[int, str]) -> AsyncIterator[list[ItemOutcome]]:
        known = list(ids.values())
        while known:
            some = await self._ledger.batch_rows.outcomes(known[: self._at_once])
            del known[: self._at_once]
            if some:
                self._at_once = _fitting(some)
                yield some


def _fitting(outcomes: list[ItemOutcome]) -> int:
    """How many such outcomes may be read at once."""
    size = sum(o.result.size for o in outcomes if o.result and o.result.data is not None)
    return min(MOST, max(LEAST, AT_ONCE_BYTES * len(outcomes) // (size + 1)))


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
