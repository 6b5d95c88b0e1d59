"""What leases ask of their broker: copies, and an order of things."""

import asyncio
import logging
from collections.abc import Callable

from runtime.brokers.rabbitmq.lease import Copy, Lease
from runtime.brokers.rabbitmq.link import Link
from runtime.brokers.rabbitmq.outcomes import Outcomes
from runtime.brokers.rabbitmq.publisher import COPY, Publisher

AGAIN = 1.0  # seconds until a copy that was refused is tried again

log = logging.getLogger(__name__)


class BrokerDesk:
    """The `Desk` of all leases of a broker."""

    def __init__(
        self, link: Link, publisher: Publisher, outcomes: Outcomes, clock: Callable[[], float]
    ) -> None:
        self.now = clock
        self._link = link
        self._publisher = publisher
        self._outcomes = outcomes

    def after_reports(self, lease: Lease) -> None:
        self._outcomes.after(lease)

    def copy(self, copy: Copy, done: Callable[[bool], None]) -> None:
        def settled(error: Exception | None) -> None:
            if error and self._link.up:
                log.error("queue=%s a message cannot be moved there: %s", copy.key, error)
            done(error is None)

        self._publisher.publish(copy.exchange, copy.key, copy.properties, copy.body, settled, COPY)

    def later(self, call: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(AGAIN, call)
