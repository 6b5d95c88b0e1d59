"""Messages that must arrive: confirmed, mandatory, and sent again after a reconnect."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from itertools import takewhile

from pika import exceptions  # type: ignore[import-untyped]

from runtime.brokers.fast import Plain, open_hot
from runtime.brokers.properties import message_id
from runtime.brokers.rabbitmq.channel import Channel
from runtime.brokers.rabbitmq.kept import Kept
from runtime.brokers.rabbitmq.link import Link, backoff
from runtime.brokers.rabbitmq.topology import REPLY_TO
from runtime.brokers.rabbitmq.trouble import ChannelClosed
from runtime.errors import ConfigurationError, Unavailable

SWEEP = 1.0  # seconds between two looks at what waits for too long
MOST_CLOSED = 3  # channels the server may close on a message before it is held to be the cause

log = logging.getLogger(__name__)

Settled = Callable[[Exception | None], None]  # told once; None is a confirm


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds a message is kept without a confirm: after its connection was lost, and in all."""

    lost: float
    unconfirmed: float


SEND = Patience(lost=10.0, unconfirmed=30.0)  # somebody waits, and can ask again
COPY = Patience(lost=0.0, unconfirmed=math.inf)  # the original is in its queue again by then
LASTING = Patience(lost=math.inf, unconfirmed=math.inf)


@dataclass(slots=True)
class Mishaps:
    """What went wrong with a message so far."""

    returned: str | None = None  # why there was no queue for it, until its confirm comes
    returns: int = 0
    closed: int = 0  # channels that the server closed while it was on its way


class Sent:
    """A message on its way."""

    __slots__ = (
        "body",
        "deadline",
        "exchange",
        "key",
        "mishaps",
        "patience",
        "properties",
        "settled",
    )

    def __init__(
        self,
        exchange: str,
        key: str,
        properties: bytes,
        body: bytes,
        settled: Settled,
        patience: Patience,
        deadline: float,
    ) -> None:
        self.exchange = exchange
        self.key = key
        self.properties = properties  # with a message id that is its own
        self.body = body
        self.settled = settled
        self.patience = patience
        self.deadline = deadline  # loop time
        self.mishaps: Mishaps | None = None

    @property
    def troubled(self) -> Mishaps:
        """Its mishaps, to note another."""
        if self.mishaps is None:
            self.mishaps = Mishaps()
        return self.mishaps


class Publisher:
    """One channel with confirms.  `on_answer` gets the direct replies that come to it.

    `declare` makes queues and exchanges exist again where a message found none; it gives False
    where the message's queue is none that we know.
    """

    def __init__(
        self,
        link: Link,
        name: str,
        declare: Callable[[str | None], Awaitable[bool]],
        on_answer: Callable[[bytes], None] | None = None,
    ) -> None:
        self.ready = False
        self.kept = Kept(link, name, self._open, self._gone, self._declare_all)
        self._link = link
        self._name = name
        self._declare = declare
        self._answered = on_answer
        self._hot: Plain | None = None
        self._unconfirmed: dict[int, Sent] = {}  # by number, in the order they were sent
        self._parked: list[Sent] = []  # until there is a channel again
        self._repairs: dict[asyncio.Task[None], Sent] = {}
        self._sweep: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether all that was sent is settled."""
        return not (self._unconfirmed or self._parked or self._repairs)

    def publish(
        self,
        exchange: str,
        key: str,
        properties: bytes,
        body: bytes,
        settled: Settled,
        patience: Patience,
    ) -> None:
        """Send it; `settled` is told once, perhaps at once.

        KeyError: no such queue.  Unavailable: refused, or not confirmed for as long as `patience`
        says.  Without a channel only what is LASTING waits for one.
        """
        deadline = asyncio.get_running_loop().time() + patience.unconfirmed
        sent = Sent(exchange, key, properties, body, settled, patience, deadline)
        if self.ready:
            self._emit(sent)
        elif patience is LASTING:
            self._parked.append(sent)
        else:
            _tell(sent, self.away())

    def away(self) -> Unavailable:
        return Unavailable("RabbitMQ is away; send it again in a moment", 1)

    def close(self) -> None:
        """Tell all that is not confirmed that it will not be."""
        self.ready = False
        if self._sweep:
            self._sweep.cancel()
        for task in self._repairs:
            task.cancel()
        left = [*self._parked, *self._unconfirmed.values(), *self._repairs.values()]
        self._parked, self._unconfirmed = [], {}
        for sent in left:
            _tell(sent, Unavailable("the connection to RabbitMQ is being closed", 1))

    # ── the channel ───────────────────────────────────────────────────────────────────────────

    async def _open(self, channel: Channel) -> None:
        """Open the hot path, and send again what was on its way."""
        hot = open_hot(channel.raw, self)
        await channel.call(lambda done: hot.select_confirms(lambda: done(None)))
        if self._answered is not None:
            await channel.consume(REPLY_TO, "answers", hot.on_message, no_ack=True)
        self._hot, self.ready = hot, True
        again, self._parked = self._parked, []
        now = asyncio.get_running_loop().time()
        for sent in again:
            sent.deadline = now + sent.patience.unconfirmed
            self._emit(sent)

    def _gone(self, alone: bool) -> None:
        """The channel is lost: what is unconfirmed waits for another, or is given up."""
        self._hot, self.ready = None, False
        now = asyncio.get_running_loop().time()
        unconfirmed, self._unconfirmed = self._unconfirmed, {}
        for sent in unconfirmed.values():
            sent.troubled.closed += alone
            sent.troubled.returned = None
            sent.deadline = min(sent.deadline, now + sent.patience.lost)
            if not sent.patience.lost:
                _tell(sent, self.away())
            elif sent.troubled.closed >= MOST_CLOSED and sent.patience is not LASTING:
                text = f"RabbitMQ closes the channel on a message for {sent.key}"
                _tell(sent, Unavailable(text, 1))
            else:
                self._parked.append(sent)
        if self._sweep is None:
            self._watch()

    async def _declare_all(self) -> None:
        await self._declare(None)

    def _emit(self, sent: Sent) -> None:
        assert self._hot is not None
        try:
            number = self._hot.publish(sent.exchange, sent.key, sent.properties, sent.body, True)
        except exceptions.ChannelWrongStateError:  # it closes just now
            self._parked.append(sent)
        except exceptions.ShortStringTooLong:
            _tell(sent, KeyError(sent.key))
        else:
            self._unconfirmed[number] = sent
        if self._sweep is None:
            self._watch()

    # ── what the server says ──────────────────────────────────────────────────────────────────

    def on_confirm(self, tag: int, multiple: bool, ok: bool) -> None:
        unconfirmed = self._unconfirmed
        if not multiple:
            if (sent := unconfirmed.pop(tag, None)) is not None:
                self._settle(sent, ok)
            return
        for number in list(takewhile(lambda number: number <= tag, unconfirmed)):
            self._settle(unconfirmed.pop(number), ok)

    def _settle(self, sent: Sent, ok: bool) -> None:
        if sent.mishaps is not None and sent.mishaps.returned is not None:
            self._repair(sent, self._route(sent))
        elif ok:
            _tell(sent, None)
        elif sent.patience is LASTING:
            self._repair(sent, self._later(sent))
        else:
            _tell(sent, Unavailable(f"queue {sent.key} takes no more for now", 1))

    def on_return(
        self, code: int, text: str, exchange: str, routing_key: str, properties: bytes, body: bytes
    ) -> None:
        """A message found no queue; its confirm follows, and does not say which it was."""
        id = message_id(properties)
        for sent in self._unconfirmed.values():
            returned = sent.mishaps and sent.mishaps.returned
            if returned is None and message_id(sent.properties) == id:
                sent.troubled.returned = text
                return

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
        if self._answered is not None:
            try:
                self._answered(body)
            except Exception:
                log.exception("an answer of %d bytes could not be taken", len(body))

    def on_batch_end(self) -> None:
        """Nothing is gathered here."""

    # ── what goes wrong ───────────────────────────────────────────────────────────────────────

    def _repair(self, sent: Sent, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._repairs[task] = sent
        task.add_done_callback(self._repairs.pop)

    async def _route(self, sent: Sent) -> None:
        """Declare the queue that was missing, and send once more; for ever what is LASTING."""
        mishaps = sent.troubled
        mishaps.returned = None
        mishaps.returns += 1
        if sent.patience is LASTING and mishaps.returns > 1:
            await asyncio.sleep(backoff(mishaps.returns))
        elif mishaps.returns > 1:
            text = f"queue {sent.key} is deleted as soon as it is declared"
            _tell(sent, Unavailable(text, 1))
            return
        try:
            known = await self._declare(sent.key)
        except ConfigurationError as error:
            log.error("broker=%s %s", self._link.address, error)
            known = True
        except ChannelClosed:
            known = True
        if not known:
            _tell(sent, KeyError(sent.key))
        else:
            log.warning("broker=%s queue=%s was missing", self._link.address, sent.key)
            self._resend(sent)

    async def _later(self, sent: Sent) -> None:
        sent.troubled.returns += 1
        await asyncio.sleep(backoff(sent.troubled.returns + 3))
        self._resend(sent)

    def _resend(self, sent: Sent) -> None:
        if self.ready:
            self._emit(sent)
        elif sent.patience.lost:
            self._parked.append(sent)
        else:
            _tell(sent, self.away())

    def _watch(self) -> None:
        """Look now and then whether something waits for too long."""
        if self._unconfirmed or self._parked:
            loop = asyncio.get_running_loop()
            self._sweep = loop.call_later(SWEEP, self._give_up_late)

    def _give_up_late(self) -> None:
        self._sweep = None
        now = asyncio.get_running_loop().time()
        if not self._link.blocked:
            late = [n for n, sent in self._unconfirmed.items() if sent.deadline < now]
            for number in late:
                text = "RabbitMQ did not confirm it in time; it may have it all the same"
                _tell(self._unconfirmed.pop(number), Unavailable(text, 1))
        expired = [sent for sent in self._parked if sent.deadline < now]
        self._parked = [sent for sent in self._parked if sent.deadline >= now]
        for sent in expired:
            _tell(sent, self.away())
        self._watch()


def _tell(sent: Sent, error: Exception | None) -> None:
    try:
        sent.settled(error)
    except Exception:
        log.exception("what waited for a confirm failed")
