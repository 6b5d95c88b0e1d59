"""A pika channel whose calls can be awaited."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from pika import exceptions  # type: ignore[import-untyped]

from runtime.brokers.rabbitmq.address import Address
from runtime.brokers.rabbitmq.topology import Binding, Exchange, Part
from runtime.brokers.rabbitmq.trouble import ChannelClosed, refused_declaration

Start = Callable[[Callable[[Any], None]], object]  # begins a call; its argument takes the answer


class Channel:
    """One channel.  Whatever waits on it raises ChannelClosed when it goes; so does a later call.

    `on_closed` is told once, unless `close` was called before.
    """

    def __init__(self, raw: Any) -> None:
        self.raw = raw  # pika's
        self.on_closed: Callable[[ChannelClosed], None] = lambda _: None
        self._gone: ChannelClosed | None = None
        self._waiting: set[asyncio.Future[Any]] = set()

    @classmethod
    async def open(cls, connection: Any) -> "Channel":
        """Open one; ChannelClosed where the connection goes, or has none left."""
        opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        try:
            raw = connection.channel(on_open_callback=lambda _: _resolve(opened, None))
        except exceptions.AMQPError as error:
            raise ChannelClosed.by(error) from None
        channel = cls(raw)
        channel._waiting.add(opened)
        raw.add_on_close_callback(channel._closed)
        await channel._until(opened)
        return channel

    @property
    def is_open(self) -> bool:
        return self._gone is None and bool(self.raw.is_open)

    async def call(self, start: Start) -> Any:
        """The answer to a call that `start` makes, with what it is to be given to."""
        if self._gone:
            raise ChannelClosed(self._gone.code, str(self._gone))
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.add(answered)
        try:
            start(lambda answer: _resolve(answered, answer))
        except exceptions.AMQPError as error:
            self._waiting.discard(answered)
            raise ChannelClosed.by(error) from None
        return await self._until(answered)

    async def declare(self, parts: Iterable[Part], address: Address) -> None:
        """Make queues, exchanges and bindings exist, in that order; see `refused_declaration`."""
        for part in parts:
            try:
                await self.call(_declaration(self.raw, part))
            except ChannelClosed as error:
                name = part.queue if isinstance(part, Binding) else part.name
                raise refused_declaration(error, name, address) from None

    async def count(self, queue: str) -> int:
        """How many messages of a queue are ready; ChannelClosed (404) where there is none."""
        answer = await self.call(
            lambda done: self.raw.queue_declare(queue, passive=True, callback=done)
        )
        return int(answer.method.message_count)

    async def consume(
        self,
        queue: str,
        tag: str,
        on_message: Callable[..., None],
        *,
        prefetch: int = 0,
        arguments: dict[str, Any] | None = None,
        no_ack: bool = False,
        exclusive: bool = False,
    ) -> None:
        """Start a consumer; with a prefetch, it holds no more than that."""
        if prefetch:
            await self.call(lambda done: self.raw.basic_qos(prefetch_count=prefetch, callback=done))
        await self.call(
            lambda done: self.raw.basic_consume(
                queue,
                on_message,
                auto_ack=no_ack,
                exclusive=exclusive,
                consumer_tag=tag,
                arguments=arguments,
                callback=done,
            )
        )

    async def cancel(self, tag: str) -> None:
        """End a consumer; what it was sent before the answer is still delivered."""
        await self.call(lambda done: self.raw.basic_cancel(tag, callback=done))

    async def close(self) -> None:
        """Close it: what was delivered and not settled goes back to its queue."""
        self.on_closed = lambda _: None
        if self.raw.is_open:
            closed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            self._waiting.add(closed)
            self.raw.close()
            await asyncio.wait([closed])
            closed.exception()  # it is how it ends

    def _closed(self, _: Any, reason: BaseException) -> None:
        self._gone = ChannelClosed.by(reason)
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_exception(ChannelClosed(self._gone.code, str(self._gone)))
        self.on_closed(self._gone)

    async def _until(self, future: asyncio.Future[Any]) -> Any:
        try:
            return await future
        finally:
            self._waiting.discard(future)


def _resolve(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _declaration(raw: Any, part: Part) -> Start:
    if isinstance(part, Exchange):
        return lambda done: raw.exchange_declare(part.name, part.type, durable=True, callback=done)
    if isinstance(part, Binding):
        return lambda done: raw.queue_bind(part.queue, part.exchange, part.key, callback=done)
    arguments = dict(part.arguments)
    return lambda done: raw.queue_declare(
        part.name, durable=True, arguments=arguments, callback=done
    )
