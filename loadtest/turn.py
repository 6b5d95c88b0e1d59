"""When a turn of the event loop began to handle what had come."""

import asyncio
import time


class Turn:
    """One instant for all that one turn of the loop reads.

    Answers that wait to be read together came before the loop was told of any of them.  To handle
    one takes some 20 µs, so of 64 the last would seem to be over a millisecond late, which is the
    generator's own doing.  (The rest of an answer in several pieces, read with its beginning, may
    count as up to a turn too early.)
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._began: float | None = None

    def began(self) -> float:
        """When the first of this turn asked, on the clock of `time.monotonic`."""
        if self._began is None:
            self._began = time.monotonic()
            self._loop.call_soon(self._over)  # it runs before the loop looks for more
        return self._began

    def _over(self) -> None:
        self._began = None
