"""What comes out of a function's queue: told apart, and handed on."""

import logging
import time
from collections.abc import Container
from typing import Any
from uuid import uuid4

from runtime.brokers import OnDelivery
from runtime.brokers.properties import encode_properties, headers, reply_to
from runtime.brokers.rabbitmq.consumer import ChannelPort
from runtime.brokers.rabbitmq.lease import DUE, RETURNS, Lease, Leases
from runtime.brokers.rabbitmq.topology import function_of
from runtime.model import Message, Payload, queue_name
from runtime.wire import Unreadable, decode_message

EARLY = 0.5  # seconds before a message is due at which it may run
NO_PROPERTIES = encode_properties()
SAY_EVERY = 60.0  # seconds between two lines about messages of one kind of unreadable

log = logging.getLogger(__name__)


class Intake:
    """From the bytes of a delivery to a lease; what is no message of ours is a dead letter."""

    def __init__(self, leases: Leases, on_delivery: OnDelivery, cancelled: Container[str]) -> None:
        self._leases = leases
        self._on_delivery = on_delivery
        self._cancelled = cancelled
        self._said: dict[str, float] = {}  # monotonic seconds, by kind of what was refused

    def on_message(
        self,
        port: ChannelPort,
        consumer: str,
        tag: int,
        redelivered: bool,
        properties: bytes,
        body: bytes,
    ) -> None:
        try:
            message = decode_message(body)
            known = headers(properties)
        except Unreadable as error:
            self._refuse(port, consumer, tag, body, str(error))
            return
        except Exception as error:  # headers are anybody's, and pika's decoder raises many things
            self._refuse(port, consumer, tag, body, f"its headers cannot be read: {error!r:.200}")
            return
        if (reason := self._stray(message)) is not None:
            self._refuse(port, consumer, tag, body, reason)
            return
        leases = self._leases
        if redelivered and leases.decided(properties, message.id, port, tag, consumer):
            return
        if message.id in self._cancelled:
            port.ack(tag, consumer)
            return
        if (held := leases.in_hand(properties, message.id)) is not None:
            held.adopt(port, tag, consumer)
            return
        returns = 0
        if known:
            delivered = _count(known, "x-delivery-count")
            returns = _count(known, RETURNS) + delivered
            message.attempt += delivered
        message.reply_to = reply_to(properties)
        lease = Lease(leases, message, properties, returns, port, tag, consumer)
        leases.held[message.id] = lease
        if port.full:
            lease.requeue(counted=False)
        elif (wait := _count(known, DUE) / 1000 - leases.desk.now()) > EARLY:
            lease.requeue(counted=False, delay=wait)
        else:
            self._on_delivery(lease)

    def _stray(self, message: Message) -> str | None:
        """Why a message is not of this queue, if it is not."""
        queue = self._leases.spec.name
        name = queue_name(message.function, message.device)
        if queue in (name, message.function):
            return None
        return f"it is for {name}, and came into {queue}"

    def _refuse(self, port: ChannelPort, consumer: str, tag: int, body: bytes, reason: str) -> None:
        """Put it with the dead letters of this queue, and acknowledge it then."""
        leases = self._leases
        queue = leases.spec.name
        kind = reason.partition(":")[0]
        now = time.monotonic()
        if now - self._said.get(kind, -SAY_EVERY) >= SAY_EVERY:
            self._said = {k: at for k, at in self._said.items() if now - at < SAY_EVERY}
            self._said[kind] = now
            log.warning("queue=%s a message goes to the dead letters: %s", queue, reason)
        message = Message(f"unreadable-{uuid4().hex}", function_of(queue), "cpu", Payload(), 0.0)
        lease = Lease(leases, message, NO_PROPERTIES, 0, port, tag, consumer)
        lease.bury(body, reason)


def _count(known: dict[str, Any], name: str) -> int:
    value = known.get(name, 0)
    return value if isinstance(value, int) and value >= 0 else 0
