"""Whether a role still does its work at the broker: looked at every few seconds, from beside it.

A process may live, be connected, and take nothing any more.  Restarting it helps then; it does not
while the broker is away, and would make that outage worse.  So a look counts as a turn of the
broker loop if the broker is known to be away and is being reconnected to, or if it answers and does
not hold work that this process would take and has not been given.
"""

import asyncio
import time
from collections.abc import Callable, Iterable

from runtime.bus import Bus
from runtime.errors import Unavailable

LOOK_EVERY = 5.0  # seconds
STALE = 30.0  # seconds without a turn after which a process is stuck


class Liveness:
    """Looks whether a bus and its consumers turn."""

    def __init__(
        self,
        bus: Bus,
        queues: Callable[[], Iterable[str]],
        *,
        every: float = LOOK_EVERY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.consumed_at: float | None = None  # unix seconds of the look that saw a delivery
        self._bus = bus
        self._queues = queues  # those that this process takes from
        self._every = every
        self._clock = clock
        self._turned_at = clock()
        self._taken: dict[str, int] = {}
        self._why = "it was not looked at yet"  # what kept the latest look from being a turn

    @property
    def age(self) -> float:
        """Seconds since the broker loop has turned."""
        return self._clock() - self._turned_at

    def fault(self) -> str | None:
        """Why a restart would help, in words; None while all turns."""
        if self.age < STALE:
            return None
        return f"the broker loop has not turned for {self.age:.0f} s: {self._why}"

    async def run(self) -> None:
        """Look, and look again, until this is cancelled."""
        self._turn()
        while True:
            await self.look()
            await asyncio.sleep(self._every)

    async def look(self) -> None:
        """Look once; returns when the broker has answered, or is away."""
        before = self._bus.received
        looking = asyncio.create_task(self._look())
        try:
            while not (await asyncio.wait([looking], timeout=self._every))[0]:
                if self._bus.received == before and self._bus.notices_silence:
                    self._turn()  # nothing comes at all: heartbeats will end the connection
                else:
                    self._why = "the broker does not answer, though its connection is alive"
        finally:
            looking.cancel()
        if (why := looking.result()) is None:
            self._turn()
        else:
            self._why = why

    async def _look(self) -> str | None:
        """What is wrong here; None where nothing is, or where it is the broker that is away."""
        if not self._bus.connected:
            return None if self._bus.mending else "the connection is gone, and nobody makes another"
        try:
            found = [await self._look_at(queue) for queue in self._queues()]
        except Unavailable:  # it went while it was asked
            return None
        return next(filter(None, found), None)

    async def _look_at(self, queue: str) -> str | None:
        seen = self._bus.consumption(queue)
        if not seen.open:
            return None if seen.mending else f"queue={queue} is not consumed, and nobody mends that"
        if seen.taken != self._taken.get(queue, 0):
            self._taken[queue] = seen.taken
            self.consumed_at = time.time()
        try:
            ready = await self._bus.ready(queue)
        except KeyError:  # it was deleted, and is about to be declared again
            return None
        now = self._bus.consumption(queue)
        if ready and seen.hungry and now.hungry and now.taken == seen.taken:
            return f"queue={queue} has {ready:,} messages ready, and this process is given none"
        return None

    def _turn(self) -> None:
        self._turned_at = self._clock()


def not_consuming(bus: Bus, queues: Iterable[str]) -> str | None:
    """Why nothing is taken now, as far as the broker goes."""
    if not bus.connected:
        return "the broker is away"
    closed = [queue for queue in queues if not bus.consumption(queue).open]
    return f"queue={', '.join(closed)} is not consumed" if closed else None
