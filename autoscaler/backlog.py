"""The backlog of queues, as a gateway reads it from the broker for whoever scales its workers.

What is read is what the broker tells now, or an error: a 0 that is only not known would have
somebody scale busy workers away.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from runtime.bus import Bus
from runtime.errors import NotFound, Unavailable
from runtime.function import FunctionSpec
from runtime.workers import Workers, queues_of

PATIENCE = 8.0  # seconds for an answer; the management API is given up on after 5


class Backlogs(Protocol):
    """The queues of all functions, and how much is in them."""

    def queues(self) -> Collection[str]:
        """All there are."""

    def has(self, queue: str) -> bool:
        """Whether it is among them, said fast."""

    async def read(self, queue: str) -> int:
        """Ready and unacknowledged messages now; Unavailable where that cannot be told.

        NotFound where the broker has no such queue.
        """

    def glimpses(self) -> Mapping[str, int]:
        """What was last seen, some seconds old and perhaps wrong: it says when to read."""

    def asleep(self, queue: str) -> bool:
        """Whether no replica is known to take from it."""


class BusBacklogs:
    """`Backlogs` of a gateway on a bus."""

    def __init__(
        self, bus: Bus, workers: Workers, functions: Callable[[], Mapping[str, FunctionSpec]]
    ) -> None:
        self._bus = bus
        self._workers = workers
        self._functions = functions

    def queues(self) -> Collection[str]:
        return queues_of(self._functions().values())

    def has(self, queue: str) -> bool:
        function, _, device = queue.rpartition(".")
        spec = self._functions().get(function)
        return spec is not None and device in spec.devices

    async def read(self, queue: str) -> int:
        """See `Backlogs`.

        Ready ones are counted by the server at that moment.  Unacknowledged ones are the more of
        what the management API says, whose statistics are seconds old, and what workers announce,
        which they do as it changes.  Ready ones are read first: what is delivered in between then
        counts twice, and not never.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                ready = await self._bus.ready(queue)
                told = await self._bus.depth(queue)
        except KeyError:
            raise NotFound(
                f"the broker has no queue {queue}: somebody deleted it; `lumbre declare` makes it"
            ) from None
        except TimeoutError:
            raise Unavailable(
                f"the broker did not say within {PATIENCE:g} s how full {queue} is", 2
            ) from None
        return ready + max(told.unacknowledged, self._in_hand(queue))

    def glimpses(self) -> Mapping[str, int]:
        seen = {}
        for queue in self.queues():
            depth = self._workers.depth(queue)
            seen[queue] = depth.ready + max(depth.unacknowledged, self._in_hand(queue))
        return seen

    def asleep(self, queue: str) -> bool:
        return self._workers.asleep(queue)

    def _in_hand(self, queue: str) -> int:
        function, _, device = queue.rpartition(".")
        state = self._workers.all_pools().get((function, "gpu" if device == "gpu" else "cpu"))
        return state.in_hand if state else 0
