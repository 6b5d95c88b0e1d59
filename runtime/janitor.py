"""Keeps the ledger and the blob store from growing without bound.

What ended long ago is deleted, with its blobs, and so is what is more than is to be kept.  It is
done in small pieces with pauses as long as each took, so that writing is never held up, and by one
process at a time.  A blob store belongs to one ledger: what no record of it knows is removed.
"""

import asyncio
import heapq
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from runtime.blobs import Blobs
from runtime.errors import LumbreError
from runtime.holdings import Holding, holdings
from runtime.ledger import Ledger, Purged
from runtime.rollup import WIDTHS
from runtime.settings import Settings

FIRST = 10.0  # seconds from the start to the first sweep
INTERVAL = 60.0  # seconds between two sweeps
LEASE = 180.0  # seconds; a janitor that dies is replaced after them
ROLLUPS = {5: 2 * 3600.0, 60: 2 * 86_400.0}  # seconds for which those of a width are kept
AT_ONCE = 200  # rows in a transaction, and invocations whose blobs are looked at
UNCLAIMED = 86_400.0  # seconds after which a blob without a record is nobody's
WALK_SHARE = 20  # a walk over the store takes at most one part in so many of the time

# Ids of our own making.  Folders with other names, if they are not the caller's invocations, may be
# somebody's who keeps more in this place than our blobs.
_OWN = re.compile(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}")

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Swept:
    """What one sweep has removed."""

    invocations: int = 0
    trimmed: int = 0  # scaling decisions and empty batches
    unclaimed: int = 0  # invocations' blobs, of which the ledger has no record
    blob_bytes: int | None = None  # what the store held before; None where it was not looked at

    def __bool__(self) -> bool:
        return bool(self.invocations or self.trimmed or self.unclaimed)


@dataclass(slots=True)
class _Oldest:
    """The invocations that ended longest ago, as many as have so many bytes between them."""

    wanted: int
    size: int = 0
    heap: list[tuple[float, str, int]] = field(default_factory=list)  # the latest first

    def add(self, holding: Holding, ended_at: float) -> None:
        heapq.heappush(self.heap, (-ended_at, holding.invocation, holding.size))
        self.size += holding.size
        while self.heap and self.size - self.heap[0][2] >= self.wanted:
            self.size -= heapq.heappop(self.heap)[2]

    def ids(self) -> list[str]:
        """The oldest first."""
        return [id for _, id, _ in sorted(self.heap, reverse=True)]


class Janitor:
    """Sweeps a ledger and a blob store; `run` it as a task, and cancel that to stop.

    `age` (seconds), `count` (invocations) and `size` (bytes of blobs) are what is kept of what has
    ended; 0 sets no bound.  `holder` names this process.
    """

    def __init__(
        self,
        ledger: Ledger,
        blobs: Blobs,
        holder: str,
        *,
        age: float,
        count: int,
        size: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._retention = ledger.retention
        self._blobs = blobs
        self._holder = holder
        self._age = age
        self._count = count or None
        self._size = size
        self._clock = clock
        self._leased_until = float("-inf")  # by the monotonic clock
        self._walk_at = float("-inf")

    async def run(self) -> None:
        """Sweep for ever, a minute apart, whenever no other process does."""
        await asyncio.sleep(FIRST)
        while True:
            try:
                if await self._has_lease():
                    self._tell(await self.sweep())
            except (LumbreError, OSError) as error:
                log.warning("janitor: this sweep is given up: %s", error)
            except Exception:  # whatever it is, the next sweep may do better
                log.exception("janitor: this sweep is given up")
            await asyncio.sleep(INTERVAL)

    async def sweep(self) -> Swept:
        """Remove once what need not be kept; what it was."""
        swept = Swept()
        older_than = self._clock() - self._age if self._age else None
        await self._purge_old(swept, older_than)
        await self._trim(swept, older_than)
        await self._fade(older_than)
        if time.monotonic() >= self._walk_at:
            began = time.monotonic()
            await self._sweep_store(swept)
            self._walk_at = time.monotonic() + WALK_SHARE * (time.monotonic() - began)
        return swept

    async def _purge_old(self, swept: Swept, older_than: float | None) -> None:
        async def purge() -> int:
            gone = await self._retention.purge(older_than, self._count, AT_ONCE)
            await self._forget(swept, gone)
            return len(gone)

        if older_than is not None or self._count is not None:
            await self._in_pieces(purge)

    async def _trim(self, swept: Swept, older_than: float | None) -> None:
        async def trim() -> int:
            gone = await self._retention.trim(older_than, self._count, AT_ONCE)
            swept.trimmed += gone
            return gone

        await self._in_pieces(trim)

    async def _fade(self, older_than: float | None) -> None:
        """Forget the past in detail; in long stretches it is kept as long as invocations are.

        Some of it goes every minute, so nobody is told.
        """
        now = self._clock()
        before = {width: now - kept for width, kept in ROLLUPS.items()}
        if older_than is not None:
            before = {width: max(before.get(width, 0.0), older_than) for width in WIDTHS}

        async def fade() -> int:
            return await self._retention.fade(before, older_than, AT_ONCE)

        await self._in_pieces(fade)

    async def _sweep_store(self, swept: Swept) -> None:
        """Remove what is nobody's, then what is too much."""
        total = 0
        async for some in self._walk():
            unclaimed = await self._unclaimed(some)
            await self._delete_blobs(unclaimed)
            swept.unclaimed += len(unclaimed)
            total += sum(each.size for each in some if each.invocation not in unclaimed)
        swept.blob_bytes = total
        if self._size and total > self._size:
            await self._purge_largely(swept, total - self._size)

    async def _unclaimed(self, some: Sequence[Holding]) -> set[str]:
        """Those whose blobs nobody has a record of, long after they were written."""
        before = self._clock() - UNCLAIMED
        old = {
            each.invocation
            for each in some
            if _OWN.fullmatch(each.invocation)
            and each.changed_at is not None
            and each.changed_at < before
        }
        return old - (await self._retention.ends_among(old)).keys() if old else set()

    async def _purge_largely(self, swept: Swept, excess: int) -> None:
        """Delete those with blobs that ended longest ago, until so many bytes are gone."""
        oldest = _Oldest(excess)
        async for some in self._walk():
            ends = await self._retention.ends_among([each.invocation for each in some])
            for each in some:
                if (ended_at := ends.get(each.invocation)) is not None and each.size:
                    oldest.add(each, ended_at)
        pieces = _pieces(oldest.ids())

        async def purge() -> int:
            if (ids := next(pieces, None)) is None:
                return 0
            await self._forget(swept, await self._retention.purge_among(ids))
            return len(ids)

        await self._in_pieces(purge)

    async def _forget(self, swept: Swept, gone: Collection[Purged]) -> None:
        """Delete the blobs of what the ledger has forgotten; left over, they are nobody's."""
        swept.invocations += len(gone)
        await self._delete_blobs([each.id for each in gone if each.has_blobs])

    async def _delete_blobs(self, ids: Collection[str]) -> None:
        def delete() -> None:
            for id in ids:
                self._blobs.delete(id)

        if ids:
            await asyncio.to_thread(delete)

    async def _walk(self) -> AsyncIterator[list[Holding]]:
        """What the store holds, with pauses, until this process is no longer the janitor."""
        found = holdings(self._blobs, AT_ONCE)
        while True:
            began = time.monotonic()
            some = await asyncio.to_thread(next, found, None)
            if some is None or not await self._has_lease():
                return
            yield some
            await asyncio.sleep(time.monotonic() - began)

    async def _in_pieces(self, step: Callable[[], Awaitable[int]]) -> None:
        """Take steps with pauses, until one finds less than it might take."""
        while await self._has_lease():
            began = time.monotonic()
            if await step() < AT_ONCE:
                return
            await asyncio.sleep(time.monotonic() - began)

    async def _has_lease(self) -> bool:
        """Whether no other process is the janitor; asked anew when a third of the lease is over."""
        if time.monotonic() < self._leased_until - LEASE * 2 / 3:
            return True
        asked_at = time.monotonic()
        if await self._ledger.lease("janitor", self._holder, LEASE):
            self._leased_until = asked_at + LEASE
            return True
        self._leased_until = float("-inf")
        return False

    @staticmethod
    def _tell(swept: Swept) -> None:
        if swept:
            log.info(
                "janitor: invocations=%d trimmed=%d unclaimed=%d",
                swept.invocations,
                swept.trimmed,
                swept.unclaimed,
            )


def _pieces(ids: list[str]) -> Iterator[list[str]]:
    return (ids[start : start + AT_ONCE] for start in range(0, len(ids), AT_ONCE))


def janitor_of(settings: Settings, ledger: Ledger, blobs: Blobs, holder: str) -> Janitor:
    """The janitor that settings ask for."""
    return Janitor(
        ledger,
        blobs,
        holder,
        age=settings.retention_age,
        count=settings.retention_count,
        size=settings.retention_bytes,
    )
