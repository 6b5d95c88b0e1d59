"""A broker that is a RabbitMQ server: `runtime.brokers.Broker`, and what roles need besides."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

from runtime.brokers import Consumer, DeadLetter, OnDelivery, QueueSpec, Survey
from runtime.brokers.properties import PERSISTENT, TRANSIENT, encode_properties, short_string
from runtime.brokers.rabbitmq.acks import Turn
from runtime.brokers.rabbitmq.address import Address
from runtime.brokers.rabbitmq.answers import Answers
from runtime.brokers.rabbitmq.cancellations import Cancellations
from runtime.brokers.rabbitmq.channel import Channel
from runtime.brokers.rabbitmq.consumer import ChannelPort, QueueConsumer
from runtime.brokers.rabbitmq.desk import BrokerDesk
from runtime.brokers.rabbitmq.intake import Intake
from runtime.brokers.rabbitmq.kept import Kept
from runtime.brokers.rabbitmq.lease import Leases, copy_id, priority
from runtime.brokers.rabbitmq.letters import Choose, Letters
from runtime.brokers.rabbitmq.link import Link
from runtime.brokers.rabbitmq.loose import Loose
from runtime.brokers.rabbitmq.management import Management
from runtime.brokers.rabbitmq.outcomes import Outcomes
from runtime.brokers.rabbitmq.publisher import SEND, Publisher, Settled
from runtime.brokers.rabbitmq.server import ServerInfo
from runtime.brokers.rabbitmq.signals import Signals
from runtime.brokers.rabbitmq.topology import (
    REPLY_TO,
    RESULTS,
    SIGNALS,
    STEPS,
    Binding,
    Part,
    dead_queue,
    queue_parts,
    shared_parts,
)
from runtime.brokers.rabbitmq.trouble import ChannelClosed
from runtime.bus import Consumption
from runtime.errors import TooLarge, Unavailable
from runtime.model import Depth, Message
from runtime.wire import encode_message

BETWEEN = (RESULTS, *STEPS.values())  # queues that messages are in between two functions' queues
SETTLED_EVERY = 0.01  # seconds between two looks whether all is confirmed
# Seconds until what is missing is declared again.  RabbitMQ 3.10 does not tell consumers that their
# queue was deleted if it exists again within some 20 ms, and they get nothing from it any more.
DELETED = 0.5

_SIGNAL = encode_properties(delivery_mode=TRANSIENT)
# What is sent most: a message id is the last of its properties, so the rest never changes.
_SENT = encode_properties(delivery_mode=PERSISTENT, message_id="")[:-1]
_AWAITED = encode_properties(delivery_mode=PERSISTENT, reply_to=REPLY_TO, message_id="")[:-1]

T = TypeVar("T")

log = logging.getLogger(__name__)


class RabbitBroker:
    """Queues on a RabbitMQ, over one connection that mends itself; for one asyncio loop.

    Called on that loop only.  `name` is what the management UI shows.  What is different from
    other brokers: a message that waits cannot be taken out (`remove` is always False; cancelled
    ones are dropped when they are delivered), what is given back comes as a copy at the tail, and
    messages that wait for their delay count in no depth.
    """

    def __init__(
        self,
        address: Address,
        *,
        name: str,
        management_url: str | None = None,
        consumer_timeout: float = 1800.0,  # seconds, the server's
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.address = address
        self.consumer_timeout = consumer_timeout
        self.on_state: Callable[[], None] = lambda: None
        self.on_answer: Callable[[bytes], None] = lambda body: None
        self._link = Link(address, name, on_up=self._restore, on_change=self._changed)
        self._turn = Turn()
        self._sends = Publisher(self._link, "publisher", self._declare_for, self._answered)
        self._reports = Publisher(self._link, "reports", self._declare_for)
        self._outcomes = Outcomes(self._link, self._reports, self._turn)
        self._desk = BrokerDesk(self._link, self._sends, self._outcomes, clock)
        self._loose = Loose()
        self._answers = Answers(self._loose, self._turn)
        self._loose_kept = self._keep("answers", self._loose.make, self._loose.gone)
        self._signals = Signals(self._link, self._declare_again)
        self._cancellations = Cancellations(self._link, self._sends, self._declare_again, clock)
        self._letters = Letters(self._link, self._put_back)
        self._management = Management(management_url, address) if management_url else None
        self._specs: dict[str, QueueSpec] = {}
        self._leases: dict[str, Leases] = {}
        self._consumers: set[QueueConsumer] = set()
        self._probe: Channel | None = None  # for questions that may close their channel
        self._probing = asyncio.Lock()
        self._declaring = asyncio.Lock()
        self._declarations = 0  # begun
        self._following = False
        self._said_priorities = False

    # ── the connection ────────────────────────────────────────────────────────────────────────

    async def open(self, patience: float) -> None:
        """Connect, declare what all share, and stay connected from then on.

        ConfigurationError for what waiting cannot mend; Unavailable where the server was away for
        `patience` seconds (0 tries once, inf for ever).
        """
        await self._link.open(patience)

    @property
    def connected(self) -> bool:
        return self._link.up

    @property
    def blocked(self) -> str | None:
        """Why the server takes nothing now: it is short of memory or disk."""
        return self._link.blocked

    @property
    def mending(self) -> bool:
        return self._link.kept

    @property
    def received(self) -> int:
        return self._link.received

    @property
    def notices_silence(self) -> bool:
        return self.address.heartbeat > 0

    def consumption(self, queue: str) -> Consumption:
        for consumer in self._consumers:
            if consumer.queue == queue and not consumer.closed:
                return consumer.consumption
        return Consumption(False, False, False, 0)

    @property
    def server(self) -> ServerInfo:
        """What the server said of itself; Unavailable before the first connection."""
        if self._link.server is None:
            raise self._sends.away()
        return self._link.server

    @property
    def on_signal(self) -> Callable[[str, bytes], None]:
        return self._signals.on_signal

    @on_signal.setter
    def on_signal(self, value: Callable[[str, bytes], None]) -> None:
        self._signals.on_signal = value

    @property
    def on_cancel(self) -> Callable[[str], None]:
        return self._cancellations.on_cancel

    @on_cancel.setter
    def on_cancel(self, value: Callable[[str], None]) -> None:
        self._cancellations.on_cancel = value

    async def settle(self, grace: float) -> bool:
        """Wait until all that was sent, reported and settled is confirmed; False if it is late."""
        deadline = asyncio.get_running_loop().time() + grace
        while not (self._outcomes.idle and self._sends.idle and self._reports.idle):
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(SETTLED_EVERY)
        self._turn.flush()
        return True

    async def close(self) -> None:
        """End every consumer and the connection; deliveries that are out go back to the queue.

        Settling them still does no harm.  What was not confirmed is told Unavailable.
        """
        self._turn.flush()
        for consumer in list(self._consumers):
            await consumer.end()
        for kept in self._kept():
            await kept.close()
        await self._link.close()
        self._sends.close()
        self._reports.close()
        if self._management:
            await self._management.close()

    def _keep(self, name: str, make: Any, gone: Callable[[bool], None]) -> Kept:
        return Kept(self._link, name, make, gone, self._declare_again)

    def _kept(self) -> list[Kept]:
        """All that is open whenever the connection is, in the order it is opened in."""
        return [
            self._sends.kept,
            self._reports.kept,
            self._loose_kept,
            *([self._signals.kept] if self._signals.patterns else []),
            *([self._cancellations.kept] if self._following else []),
            *(consumer.kept for consumer in self._consumers),
        ]

    async def _restore(self) -> None:
        """Make a new connection what the last one was."""
        self._probe = None
        await self._declare_parts(self._parts())
        for kept in self._kept():
            try:
                await kept.restore()
            except ChannelClosed as error:
                if not error.code:
                    raise
                kept.retry(error)

    def _changed(self) -> None:
        self._outcomes.fly()
        try:
            self.on_state()
        except Exception:
            log.exception("on_state failed")

    async def _asking(self, work: Coroutine[Any, Any, T], queue: str) -> T:
        """What is asked of the server about a queue, with its refusals in our words."""
        try:
            return await work
        except ChannelClosed as error:
            if error.missing:
                raise KeyError(queue) from None
            raise Unavailable(f"RabbitMQ: {error}", 1) from None

    # ── queues ────────────────────────────────────────────────────────────────────────────────

    async def declare(self, queues: Sequence[QueueSpec]) -> None:
        """Make them exist, and again after each reconnect.

        ConfigurationError where one exists and is not as we want it, or we may not declare it.
        """
        parts = [part for spec in queues for part in queue_parts(spec)]
        names = ", ".join(spec.name for spec in queues)
        await self._asking(self._declare_parts(parts), names)
        for spec in queues:
            self._specs[spec.name] = spec
            if spec.name in self._leases:
                self._leases[spec.name].spec = spec

    def _parts(self) -> list[Part]:
        return [*shared_parts(), *(p for spec in self._specs.values() for p in queue_parts(spec))]

    async def _declare_parts(self, parts: Sequence[Part]) -> None:
        channel = await self._link.channel()
        try:
            await channel.declare(parts, self.address)
        finally:
            await channel.close()

    async def _declare_again(self) -> None:
        """Declare all there is to declare; once for all who ask while it is being done."""
        seen = self._declarations
        async with self._declaring:
            if self._declarations > seen:  # it began after we asked
                return
            await asyncio.sleep(DELETED)
            self._declarations += 1
            await self._declare_parts(self._parts())

    async def _declare_for(self, queue: str | None) -> bool:
        """Declare all again, since a queue was missing; False where it is none that we know."""
        known = {part.queue if isinstance(part, Binding) else part.name for part in self._parts()}
        if queue is not None and queue not in known:
            return False
        await self._declare_again()
        return True

    async def depth(self, queue: str) -> Depth:
        """How full a queue is, without what waits for its delay; KeyError for no such queue.

        From the management API where there is one.  Otherwise what is leased is what this process
        has in hand.  Dead letters are those of all devices of the function.
        """
        if self._management and (told := await self._management.depth(queue)):
            return told
        ready = await self._asking(self._count(queue), queue)
        try:
            dead = await self._count(dead_queue(queue))
        except ChannelClosed:
            dead = 0
        return Depth(ready, len(self._leases[queue].held) if queue in self._leases else 0, dead)

    async def ready(self, queue: str) -> int:
        return await self._asking(self._count(queue), queue)

    async def _count(self, queue: str) -> int:
        async with self._probing:
            if self._probe is None or not self._probe.is_open:
                self._probe = await self._link.channel()
            return await self._probe.count(queue)

    def in_hand(self, queue: str) -> int:
        return len(self._leases[queue].held) if queue in self._leases else 0

    async def survey(self, queues: Sequence[str]) -> Survey:
        """Ready ones as the server counts them now, leased ones as the management API last did."""
        ready: dict[str, int] = {}
        for queue in queues:
            try:
                ready[queue] = await self.ready(queue)
            except KeyError:
                continue
        between = {name: await self.ready(name) for name in BETWEEN}
        leased = await self._management.leased() if self._management else None
        if leased is None:
            return Survey(ready, None, between)
        between = {name: count + leased.get(name, 0) for name, count in between.items()}
        return Survey(ready, {queue: leased.get(queue, 0) for queue in ready}, between)

    async def remove(self, queue: str, invocation: str) -> bool:
        """False: a queue cannot give up one message.  KeyError for no such queue."""
        if queue not in self._specs:
            await self._asking(self._count(queue), queue)
        return False

    async def purge(self, queue: str) -> int:
        """Drop what is ready; what waits for its delay comes later."""

        async def drop() -> int:
            channel = await self._link.channel()
            try:
                answer = await channel.call(
                    lambda done: channel.raw.queue_purge(queue, callback=done)
                )
            finally:
                await channel.close()
            return int(answer.method.message_count)

        return await self._asking(drop(), queue)

    # ── out ───────────────────────────────────────────────────────────────────────────────────

    async def publish(self, queue: str, message: Message) -> None:
        published: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.send(queue, message, settled=partial(_resolve, published))
        await published

    def send(self, queue: str, message: Message, *, reply: bool = False, settled: Settled) -> None:
        """Publish, and tell `settled` once: None at the confirm, else why not.  Raises nothing.

        KeyError for no such queue.  Unavailable, at once, while the server is away or takes
        nothing; what is on its way when the connection drops is sent again for ten seconds.  With
        `reply` the answer comes to `on_answer`.
        """
        if self._link.blocked or not self._sends.ready:
            settled(self._refusal())
            return
        try:
            body = encode_message(message)
        except (TypeError, ValueError) as error:  # text that is no Unicode
            settled(error)
            return
        if len(body) > self.server.largest_message:
            most = self.server.largest_message // 2**20
            settled(TooLarge(f"a message of {len(body)} bytes: RabbitMQ takes {most} MiB"))
            return
        if message.priority:
            properties = self._prioritized(message, reply)
        else:
            properties = (_AWAITED if reply else _SENT) + short_string(message.id)
        self._sends.publish("", queue, properties, body, settled, SEND)

    def _refusal(self) -> Unavailable:
        if self._link.blocked:
            return Unavailable(f"RabbitMQ takes nothing now ({self._link.blocked})", 2)
        return self._sends.away()

    def _prioritized(self, message: Message, reply: bool, id: str | None = None) -> bytes:
        if message.priority and not (self.server.priorities or self._said_priorities):
            self._said_priorities = True
            log.warning(
                "broker=%s %s has no priorities in quorum queues (4.0 has): they are ignored",
                self.address,
                self.server,
            )
        return encode_properties(
            delivery_mode=PERSISTENT,
            priority=priority(message),
            reply_to=REPLY_TO if reply else None,
            message_id=id or message.id,
        )

    def _answered(self, body: bytes) -> None:
        self.on_answer(body)

    def answer(self, reply_to: str, body: bytes) -> None:
        """Tell who waits there; if nobody does, or there is no connection, nobody hears it.

        What is told in one turn of the loop comes as one message, one body after the other.
        """
        self._answers.tell(reply_to, body)

    def report(self, entry: bytes) -> None:
        """Put an outcome into `results`, for ever until it is confirmed.

        What is settled after this takes effect only after that confirm.
        """
        self._outcomes.report(entry)

    def signal(self, key: str, body: bytes) -> None:
        """Tell whoever has subscribed to a pattern of the key; it may be lost."""
        self._loose.publish(SIGNALS, key, _SIGNAL, body)

    async def subscribe(self, pattern: str) -> None:
        """Have `on_signal` called for keys of a pattern (AMQP topic: * is a word, # any words).

        While there is no connection, it begins with the next one.
        """
        try:
            await self._signals.subscribe(pattern)
        except ChannelClosed as error:
            log.debug("pattern=%s is subscribed to later: %s", pattern, error)

    async def unsubscribe(self, pattern: str) -> None:
        try:
            await self._signals.unsubscribe(pattern)
        except ChannelClosed as error:
            log.debug("pattern=%s goes with the connection: %s", pattern, error)

    # ── in ────────────────────────────────────────────────────────────────────────────────────

    async def consume(self, queue: str, prefetch: int, on_delivery: OnDelivery) -> Consumer:
        """Take from a queue; what is cancelled, or no message of it, is not delivered."""
        if queue not in self._specs:
            await self._asking(self._count(queue), queue)
        intake = Intake(self._leases_of(queue), on_delivery, self._cancellations.known)
        return await self._consume(queue, prefetch, intake.on_message)

    async def consume_results(
        self, prefetch: int, on_results: Callable[[bytes, Callable[[], None]], None]
    ) -> Consumer:
        """Take what was reported: the bytes of a message, and what to call once it is recorded."""

        def take(
            port: ChannelPort, consumer: str, tag: int, redelivered: bool, props: bytes, body: bytes
        ) -> None:
            if not port.retired:  # else it goes back with its channel
                on_results(body, partial(_ack, port, tag, consumer))

        return await self._consume(RESULTS, prefetch, take)

    async def _consume(self, queue: str, prefetch: int, take: Any) -> QueueConsumer:
        consumer = QueueConsumer(
            self._link,
            queue,
            prefetch,
            take,
            declare=self._declare_again,
            turn=self._turn,
            on_closed=self._consumers.discard,
        )
        await self._asking(consumer.kept.restore(), queue)
        self._consumers.add(consumer)
        return consumer

    def _leases_of(self, queue: str) -> Leases:
        if queue not in self._leases:
            spec = self._specs.get(queue) or QueueSpec(queue)
            self._leases[queue] = Leases(spec, self._desk)
        return self._leases[queue]

    # ── cancelling ────────────────────────────────────────────────────────────────────────────

    async def cancel(self, invocation: str) -> None:
        """Have every reader, those of the next week too, drop or stop it; Unavailable if not."""
        if self._link.blocked:
            raise self._refusal()
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._cancellations.publish(invocation, partial(_resolve, told))
        await told

    async def follow_cancellations(self) -> None:
        """Return once all that was cancelled before is known; then `on_cancel` is told of more."""
        if not self._following:
            await self._asking(self._cancellations.follow(), "cancellations")
            self._following = True

    # ── dead letters ──────────────────────────────────────────────────────────────────────────

    async def dead_letters(self, function: str, limit: int = 100) -> Sequence[DeadLetter]:
        queue = f"{function}.dead"
        return await self._asking(self._letters.oldest(function, limit), queue)

    async def replay(self, function: str, invocation: str, message: Message) -> bool:
        def chosen(letter: DeadLetter) -> Message | None:
            return message if letter.message.id == invocation else None

        return await self.sort_letters(function, chosen, most=1) == 1

    async def discard(self, function: str, invocation: str) -> bool:
        def chosen(letter: DeadLetter) -> bool:
            return letter.message.id == invocation

        return await self.sort_letters(function, chosen, most=1) == 1

    async def sort_letters(self, function: str, choose: Choose, most: int | None = None) -> int:
        """Ask `choose` about each dead letter, in one pass, until `most` were settled.

        A Message is put into the letter's queue in its place, True throws the letter away, False
        or None leaves it.  Returns how many were put back or thrown away.
        """
        return await self._asking(self._letters.sort(function, choose, most), f"{function}.dead")

    async def replay_many(
        self, function: str, choose: Callable[[DeadLetter], Message | None]
    ) -> int:
        """Put a message in the place of each dead letter that `choose` makes one for."""
        return await self.sort_letters(function, choose)

    async def discard_many(self, function: str, choose: Callable[[DeadLetter], bool]) -> int:
        """Throw away each dead letter that is chosen."""
        return await self.sort_letters(function, choose)

    async def _put_back(self, queue: str, message: Message) -> None:
        """Publish under a message id of its own: it may have been here before."""
        if self._link.blocked:
            raise self._refusal()
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        properties = self._prioritized(message, False, copy_id(message.id))
        self._sends.publish(
            "", queue, properties, encode_message(message), partial(_resolve, confirmed), SEND
        )
        await confirmed


def _resolve(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error:
        future.set_exception(error)
    else:
        future.set_result(None)


def _ack(port: ChannelPort, tag: int, consumer: str) -> None:
    port.ack(tag, consumer)
