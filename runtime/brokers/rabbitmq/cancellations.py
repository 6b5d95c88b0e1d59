"""Which invocations were cancelled: a stream that every worker reads from its beginning.

What is cancelled cannot be taken out of a queue, so whoever would run it has to know.  A stream
keeps what it was told for a week, and gives it to each reader anew.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Any
from uuid import uuid4

from runtime.brokers.fast import Plain, open_hot
from runtime.brokers.properties import PERSISTENT, encode_properties, headers
from runtime.brokers.rabbitmq.channel import Channel
from runtime.brokers.rabbitmq.kept import Kept
from runtime.brokers.rabbitmq.lease import copy_id
from runtime.brokers.rabbitmq.link import Link
from runtime.brokers.rabbitmq.publisher import SEND, Publisher, Settled
from runtime.brokers.rabbitmq.topology import CANCELLATIONS, KEPT

PREFETCH = 1000
MARKER = "marker "  # what a reader writes to see where the end was
MOST = 1_000_000  # ids that are remembered; some 200 MB

log = logging.getLogger(__name__)


class Cancelled:
    """The ids that were cancelled, each for as long as its message may still be in a queue."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}  # unix seconds, in the order they were told

    def __contains__(self, id: object) -> bool:
        return id in self._until

    def __len__(self) -> int:
        return len(self._until)

    def add(self, id: str, at: float, now: float) -> None:
        """Remember one that was cancelled at an instant; forget those whose time is over."""
        self._until.pop(id, None)
        self._until[id] = at + KEPT
        for oldest, until in list(islice(self._until.items(), 2)):
            if until < now or len(self._until) > MOST:
                del self._until[oldest]


class Cancellations:
    """One reader of the stream, and the writers of its process."""

    def __init__(
        self,
        link: Link,
        publisher: Publisher,
        declare: Callable[[], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        self.known = Cancelled()
        self.on_cancel: Callable[[str], None] = lambda _: None
        self.kept = Kept(link, "cancellations reader", self._make, self._gone, declare)
        self._publisher = publisher
        self._clock = clock
        self._hot: Plain | None = None
        self._marker = f"{MARKER}{uuid4().hex}"
        self._caught_up: asyncio.Future[None] | None = None
        self._next = 0  # offset in the stream
        self._last_tag = 0

    def publish(self, id: str, settled: Settled) -> None:
        """Tell every reader that there is, and will be for a week."""
        properties = encode_properties(delivery_mode=PERSISTENT, message_id=copy_id(id))
        body = f"{id} {int(self._clock())}".encode()
        self._publisher.publish("", CANCELLATIONS, properties, body, settled, SEND)

    async def follow(self) -> None:
        """Return once all that was told before is known."""
        self._caught_up = asyncio.get_running_loop().create_future()
        await self.kept.restore()
        self._mark()
        await self._caught_up

    def _mark(self) -> None:
        """Write the marker; again for as long as nobody took it."""

        def settled(error: Exception | None) -> None:
            if error and self._caught_up and not self._caught_up.done():
                asyncio.get_running_loop().call_later(0.5, self._mark)

        self.publish(self._marker, settled)

    async def _make(self, channel: Channel) -> None:
        self._hot = open_hot(channel.raw, self)
        offset: Any = self._next or "first"
        await channel.consume(
            CANCELLATIONS,
            "cancellations",
            self._hot.on_message,
            prefetch=PREFETCH,
            arguments={"x-stream-offset": offset},
        )
        channel.raw.add_on_cancel_callback(lambda _: self.kept.renew("the stream went away"))

    def _gone(self, alone: bool) -> None:
        self._hot, self._last_tag = None, 0

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
        self._last_tag = tag
        try:
            self._next = int(headers(properties)["x-stream-offset"]) + 1
            self._take(body.decode())
        except Exception as error:  # anybody may write into a stream
            log.warning("queue=%s an entry cannot be read: %r", CANCELLATIONS, error)

    def _take(self, entry: str) -> None:
        id, _, at = entry.rpartition(" ")
        caught_up = self._caught_up is None or self._caught_up.done()
        if id == self._marker and self._caught_up and not caught_up:
            self._caught_up.set_result(None)
        elif not id.startswith(MARKER) and id not in self.known:
            self.known.add(id, float(at), self._clock())
            if caught_up:
                self.on_cancel(id)

    def on_batch_end(self) -> None:
        if self._hot and self._last_tag:
            self._hot.ack(self._last_tag, multiple=True)
            self._last_tag = 0

    def on_confirm(self, tag: int, multiple: bool, ok: bool) -> None:
        """Nothing is published here."""

    def on_return(self, *_: object) -> None:
        """Nothing is published here."""
