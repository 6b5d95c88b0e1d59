"""What tests of batches share: a function, an order of it, and ways to bring items in."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

import orjson
from pydantic import Field

from runtime.batches import Batches, Item, Order
from runtime.brokers import QueueSpec
from runtime.brokers.memory import MemoryBroker
from runtime.function import MARK, describe, function
from runtime.intake import Validator
from runtime.invocations import EmbeddedInvocations
from runtime.ledger import Batch, Ledger
from runtime.model import Invocation, Part, Status
from runtime.telemetry import Metrics

QUEUE = "square.cpu"


@function
def square(n: Annotated[int, Field(ge=0)] = 0) -> int:
    """Square a number."""
    return n * n


VALIDATOR = Validator.of(describe(square, file="square.py", attribute=getattr(square, MARK).name))


class Desk:
    """Batches over a ledger, with a queue in memory and nobody who runs anything."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.broker = MemoryBroker()
        self.invocations = EmbeddedInvocations(self.broker, ledger, Metrics(lambda: ()), 10_000)
        self.woken = 0
        self.batches = Batches(ledger, self.invocations, self._wake)

    def _wake(self) -> None:
        self.woken += 1

    async def send(
        self, inputs: Iterable[Any], key: str | None = None, fingerprint: str = "same"
    ) -> Batch:
        """Accept inputs as a batch; bytes are sent as they are, all else as JSON."""
        items = [Item(i if isinstance(i, bytes) else orjson.dumps(i)) for i in inputs]
        return await self.accept(brought(items), key, fingerprint)

    async def accept(
        self,
        items: AsyncIterator[Sequence[Item]],
        key: str | None = None,
        fingerprint: str = "same",
    ) -> Batch:
        order = Order(VALIDATOR, "auto", "cpu", key)
        return await self.batches.accept(order, items, lambda: fingerprint)

    async def items(self, batch: Batch) -> list[Invocation]:
        """The rows of a batch, by index."""
        found, _ = await self.ledger.find(batch=batch.id, limit=1000)
        return sorted(found, key=lambda i: i.batch_index or 0)

    async def end(self, rows: Iterable[Invocation], status: Status = Status.SUCCEEDED) -> None:
        """Have items end, with their index as the result."""
        ended = list(rows)
        for at, row in enumerate(ended):
            row.status, row.finished_at = status, 100.0 + at
            if status is Status.SUCCEEDED:
                text = str(row.batch_index).encode()
                row.result = Part("result", "application/json", len(text), text)
        await self.ledger.write(ended)


@asynccontextmanager
async def desk_of(ledger: Ledger) -> AsyncIterator[Desk]:
    desk = Desk(ledger)
    await desk.broker.declare([QueueSpec(QUEUE)])
    await desk.invocations.recorder.start()
    try:
        yield desk
    finally:
        await desk.batches.close()
        await desk.invocations.recorder.close()
        await desk.broker.close()


async def brought(items: Sequence[Item], at_once: int = 7) -> AsyncIterator[Sequence[Item]]:
    """Items as they come, a few at a time."""
    for start in range(0, len(items), at_once):
        yield items[start : start + at_once]


async def until(probe: Callable[[], Any], within: float = 10.0) -> Any:
    """The first true value of an awaitable probe."""
    deadline = asyncio.get_running_loop().time() + within
    while not (value := await probe()):
        assert asyncio.get_running_loop().time() < deadline, f"still {value!r}: {probe}"
        await asyncio.sleep(0.01)
    return value
