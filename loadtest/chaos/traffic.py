"""All that callers do to a deployment in one run, and what it tells of that afterwards."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self
from uuid import uuid4

from loadtest.chaos.asker import Asker, outcome
from loadtest.chaos.batch import Batches, batches
from loadtest.chaos.caller import Callers
from loadtest.chaos.order import FUNCTIONS, Way, orders
from loadtest.chaos.receipt import Receipts
from loadtest.chaos.record import UNFINISHED, Reader, Record
from loadtest.chaos.watcher import Watcher

DRAIN_LIMIT = 180.0  # seconds until nothing is queued or running any more
LOOK_EVERY = 0.5  # seconds


@dataclass(frozen=True, slots=True)
class Told:
    """What a deployment says, once everything is over."""

    listed: Sequence[Record]
    audits: Sequence[Mapping[str, Any]]  # of every gateway
    large: Mapping[str, str | None]  # digests of results that no row holds
    changed: Sequence[str]  # sentences about records that were terminal and changed


class Traffic(AbstractAsyncContextManager["Traffic"]):
    """The orders of one run, evenly over so many seconds, and what became of them."""

    def __init__(self, urls: Sequence[str], seed: int, count: int, seconds: float) -> None:
        self.receipts = Receipts()
        self._urls = urls
        self._seed, self._count = seed, count
        self._each = seconds / max(1, count)
        self._since = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        run = uuid4().hex[:8]
        self._asker = Asker(urls, self.receipts)
        self._callers = Callers(self._asker, self.receipts, run)
        self._batches = Batches(self._asker, self.receipts, run)
        self._reader = Reader(urls)
        self._watcher = Watcher(self._reader, self.receipts)
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._watching = asyncio.create_task(self._watcher.watch())
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._stop_watching()
        await self._asker.close()
        await self._reader.close()

    async def give(self) -> None:
        """Give all orders, one by one and in batches; returns when all are taken."""
        given = list(orders(self._seed, self._count))
        alone = [order for order in given if order.way is not Way.BATCH]
        together = [order for order in given if order.way is Way.BATCH]
        async with asyncio.TaskGroup() as both:
            both.create_task(self._callers.give(alone, self._each))
            both.create_task(self._batches.give(batches(together, self._seed), self._each))

    async def drained(self) -> bool:
        """Wait until nothing of it is queued or running; False if that takes too long."""
        until = time.monotonic() + DRAIN_LIMIT
        while await self._unfinished():
            if time.monotonic() > until:
                return False
            await asyncio.sleep(LOOK_EVERY)
        return True

    async def told(self) -> Told:
        """Ask for everything once more."""
        await self._stop_watching()
        await self._batches.ask()
        listed = await self._reader.records(self._since)
        return Told(
            [record for record in listed if record.function in FUNCTIONS],
            [await self._reader.json("/audit", [url]) for url in self._urls],
            await self._large(),
            await self._watcher.changed(),
        )

    async def _unfinished(self) -> bool:
        for status in UNFINISHED:
            for function in FUNCTIONS:
                query = f"function={function}&status={status}&limit=1&since={self._since}"
                if (await self._reader.json(f"/invocations?{query}"))["items"]:
                    return True
        return False

    async def _large(self) -> dict[str, str | None]:
        found = {}
        for receipt in self.receipts.by_id.values():
            if receipt.order.function == "chaos_large":
                answer = await self._reader.get(f"/invocations/{receipt.id}/result")
                told = outcome(answer) if answer is not None else None
                found[receipt.id] = told.result if told else None
        return found

    async def _stop_watching(self) -> None:
        if self._watching:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
