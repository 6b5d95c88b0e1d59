"""Exactly one message for a worker that ends after it: what a Kubernetes Job of KEDA's runs.

The worker's pool sees a broker whose only consumer ends with its first delivery.  The consumer is
cancelled before the delivery is handed on, so that no second one is ever in hand.
"""

import asyncio
import logging
from collections.abc import Callable

from runtime.brokers import Consumer, Delivery, OnDelivery, Source
from runtime.model import Message

PATIENCE = 60.0  # seconds that a worker which could begin at once waits for a message

log = logging.getLogger(__name__)


class Once:
    """The queue of a worker that takes one message of it and no more: `runtime.brokers.Source`."""

    def __init__(self, bus: Source, over: Callable[[], None], patience: float = PATIENCE) -> None:
        self.taken = False
        self.over = over  # called once the message is settled, or none came
        self.patience = patience
        self._bus = bus

    async def consume(self, queue: str, prefetch: int, on_delivery: OnDelivery) -> Consumer:
        """As a broker does; more than 1 of `prefetch` counts as 1."""
        consumer = OnceConsumer(self, queue, on_delivery)
        consumer.inner = await self._bus.consume(queue, min(prefetch, 1), consumer.take)
        return consumer


class OnceConsumer:
    """Takes one delivery, and ends: `runtime.brokers.Consumer`."""

    inner: Consumer

    def __init__(self, once: Once, queue: str, on_delivery: OnDelivery) -> None:
        self._once = once
        self._queue = queue
        self._on_delivery = on_delivery
        self._handing_on: asyncio.Task[None] | None = None
        self._waiting: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def prefetch(self) -> int:
        return 0 if self._handing_on else self.inner.prefetch

    @prefetch.setter
    def prefetch(self, value: int) -> None:
        if self._handing_on or self._closed:
            return
        self.inner.prefetch = min(value, 1)
        self._wait(value > 0)

    async def close(self) -> None:
        """Take no more; what was taken is handed on before this returns."""
        self._closed = True
        self._wait(False)
        if self._handing_on:
            await self._handing_on
        else:
            await self.inner.close()

    def take(self, delivery: Delivery) -> None:
        """The broker's delivery; any after the first is given back, and was never begun."""
        if self._once.taken or self._closed:
            delivery.requeue(counted=False)
            return
        self._once.taken = True
        self._wait(False)
        self._handing_on = asyncio.create_task(self._hand_on(delivery))

    async def _hand_on(self, delivery: Delivery) -> None:
        await self.inner.close()
        self._on_delivery(OnceDelivery(delivery, self._once.over))

    def _wait(self, begin: bool) -> None:
        """A message is waited for from when it could be begun."""
        if begin and self._waiting is None:
            loop = asyncio.get_running_loop()
            self._waiting = loop.call_later(self._once.patience, self._give_up)
        elif not begin and self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        log.info("queue=%s no message came within %.0f s", self._queue, self._once.patience)
        self._once.over()


class OnceDelivery:
    """A delivery that tells when it is settled: `runtime.brokers.Delivery`."""

    def __init__(self, delivery: Delivery, over: Callable[[], None]) -> None:
        self._delivery = delivery
        self._over = over
        self._settled = False

    @property
    def message(self) -> Message:
        return self._delivery.message

    def ack(self) -> None:
        self._delivery.ack()
        self._tell()

    def requeue(self, *, counted: bool = True, delay: float = 0.0) -> None:
        self._delivery.requeue(counted=counted, delay=delay)
        self._tell()

    def reject(self, reason: str) -> None:
        self._delivery.reject(reason)
        self._tell()

    def _tell(self) -> None:
        if not self._settled:
            self._settled = True
            self._over()
