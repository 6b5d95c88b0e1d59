"""Looks at some records again and again: what is terminal must never change."""

import asyncio
import random

from loadtest.chaos.asker import outcome
from loadtest.chaos.receipt import Receipts
from loadtest.chaos.record import Reader, Record, record_of

EVERY = 0.05  # seconds between two looks


class Watcher:
    """Remembers the first terminal record of every watched invocation, and its result."""

    def __init__(self, reader: Reader, receipts: Receipts) -> None:
        self.seen: dict[str, tuple[Record, str | None]] = {}
        self._reader = reader
        self._receipts = receipts

    async def watch(self) -> None:
        """Look at one after the other until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            unseen = [
                receipt.id
                for receipt in self._receipts.by_id.values()
                if receipt.order.watched and receipt.id not in self.seen
            ]
            if unseen:
                await self._look(random.choice(unseen))

    async def changed(self) -> list[str]:
        """Look at all of them once more; sentences about those that are another than before."""
        found = []
        for id, before in self.seen.items():
            now = await self._now(id)
            if now != before:
                found.append(f"{id} was {before} and is {now}")
        return found

    async def _look(self, id: str) -> None:
        now = await self._now(id)
        if now and now[0].terminal:
            self.seen[id] = now

    async def _now(self, id: str) -> tuple[Record, str | None] | None:
        """The record, and the digest of its result."""
        answer = await self._reader.get(f"/invocations/{id}")
        if answer is None or answer.status_code != 200:
            return None
        record = record_of(answer.json())
        if record.status != "succeeded":
            return record, None
        result = await self._reader.get(f"/invocations/{id}/result")
        told = outcome(result) if result is not None else None
        return (record, told.result) if told else None
