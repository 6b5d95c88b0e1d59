"""Orders that are given many at a time, as batches."""

import asyncio
import itertools
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from loadtest.chaos.asker import Asker, Request
from loadtest.chaos.order import Order, digest
from loadtest.chaos.receipt import Receipts, Told

SIZE = 40  # orders
CANCELLED = 0.1  # of the batches
CANCEL_AFTER = 0.3  # seconds


@dataclass(frozen=True, slots=True)
class Batch:
    """Orders of one function that are sent together."""

    orders: tuple[Order, ...]
    cancelled: bool

    @property
    def number(self) -> int:
        """Of its last order: before that it is not sent."""
        return self.orders[-1].number


def batches(orders: Sequence[Order], seed: int) -> list[Batch]:
    """Orders put together by function; the same orders and seed give the same batches."""
    chance = random.Random(f"batches {seed}")
    found = [
        Batch(tuple(some), chance.random() < CANCELLED)
        for _, group in itertools.groupby(sorted(orders, key=_function), _function)
        for some in _by(SIZE, group)
    ]
    return sorted(found, key=lambda batch: batch.number)


class Batches:
    """Sends batches, and asks in the end what became of each item."""

    def __init__(self, asker: Asker, receipts: Receipts, run: str) -> None:
        self._asker = asker
        self._receipts = receipts
        self._run = run
        self._accepted: dict[str, Batch] = {}  # by id

    async def give(self, given: Sequence[Batch], each: float) -> None:
        """Send every batch when its last order is due, one order `each` so many seconds."""
        began = time.monotonic()
        for batch in given:
            await asyncio.sleep(began + batch.number * each - time.monotonic())
            await self._give(batch)

    async def ask(self) -> None:
        """Find the invocation of every item that was accepted; one that has none is lost."""
        for id, batch in self._accepted.items():
            answer = await self._asker.insist(Request("GET", f"/batches/{id}/results?wait=0"))
            if answer is not None and answer.status_code == 200:
                self._take(id, batch, [orjson.loads(line) for line in answer.content.splitlines()])
            else:
                text = answer.text if answer is not None else "nothing"
                self._receipts.problems.append(f"the results of batch {id}: {text}")

    async def _give(self, batch: Batch) -> None:
        function = batch.orders[0].function
        key = f"chaos-{self._run}-batch-{batch.number}"
        headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": key}
        body = b"\n".join(order.body for order in batch.orders)
        request = Request("POST", f"/batches?function={function}", headers, body)
        answer = await self._asker.insist(request)
        if answer is None:
            return
        if answer.status_code != 202:
            text = f"batch {key} was answered {answer.status_code}: {answer.text[:400]}"
            self._receipts.problems.append(text)
            return
        id = answer.json()["id"]
        self._accepted[id] = batch
        if batch.cancelled:
            await asyncio.sleep(CANCEL_AFTER)
            await self._asker.insist(Request("DELETE", f"/batches/{id}"))

    def _take(self, id: str, batch: Batch, lines: Sequence[Mapping[str, Any]]) -> None:
        told = {line["index"]: line for line in lines}
        if len(told) != len(lines) or len(lines) > len(batch.orders):
            text = f"batch {id} of {len(batch.orders)} has {len(lines)} results, {len(told)} items"
            self._receipts.problems.append(text)
        for index, order in enumerate(batch.orders):
            line = told.get(index)
            if line is None:
                self._receipts.accepted(order, f"{id}/{index}")
                continue
            self._receipts.accepted(order, line["id"], may_be_cancelled=batch.cancelled)
            if not batch.cancelled:
                result = digest(line["result"]) if "result" in line else None
                self._receipts.ended(order, line["id"], Told(line["status"], 0, result))


def _function(order: Order) -> str:
    return order.function


def _by(size: int, orders: Iterator[Order]) -> Iterator[list[Order]]:
    while some := list(itertools.islice(orders, size)):
        yield some
