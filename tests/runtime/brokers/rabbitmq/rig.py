"""What tests of the RabbitMQ broker share."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pika  # type: ignore[import-untyped]

from runtime.brokers import Delivery
from runtime.brokers.rabbitmq import Address, RabbitBroker
from runtime.model import Message, Payload, new_id
from tests.support import until

DEADLINE = 20.0  # seconds; what has not come true by then will not
QUEUE = "f.cpu"

T = TypeVar("T")


def message(device: Any = "cpu", **more: Any) -> Message:
    return Message(new_id(), "f", device, Payload(b'{"n":1}'), created_at=1_700_000_000.0, **more)


async def until_true(look: Callable[[], Awaitable[T]], within: float = DEADLINE) -> T:
    deadline = time.monotonic() + within
    while not (seen := await look()):
        assert time.monotonic() < deadline, f"still {seen!r} after {within} s"
        await asyncio.sleep(0.02)
    return seen


class Worker:
    """Takes deliveries and keeps them, or settles each at once."""

    def __init__(self, settle: Callable[[Delivery], None] | None = None) -> None:
        self.got: list[Delivery] = []
        self._settle = settle

    def __call__(self, delivery: Delivery) -> None:
        self.got.append(delivery)
        if self._settle:
            self._settle(delivery)

    @property
    def ids(self) -> list[str]:
        return [delivery.message.id for delivery in self.got]

    async def received(self, count: int) -> list[Delivery]:
        await until(lambda: len(self.got) >= count)
        return self.got


class Recorded(list[bytes]):
    """The messages of `results`, each acknowledged at once."""

    @classmethod
    async def of(cls, broker: RabbitBroker) -> "Recorded":
        recorded = cls()
        await broker.consume_results(64, recorded.take)
        return recorded

    def take(self, body: bytes, ack: Callable[[], None]) -> None:
        self.append(body)
        ack()


class Told:
    """What `settled` was told of messages, by their ids."""

    def __init__(self) -> None:
        self.errors: dict[str, Exception | None] = {}
        self.times = 0

    def of(self, id: str) -> Callable[[Exception | None], None]:
        def settled(error: Exception | None) -> None:
            self.times += 1
            self.errors[id] = error

        return settled


def rabbit_broker(url: str, name: str = "test", **more: Any) -> RabbitBroker:
    return RabbitBroker(Address.parse(url), name=name, **more)


class Raw:
    """Somebody else on the same server, with plain pika."""

    def __init__(self, url: str) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self._connection.channel()

    def __enter__(self) -> "Raw":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def put(self, queue: str, body: bytes, **properties: Any) -> None:
        self.channel.basic_publish("", queue, body, pika.BasicProperties(**properties))

    def take(self, queue: str) -> bytes | None:
        """The body of the first message, which is gone then."""
        _, _, body = self.channel.basic_get(queue, auto_ack=True)
        return body  # type: ignore[no-any-return]
