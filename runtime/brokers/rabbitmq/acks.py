"""Which acknowledgements to send, so that few of them settle many deliveries."""

import asyncio
from collections.abc import Sequence
from typing import Protocol


class AckWindow:
    """The delivery tags of one channel, which the server counts from 1."""

    __slots__ = ("_above", "_lowest")

    def __init__(self) -> None:
        self._lowest = 1  # the lowest tag that is not settled
        self._above: set[int] = set()  # settled ones above it

    def settle(self, tags: Sequence[int]) -> list[tuple[int, bool]]:
        """What to send for these tags, which were not settled before: (tag, multiple).

        One acknowledgement with `multiple` settles all tags up to its own; the server wants that
        one to be unsettled until then.
        """
        above = self._above
        above.update(tags)
        lowest, top = self._lowest, 0
        fresh = set(tags)
        while lowest in above:
            above.remove(lowest)
            if lowest in fresh:
                top = lowest
            lowest += 1
        self._lowest = lowest
        acks = [(tag, False) for tag in sorted(fresh) if tag > top]
        return [(top, True), *acks] if top else acks


class Flushes(Protocol):
    """What gathers acknowledgements until it is told to send them."""

    def flush(self) -> None: ...


class Turn:
    """Has what gathered something in this turn of the loop flushed at its end."""

    __slots__ = ("_dirty", "_scheduled", "held")

    def __init__(self) -> None:
        self.held = False  # somebody calls flush() when done
        self._dirty: list[Flushes] = []
        self._scheduled = False

    def add(self, dirty: Flushes) -> None:
        self._dirty.append(dirty)
        if not self.held and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._end)

    def flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for each in dirty:
            each.flush()

    def _end(self) -> None:
        self._scheduled = False
        self.flush()
