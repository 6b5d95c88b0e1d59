"""What the replicas of other workers do, asked while one of ours fails time after time.

Every worker announces its replicas every two seconds, whoever listens.  One that listened always
would hear far more than it needs, and a thousand that all fail must not all listen for long: so a
hearing is short, ends with enough witnesses, and the next one is a while later.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from runtime.bus import Bus
from runtime.pool import Pool
from runtime.quarantine import Witness
from runtime.roster import heard
from runtime.workers import ANNOUNCE_EVERY, LIVES

LISTEN = 2.5 * ANNOUNCE_EVERY  # seconds: every worker announces itself twice
ENOUGH = 20  # other replicas of the function: what they do, the rest do as well
PAUSE = 30.0  # seconds between two hearings about one pool

log = logging.getLogger(__name__)


class Hearings:
    """Listens to other workers, for pools in doubt about a replica."""

    def __init__(
        self,
        bus: Bus,
        worker: str,
        *,
        pause: float = PAUSE,
        listen: float = LISTEN,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bus = bus
        self._own = f"{LIVES}{worker}"
        self._pause = pause
        self._listen = listen
        self._clock = clock
        self._open: dict[Pool, asyncio.Event] = {}  # set once there is enough
        self._not_before: dict[str, float] = {}  # by queue

    def open(self, pool: Pool) -> Coroutine[Any, Any, None] | None:
        """What listens for a while, and has the pool judge by what it hears, if it is awaited.

        None where others are heard about the pool already, or were not long ago.
        """
        now = self._clock()
        if pool in self._open or now < self._not_before.get(pool.queue, 0.0):
            return None
        self._not_before[pool.queue] = now + self._pause
        self._open[pool] = asyncio.Event()
        return self._hear(pool)

    async def _hear(self, pool: Pool) -> None:
        try:
            await self._bus.subscribe(f"{LIVES}*")
            async with asyncio.timeout(self._listen):
                await self._open[pool].wait()
        except TimeoutError:
            log.debug("queue=%s %d others were heard", pool.queue, len(pool.quarantine.heard))
        finally:
            del self._open[pool]
            pool.quarantine.heard = {}
            if not self._open:
                await self._bus.unsubscribe(f"{LIVES}*")

    def heard(self, key: str, body: bytes) -> None:
        """A worker tells of its replicas; `key` and `body` are a signal's."""
        if not self._open or key == self._own:
            return
        try:
            lives = heard(body)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            log.debug("key=%s an announcement cannot be read: %r", key, error)
            return
        for pool, enough in self._open.items():
            known = {
                f"{life.worker}/{life.name}": Witness.heard(life)
                for life in lives
                if (life.function, life.device) == (pool.spec.name, pool.device)
            }
            pool.quarantine.heard |= known
            pool.judge()
            if len(pool.quarantine.heard) >= ENOUGH:
                enough.set()
