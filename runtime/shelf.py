"""The rollups of one width as they were read, as far back as a window goes.

A bucket that is over hardly ever changes, so that only the latest are read each time.  What comes
late all the same (the outcomes of a worker or a ledger that was away) is found by reading all of
them now and then, and only what has changed is taken apart again.
"""

import asyncio
from dataclasses import dataclass, field

from runtime.model import Device
from runtime.pages import Pages
from runtime.rollup import Bucket, Cell, bucket_start

LATE = 15.0  # seconds for which outcomes of a bucket may still come, as a rule
WHOLE = 30.0  # seconds until all of it is read again
AT_ONCE = 100  # cells that are taken apart before others have their turn

Key = tuple[str, Device]


@dataclass(slots=True)
class _Place:
    """One bucket: what each writer wrote, and what that comes to."""

    texts: dict[str, str] = field(default_factory=dict)
    cells: dict[str, Cell] = field(default_factory=dict)
    total: Cell | None = None  # None until it is asked for

    def take(self, writer: str, text: str) -> bool:
        """Take what a writer wrote; whether that is new."""
        if self.texts.get(writer) == text:
            return False
        self.texts[writer] = text
        self.cells[writer] = Cell.of(text)
        self.total = None
        return True

    def sum(self) -> Cell:
        if self.total is None:
            first, *others = self.cells.values()
            self.total = sum(others, first)
        return self.total


class Shelf:
    """Cells of one width by bucket; `refresh` before asking for them."""

    def __init__(self, pages: Pages, width: int) -> None:
        self._pages = pages
        self._width = width
        self._places: dict[int, dict[Key, _Place]] = {}  # by where a bucket begins
        self._start: int | None = None  # from here on all is known as of …
        self._whole_at = 0.0  # … this instant, in unix seconds
        self._read_at = 0.0  # when the latest were read
        self._lock = asyncio.Lock()

    async def refresh(self, start: int, until: int, now: float) -> None:
        """Read what may have changed of the buckets that begin in [start, until).

        All in unix seconds.  Unavailable where the ledger cannot be read; then nothing is changed.
        """
        async with self._lock:
            known = self._start is not None and self._start <= start
            if known and 0 <= now - self._whole_at < WHOLE:
                start = max(start, bucket_start(self._read_at - LATE, self._width))
                await self._take(await self._pages.read(self._width, start, until))
                self._read_at = now
                return
            await self._take(await self._pages.read(self._width, start, until))
            self._read_at = now
            self._places = {at: held for at, held in self._places.items() if at >= start}
            self._start, self._whole_at = start, now

    def cells(self, start: int, count: int) -> dict[Key, list[Cell | None]]:
        """What happened in so many buckets from `start` on; None where nothing was written."""
        found: dict[Key, list[Cell | None]] = {}
        for number in range(count):
            for key, place in self._places.get(start + number * self._width, {}).items():
                if key not in found:
                    found[key] = [None] * count
                found[key][number] = place.sum()
        return found

    async def _take(self, pages: list[tuple[Bucket, str, str]]) -> None:
        fresh = 0
        for bucket, writer, text in pages:
            held = self._places.setdefault(bucket.at, {})
            place = held.setdefault((bucket.function, bucket.device), _Place())
            fresh += place.take(writer, text)
            if fresh == AT_ONCE:
                fresh = 0
                await asyncio.sleep(0)
