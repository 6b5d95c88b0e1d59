"""Deliveries that a worker has in hand, and what becomes of them at the broker.

RabbitMQ takes a delivery back when its channel goes, while the worker goes on with it.  So a
delivery outlives its channel: delivered again to the same process, it is the same one.
"""

import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Protocol
from uuid import uuid4

from runtime.brokers import QueueSpec
from runtime.brokers.properties import PERSISTENT, encode_properties, message_id
from runtime.brokers.rabbitmq.topology import STEPS, dead_queue, step_for
from runtime.model import Message
from runtime.wire import encode_message

RETURNS, DUE = "x-lumbre-returns", "x-lumbre-due"
REASON, QUEUE, AT = "x-lumbre-reason", "x-lumbre-queue", "x-lumbre-at"
LONGEST_STEP = float(max(STEPS))  # seconds; a longer wait takes several
LONGEST_REASON = 2000  # characters
REMEMBERED = 10_000  # acknowledgements that may be lost: as many as can be out, and then some

log = logging.getLogger(__name__)


class Port(Protocol):
    """The channel a delivery came by."""

    alive: bool

    def ack(self, tag: int, consumer: str) -> None: ...


class Fate(Enum):
    """What becomes of a delivery."""

    OPEN = auto()  # nobody has decided
    ACK = auto()
    COPY = auto()  # a copy of it goes somewhere, and then it is acknowledged


class Desk(Protocol):
    """What leases need of their broker."""

    def after_reports(self, lease: "Lease") -> None:
        """Call the lease's `take_effect` once all that was reported until now is confirmed."""

    def copy(self, copy: "Copy", done: Callable[[bool], None]) -> None:
        """Publish it, and tell whether it was confirmed; False where the connection went."""

    def later(self, call: Callable[[], None]) -> None:
        """Call it in a moment."""

    @property
    def now(self) -> Callable[[], float]:
        """Unix seconds."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A message on its way to where it is to be next."""

    exchange: str
    key: str
    properties: bytes
    body: bytes


class Lease:
    """One delivery: `runtime.brokers.Delivery`."""

    __slots__ = (
        "_book",
        "_copy",
        "_copying",
        "_more",
        "consumer",
        "fate",
        "message",
        "port",
        "properties",
        "returns",
        "tag",
    )

    def __init__(
        self,
        book: "Leases",
        message: Message,
        properties: bytes,
        returns: int,
        port: Port,
        tag: int,
        consumer: str,
    ) -> None:
        self.message = message
        self.properties = properties  # with a message id that no other copy has
        self.returns = returns  # how often it was given back, counted
        self.port = port
        self.tag = tag
        self.consumer = consumer
        self.fate = Fate.OPEN
        self._book = book
        self._copy: Copy | None = None
        self._copying = False
        self._more: list[tuple[Port, int, str]] | None = None  # the same, delivered again

    def ack(self) -> None:
        if self.fate is Fate.OPEN:
            self.fate = Fate.ACK
            self._book.desk.after_reports(self)

    def requeue(self, *, counted: bool = True, delay: float = 0.0) -> None:
        """Publish a copy, to the tail or to a delay queue; then acknowledge this one."""
        if self.fate is not Fate.OPEN:
            return
        returns, limit = self.returns + counted, self._book.spec.delivery_limit
        if returns > limit:
            self.reject(f"given back {returns} times, over its queue's limit of {limit}")
            return
        again = self.message
        if counted:
            again = replace(again, attempt=again.attempt + 1)
        due = self._book.desk.now() + delay if delay > LONGEST_STEP else 0.0
        self._move(self._book.again(again, returns, delay, due))

    def reject(self, reason: str) -> None:
        self.bury(encode_message(self.message), reason)

    def bury(self, body: bytes, reason: str) -> None:
        """Put bytes with the dead letters, then acknowledge this one."""
        if self.fate is Fate.OPEN:
            self._move(self._book.dead(body, self.message.id, reason))

    def _move(self, copy: Copy) -> None:
        self.fate, self._copy = Fate.COPY, copy
        self._book.desk.after_reports(self)

    def take_effect(self) -> None:
        """Tell the broker what becomes of it; later, where it is delivered here again."""
        if not self.port.alive:
            self._book.lost(self)
        elif self._copy is None:
            self._settle()
        elif not self._copying:
            self._copying = True
            self._book.desk.copy(self._copy, self._copied)

    def adopt(self, port: Port, tag: int, consumer: str) -> None:
        """It was delivered again: settle that one too, or instead."""
        if self.port.alive:
            self._more = [*(self._more or ()), (port, tag, consumer)]
            return
        self.port, self.tag, self.consumer = port, tag, consumer

    def _copied(self, confirmed: bool) -> None:
        self._copying = False
        if confirmed:
            # A copy is in its place: should this one come again, it is to be acknowledged at once.
            self.fate, self._copy = Fate.ACK, None
            self.take_effect()
        else:
            self._book.desk.later(self.take_effect)

    def _settle(self) -> None:
        self._book.settled(self)
        self.port.ack(self.tag, self.consumer)
        for port, tag, consumer in self._more or ():
            if port.alive:
                port.ack(tag, consumer)


class Leases:
    """All deliveries of one queue that this process has in hand, over all of its channels."""

    def __init__(self, spec: QueueSpec, desk: Desk) -> None:
        self.spec = spec
        self.desk = desk
        self.held: dict[str, Lease] = {}  # by invocation
        self._acked: dict[Port, deque[tuple[bytes, str]]] = {}  # the latest of each channel
        self._decided: OrderedDict[str, Lease | None] = OrderedDict()  # by key; None: acknowledged

    def in_hand(self, properties: bytes, id: str) -> Lease | None:
        """The lease that a delivery is to be settled with; None where it is to be taken anew.

        A copy that was made here may be delivered here before it is confirmed: it is what goes on,
        and settled with the one that it was made of it would be lost.
        """
        held = self.held.get(id)
        if held is None or held.fate is not Fate.COPY:
            return held
        same = copy_key(properties, id) == copy_key(held.properties, id)
        return held if same else None

    def settled(self, lease: Lease) -> None:
        """Its acknowledgement is on its way."""
        self._let_go(lease)
        acked = self._acked.get(lease.port)
        if acked is None:
            self._forget_channels()
            acked = self._acked[lease.port] = deque(maxlen=REMEMBERED)
        acked.append((lease.properties, lease.message.id))

    def lost(self, lease: Lease) -> None:
        """What becomes of it is decided, and its channel is gone."""
        self._let_go(lease)
        key = copy_key(lease.properties, lease.message.id)
        self._remember(key, None if lease.fate is Fate.ACK else lease)

    def decided(self, properties: bytes, id: str, port: Port, tag: int, consumer: str) -> bool:
        """Settle what is delivered again although its fate was decided; False if it was not."""
        self._forget_channels()
        key = copy_key(properties, id)
        if key not in self._decided:
            return False
        lease = self._decided.pop(key)
        if lease is None:
            self._remember(key, None)
            port.ack(tag, consumer)
        else:
            lease.port, lease.tag, lease.consumer = port, tag, consumer
            lease.take_effect()
        return True

    def again(self, message: Message, returns: int, delay: float, due: float) -> Copy:
        """A copy for the queue itself."""
        headers = {RETURNS: returns} if returns else {}
        if due:
            headers[DUE] = int(due * 1000)
        properties = encode_properties(
            delivery_mode=PERSISTENT,
            headers=headers or None,
            priority=priority(message),
            reply_to=message.reply_to,
            message_id=copy_id(message.id),
        )
        exchange = step_for(delay) if delay > 0 else ""
        return Copy(exchange, self.spec.name, properties, encode_message(message))

    def dead(self, body: bytes, id: str, reason: str) -> Copy:
        """A copy for the dead letters."""
        headers = {
            REASON: reason[:LONGEST_REASON],
            QUEUE: self.spec.name,
            AT: int(self.desk.now() * 1e6),
        }
        properties = encode_properties(
            delivery_mode=PERSISTENT, headers=headers, message_id=copy_id(id)
        )
        return Copy("", dead_queue(self.spec.name), properties, body)

    def _let_go(self, lease: Lease) -> None:
        if self.held.get(lease.message.id) is lease:
            del self.held[lease.message.id]

    def _forget_channels(self) -> None:
        """Of channels that are gone, the last acknowledgements may not have arrived."""
        for port in [port for port in self._acked if not port.alive]:
            for properties, id in self._acked.pop(port):
                self._remember(copy_key(properties, id), None)

    def _remember(self, key: str, lease: Lease | None) -> None:
        self._decided[key] = lease
        if len(self._decided) > REMEMBERED:
            self._decided.popitem(last=False)


def copy_key(properties: bytes, id: str) -> str:
    """What tells a copy of a message from every other: its AMQP message id."""
    return message_id(properties) or id


def copy_id(id: str) -> str:
    """An AMQP message id for a copy: another for each, since one that is known is not run again."""
    return f"{id[:200]}.{uuid4().hex[:12]}"


def priority(message: Message) -> int | None:
    """What AMQP takes, or nothing for the usual one."""
    return min(max(message.priority, 0), 255) or None
