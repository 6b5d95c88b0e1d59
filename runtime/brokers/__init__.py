"""Brokers carry messages from gateways to workers.

One contract, every broker: what `Broker`, `Consumer` and `Delivery` say holds for each of them, and
`tests/runtime/brokers/test_contract.py` runs over all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from runtime.model import Depth, Message


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """A queue to declare: one function on one device."""

    name: str  # `matmul.gpu`
    delivery_limit: int = 20  # given back (counted) more often than this is a dead letter


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was given up on, and why.

    Anybody may put bytes into a queue of a server.  Where they are no message of ours they are in
    `unreadable`, and `message` stands in for one: an id to discard it by, the function, no input.
    """

    message: Message
    queue: str
    reason: str
    at: float  # unix seconds
    unreadable: bytes | None = None


@dataclass(frozen=True, slots=True)
class Survey:
    """What a broker held at one look: messages by queue.

    `leased` is None where nobody can tell it of other processes.
    """

    ready: dict[str, int]  # those that are delayed too; without the queues that are not there
    leased: dict[str, int] | None
    between: dict[str, int]  # in queues of no function: on their way from one place to another


class Delivery(Protocol):
    """One leased copy of a message; settle it once, with one of the three.

    Settling again, or after the queue took the lease back, changes nothing.
    """

    @property
    def message(self) -> Message: ...

    def ack(self) -> None:
        """The outcome is recorded: forget the message."""

    def requeue(self, *, counted: bool = True, delay: float = 0.0) -> None:
        """Give it back to the head of its queue; after `delay` seconds, to the tail.

        Head and tail are those of its priority; among several at the head the order is the
        broker's.  `counted` says that this attempt was begun: the next delivery has attempt + 1,
        and it counts towards the delivery limit.  This delivery keeps showing its own attempt.
        """

    def reject(self, reason: str) -> None:
        """Give up on it: it becomes a dead letter of its function."""


OnDelivery = Callable[[Delivery], None]


class Consumer(Protocol):
    """Takes deliveries from a queue, at most `prefetch` of them unsettled.

    `prefetch` may be set at any time; 0 pauses, and lowering it takes back nothing that was
    delivered.
    """

    prefetch: int

    async def close(self) -> None:
        """Take no more: no delivery comes after this returned.

        Unsettled deliveries stay leased until settled.
        """


class Source(Protocol):
    """Where deliveries come from: all that those who run them need of a `Broker`."""

    async def consume(self, queue: str, prefetch: int, on_delivery: OnDelivery) -> Consumer: ...


class Broker(Protocol):
    """Queues with leases, priorities, delays and dead letters."""

    async def declare(self, queues: Sequence[QueueSpec]) -> None:
        """Make the queues exist; declaring one again is fine."""

    async def publish(self, queue: str, message: Message) -> None:
        """Return once the broker is responsible for the message.

        KeyError for no such queue; Unavailable where the broker is closed or away.  Ids are the
        caller's to keep unique: a broker that sees one while it still holds it in this queue,
        waiting or leased, refuses it with ValueError.
        """

    async def consume(self, queue: str, prefetch: int, on_delivery: OnDelivery) -> Consumer:
        """Take from a queue: the highest priority first, then the oldest.

        `on_delivery` is called on the loop, perhaps before this returns, but never from inside a
        publish, a settlement or an assignment of `prefetch`; it must not raise.  Consumers of one
        queue take turns.  KeyError for no such queue; Unavailable where the broker is closed or
        away.
        """

    async def depth(self, queue: str) -> Depth:
        """How many messages are ready (delayed ones included), leased, and dead letters of it."""

    async def survey(self, queues: Sequence[str]) -> Survey:
        """What lies in these queues, and between them."""

    async def remove(self, queue: str, invocation: str) -> bool:
        """Take a ready or delayed message out; False if it is not waiting here."""

    async def dead_letters(self, function: str, limit: int = 100) -> Sequence[DeadLetter]:
        """The oldest dead letters of a function, both devices."""

    async def replay(self, function: str, invocation: str, message: Message) -> bool:
        """Put `message` at the tail of the dead letter's queue, and forget the letter.

        The message may have another id.  False if there is no such letter; where this raises, as
        publish does, the letter stays.
        """

    async def discard(self, function: str, invocation: str) -> bool:
        """Forget a dead letter; False if there is no such letter."""

    async def discard_many(self, function: str, choose: Callable[[DeadLetter], bool]) -> int:
        """Forget each dead letter that is chosen, in one pass; how many were."""

    async def purge(self, queue: str) -> int:
        """Drop every ready and delayed message; returns how many."""

    async def close(self) -> None:
        """End every consumer; deliveries that are out may still be settled."""
