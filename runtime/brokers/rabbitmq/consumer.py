"""Taking from one queue, over as many channels, one after the other, as it takes."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

from pika import exceptions  # type: ignore[import-untyped]

from runtime.brokers.fast import Plain, open_hot
from runtime.brokers.rabbitmq.acks import AckWindow, Turn
from runtime.brokers.rabbitmq.channel import Channel
from runtime.brokers.rabbitmq.kept import Kept
from runtime.brokers.rabbitmq.link import Link
from runtime.brokers.rabbitmq.prefetch import Change, next_change
from runtime.brokers.rabbitmq.trouble import ChannelClosed
from runtime.bus import Consumption

log = logging.getLogger(__name__)

OnMessage = Callable[["ChannelPort", str, int, bool, bytes, bytes], None]
"""Takes port, consumer tag, delivery tag, redelivered, properties and body, and must not raise.

Each is to be acknowledged at the port.  While the port is `full`, nothing is to be begun: what
comes then was on its way when the prefetch was lowered, and is to be given back."""


class QueueConsumer:
    """One consumer of a queue: `runtime.brokers.Consumer`.

    It has a channel to itself, so that what makes the server close it (a delivery held for too
    long, a queue that is gone) takes nothing else along.  `on_closed` is called when the last of
    it is over.
    """

    def __init__(
        self,
        link: Link,
        queue: str,
        prefetch: int,
        on_message: OnMessage,
        *,
        declare: Callable[[], Awaitable[None]],
        turn: Turn,
        on_closed: Callable[["QueueConsumer"], None],
    ) -> None:
        self.queue = queue
        self.closed = False
        self.kept = Kept(link, f"queue={queue} consumer", self._make, self._gone, declare)
        self._prefetch = prefetch
        self._on_message = on_message
        self._turn = turn
        self._on_closed = on_closed
        self._port: ChannelPort | None = None
        self._ending: asyncio.Task[None] | None = None

    @property
    def prefetch(self) -> int:
        return self._prefetch

    @prefetch.setter
    def prefetch(self, value: int) -> None:
        self._prefetch = value
        if self._port and not self.closed:
            self._port.steer(value)

    @property
    def consumption(self) -> Consumption:
        """How it goes."""
        port = self._port
        if port is None or self.kept.channel is None:
            return Consumption(False, self.kept.mending, False, 0)
        return Consumption(True, False, port.hungry, port.taken)

    async def close(self) -> None:
        """Take no more; deliveries that are out keep the channel until they are settled."""
        self.closed = True
        if port := self._port:
            await port.retire()
        if self._port is None or not self._port.outstanding:
            await self.end()

    async def end(self) -> None:
        """Close at once: what is out goes back to the queue."""
        self.closed = True
        if self._port:
            self._port.flush()
            self._port.alive = False
            self._port = None
        await self.kept.close()
        self._on_closed(self)

    async def _make(self, channel: Channel) -> None:
        port = ChannelPort(channel, self.queue, self._on_message, self._turn)
        port.on_settled = self._settled
        port.on_cancelled = self._cancelled
        self._port = port
        try:
            await port.open(self._prefetch)
        except BaseException:
            self._port = None
            port.alive = False
            raise

    def _gone(self, alone: bool) -> None:
        if self._port:
            self._port.alive = False
            self._port = None
        if self.closed:
            self._settled()

    def _settled(self) -> None:
        """A retired port has nothing out any more."""
        if self._ending is None:
            self._ending = asyncio.create_task(self.end())

    def _cancelled(self) -> None:
        """The server ended it: the queue was deleted, or a delivery was held for too long.

        What is out goes back with the channel; what of it comes again is known to be in hand.
        """
        if self._port:
            self._port.flush()
        self.kept.renew("the server ended the consumer")


class ChannelPort:
    """One channel's consumers of one queue, and what they have in hand."""

    def __init__(self, channel: Channel, queue: str, on_message: OnMessage, turn: Turn) -> None:
        self.alive = True
        self.retired = False
        self.outstanding = 0
        self.taken = 0
        self.on_settled: Callable[[], None] = lambda: None  # once it is retired
        self.on_cancelled: Callable[[], None] = lambda: None
        self._channel = channel
        self._queue = queue
        self._on_message = on_message
        self._turn = turn
        self._hot: Plain = open_hot(channel.raw, self)
        self._wanted = 0
        self._numbers = count(1)
        self._live: dict[str, int] = {}  # sizes of consumers, by tag
        self._out: Counter[str] = Counter()  # deliveries in hand, by consumer
        self._lingering = 0  # those of consumers that ended
        self._steering: asyncio.Task[None] | None = None
        self._refused: ChannelClosed | None = None
        self._window = AckWindow()
        self._acked: list[int] = []
        channel.raw.add_on_cancel_callback(self._on_cancel)

    async def open(self, prefetch: int) -> None:
        """Begin; ChannelClosed where the server will not have it."""
        self.steer(prefetch)
        await self._steered()
        if self._refused:
            raise self._refused

    async def retire(self) -> None:
        """Take nothing new; `on_settled` is called when nothing is out."""
        self.retired = True
        self.steer(0)
        await self._steered()

    # ── how many ──────────────────────────────────────────────────────────────────────────────

    @property
    def full(self) -> bool:
        """Whether more is in hand than is wanted."""
        return self.retired or self.outstanding > self._wanted

    @property
    def hungry(self) -> bool:
        """Whether less is in hand than is wanted."""
        return self.alive and not self.retired and self.outstanding < self._wanted

    def steer(self, wanted: int) -> None:
        """Have that many in hand at most, from now on."""
        self._wanted = wanted
        if self._steering is None and self._next() != Change():
            self._steering = asyncio.create_task(self._steer())

    def _next(self) -> Change:
        return next_change(self._wanted, self._live, self._lingering)

    async def _steer(self) -> None:
        try:
            while self.alive and (change := self._next()) != Change():
                for tag in change.end:
                    del self._live[tag]
                    self._lingering += self._out[tag]
                    await self._channel.cancel(tag)
                    self._tidy(tag)
                if change.start:
                    tag = f"c{next(self._numbers)}"
                    self._live[tag] = change.start
                    await self._channel.consume(
                        self._queue, tag, self._hot.on_message, prefetch=change.start
                    )
        except ChannelClosed as error:
            self._refused = error
        finally:
            self._steering = None

    async def _steered(self) -> None:
        while self._steering:
            await asyncio.wait([self._steering])

    def _on_cancel(self, _: Any) -> None:
        if self.alive and not self.retired:
            self.on_cancelled()

    # ── deliveries ────────────────────────────────────────────────────────────────────────────

    def on_delivery(
        self,
        consumer: str,
        tag: int,
        redelivered: bool,
        exchange: str,
        routing_key: str,
        properties: bytes,
        body: bytes,
    ) -> None:
        self.outstanding += 1
        self.taken += 1
        self._out[consumer] += 1
        if consumer not in self._live:
            self._lingering += 1
        try:
            self._on_message(self, consumer, tag, redelivered, properties, body)
        except Exception:  # it stays in hand, and comes again with another channel
            log.exception("queue=%s a delivery of %d bytes was not taken", self._queue, len(body))

    def ack(self, tag: int, consumer: str) -> None:
        """Settle a delivery, with all others of this turn of the loop."""
        if not self._acked:
            self._turn.add(self)
        self._acked.append(tag)
        self.outstanding -= 1
        self._out[consumer] -= 1
        if consumer not in self._live:
            self._lingering -= 1
            self._tidy(consumer)
            self.steer(self._wanted)

    def flush(self) -> None:
        tags, self._acked = self._acked, []
        if not tags or not self.alive:
            return
        try:
            for tag, multiple in self._window.settle(tags):
                self._hot.ack(tag, multiple)
        except exceptions.ChannelWrongStateError:
            return  # it is closing: all of them come again, and are known to be settled
        if self.retired and not self.outstanding:
            self.on_settled()

    def _tidy(self, consumer: str) -> None:
        if not self._out[consumer]:
            del self._out[consumer]

    def on_batch_end(self) -> None:
        """Settled at the end of the turn, with what other channels settle."""

    def on_confirm(self, tag: int, multiple: bool, ok: bool) -> None:
        """Nothing is published here."""

    def on_return(self, *_: object) -> None:
        """Nothing is published here."""
