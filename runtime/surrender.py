"""When a worker with one pool gives up, so that Kubernetes shows that and starts another one.

A worker of many functions goes on: what is wrong with one of them must not end the others.
"""

import time
from collections import deque
from collections.abc import Callable

from runtime.errors import LumbreError
from runtime.pool import Pool

STARTS = 5  # failed starts of replicas in a row
TAKEN_OUT = 2  # replicas
WITHIN = 600.0  # seconds


class Surrender:
    """Watches the pool of a worker whose number of replicas is fixed."""

    def __init__(
        self, over: Callable[[LumbreError], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._over = over
        self._clock = clock
        self._taken_out: deque[float] = deque(maxlen=TAKEN_OUT)

    def changed(self, pool: Pool) -> None:
        """A replica started, or ended."""
        if pool.failed_starts >= STARTS:
            self._over(LumbreError(f"queue={pool.queue} this worker gives up: {pool.trouble}"))

    def taken_out(self, pool: Pool, why: str) -> None:
        """A replica was taken out."""
        now = self._clock()
        self._taken_out.append(now)
        if len(self._taken_out) == TAKEN_OUT and now - self._taken_out[0] <= WITHIN:
            self._over(
                LumbreError(
                    f"queue={pool.queue} this worker gives up: {TAKEN_OUT} of its replicas were"
                    f" taken out within {WITHIN / 60:.0f} minutes; the last was {why}"
                )
            )
