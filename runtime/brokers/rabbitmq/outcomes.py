"""Outcomes on their way to `results`: many in a message, one message at a time.

While one is being confirmed, what is reported meanwhile gathers for the next (group commit).  What
follows from an outcome, above all the ack, waits for its confirm.
"""

import asyncio
from collections import deque
from itertools import count
from typing import Protocol

from runtime.brokers.properties import PERSISTENT, encode_properties
from runtime.brokers.rabbitmq.acks import Turn
from runtime.brokers.rabbitmq.link import Link
from runtime.brokers.rabbitmq.publisher import LASTING, Publisher
from runtime.brokers.rabbitmq.topology import RESULTS
from runtime.wire import join_reports

MOST, LARGEST = 256, 2**20  # entries and bytes of one message


class Effect(Protocol):
    """What waits for a confirm."""

    def take_effect(self) -> None: ...


class Outcomes:
    """The reports of this process, kept until they are confirmed."""

    def __init__(self, link: Link, publisher: Publisher, turn: Turn) -> None:
        self._link = link
        self._publisher = publisher
        self._turn = turn
        self._gathered: deque[bytes] = deque()
        self._flying = 0  # entries of the message that is not confirmed yet
        self._scheduled = False
        self._made = 0  # entries that were ever reported
        self._confirmed = 0
        self._effects: deque[tuple[int, Effect]] = deque()  # after that many are confirmed
        self._numbers = count(1)

    @property
    def idle(self) -> bool:
        return self._confirmed == self._made

    def report(self, entry: bytes) -> None:
        self._gathered.append(entry)
        self._made += 1
        if not self._flying and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self.fly)

    def after(self, effect: Effect) -> None:
        """Have it take effect when all that was reported until now is confirmed; perhaps now."""
        if self._confirmed == self._made:
            effect.take_effect()
        else:
            self._effects.append((self._made, effect))

    def fly(self) -> None:
        """Send what has gathered, unless something is on its way or the server takes nothing."""
        self._scheduled = False
        if self._flying or not self._gathered or self._link.blocked:
            return
        gathered, size = self._gathered, 0
        batch: list[bytes] = []
        while gathered and len(batch) < MOST and (not batch or size + len(gathered[0]) <= LARGEST):
            entry = gathered.popleft()
            batch.append(entry)
            size += len(entry)
        self._flying = len(batch)
        properties = _properties(next(self._numbers))
        self._publisher.publish("", RESULTS, properties, join_reports(batch), self._landed, LASTING)

    def _landed(self, error: Exception | None) -> None:
        """It is confirmed; an error comes only when all is closed."""
        flown, self._flying = self._flying, 0
        if error:
            return
        self._confirmed += flown
        self.fly()
        effects, confirmed = self._effects, self._confirmed
        self._turn.held = True
        while effects and effects[0][0] <= confirmed:
            effects.popleft()[1].take_effect()
        self._turn.held = False
        self._turn.flush()


def _properties(number: int) -> bytes:
    return encode_properties(delivery_mode=PERSISTENT, message_id=f"outcomes-{number}")
