"""Signals from other processes: a queue of this process's own, gone with its connection."""

import logging
from collections.abc import Awaitable, Callable

from runtime.brokers.fast import open_hot
from runtime.brokers.rabbitmq.channel import Channel
from runtime.brokers.rabbitmq.kept import Kept
from runtime.brokers.rabbitmq.link import Link
from runtime.brokers.rabbitmq.topology import SIGNALS

MOST = 10_000  # signals that wait for a slow reader; older ones are dropped
ARGUMENTS = {"x-max-length": MOST, "x-overflow": "drop-head"}

log = logging.getLogger(__name__)


class Signals:
    """What this process has subscribed to.  The queue is made with the first subscription."""

    def __init__(self, link: Link, declare: Callable[[], Awaitable[None]]) -> None:
        self.on_signal: Callable[[str, bytes], None] = lambda key, body: None
        self.kept = Kept(link, "signals", self._make, self._gone, declare)
        self.patterns: set[str] = set()
        self._queue = ""

    async def subscribe(self, pattern: str) -> None:
        """From now on, and after each reconnect; ChannelClosed where it has to wait for one."""
        if pattern in self.patterns:
            return
        self.patterns.add(pattern)
        if channel := self.kept.channel:
            await self._bind(channel, pattern)
        elif len(self.patterns) == 1:
            await self.kept.restore()

    async def unsubscribe(self, pattern: str) -> None:
        if pattern not in self.patterns:
            return
        self.patterns.discard(pattern)
        if channel := self.kept.channel:
            await channel.call(
                lambda done: channel.raw.queue_unbind(self._queue, SIGNALS, pattern, callback=done)
            )

    async def _make(self, channel: Channel) -> None:
        hot = open_hot(channel.raw, self)
        declared = await channel.call(
            lambda done: channel.raw.queue_declare(
                "", exclusive=True, auto_delete=True, arguments=ARGUMENTS, callback=done
            )
        )
        self._queue = declared.method.queue
        for pattern in list(self.patterns):
            await self._bind(channel, pattern)
        await channel.consume(self._queue, "signals", hot.on_message, no_ack=True, exclusive=True)
        channel.raw.add_on_cancel_callback(lambda _: self.kept.renew("the queue went away"))

    async def _bind(self, channel: Channel, pattern: str) -> None:
        await channel.call(
            lambda done: channel.raw.queue_bind(self._queue, SIGNALS, pattern, callback=done)
        )

    def _gone(self, alone: bool) -> None:
        self._queue = ""

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
        try:
            self.on_signal(routing_key, body)
        except Exception:
            log.exception("key=%s a signal of %d bytes was not taken", routing_key, len(body))

    def on_batch_end(self) -> None:
        """Signals are not acknowledged."""

    def on_confirm(self, tag: int, multiple: bool, ok: bool) -> None:
        """Nothing is published here."""

    def on_return(self, *_: object) -> None:
        """Nothing is published here."""
