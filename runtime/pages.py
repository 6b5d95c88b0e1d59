"""The rollups of a ledger: each process writes its own, and whoever reads adds them up.

A page is what one process knows of one bucket, in a row under a name that no other page has.  It
is written whole, with all that it counts by then, in the transaction of what it counts.  A page
whose write may have failed is never written again: what comes next goes into a new one.  So each
outcome counts exactly once, whether or not a commit that nobody heard of took place.
"""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime import rows
from runtime.database import Database
from runtime.rollup import Bucket, Cell
from runtime.schema import rollups

KEPT_WIDTHS = 2  # a bucket that is over for so many of its widths leaves memory …
KEPT = 60.0  # … unless it was written to within so many seconds, as after an outage

_KEY = ("width", "at", "function", "device", "writer")


@dataclass(frozen=True, slots=True)
class Page:
    """What this process has committed of one bucket, and the name it did so under."""

    writer: str
    cell: Cell
    written_at: float  # unix seconds


class Pages:
    """Rollups in a ledger; `Ledger.pages`."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._put = database.dialect.put(rollups, _KEY, ["data"])
        self._held: dict[Bucket, Page] = {}
        self._process = secrets.token_hex(6)
        self._numbers = count()

    async def add(
        self, connection: AsyncConnection, cells: Mapping[Bucket, Cell]
    ) -> dict[Bucket, Page]:
        """Add what happened, in the caller's transaction; give what it gives to `keep` afterwards.

        Until then these pages are held by nobody: if the transaction fails, or is run again, or
        another one writes meanwhile, new ones are begun.
        """
        now = self._clock()
        pages = {bucket: self._grown(bucket, cell, now) for bucket, cell in cells.items()}
        if pages:
            given = [(*bucket, page.writer, page.cell.text()) for bucket, page in pages.items()]
            await connection.exec_driver_sql(self._put, (rows.encode(given),))
        return pages

    def keep(self, pages: Mapping[Bucket, Page]) -> None:
        """Go on with these pages, which are committed now."""
        self._held.update(pages)
        now = self._clock()
        self._held = {
            bucket: page for bucket, page in self._held.items() if _is_needed(bucket, page, now)
        }

    async def write(self, cells: Mapping[Bucket, Cell]) -> None:
        """Add what happened, in a transaction of its own; Unavailable where that fails."""
        self.keep(await self._database.write(partial(self.add, cells=cells)))

    async def read(self, width: int, start: int, until: int) -> list[tuple[Bucket, str, str]]:
        """The pages of every process, as (bucket, writer, text of the cell), in no order.

        Those of this width that begin at `start` (unix seconds) or after it, and before `until`.
        """
        c = rollups.c
        query = select(c.at, c.function, c.device, c.writer, c.data)
        within = query.where(c.width == width, c.at >= start, c.at < until)
        return [
            (Bucket(width, at, function, device), writer, data)
            for at, function, device, writer, data in await self._database.read(within)
        ]

    def _grown(self, bucket: Bucket, cell: Cell, now: float) -> Page:
        held = self._held.pop(bucket, None)
        if held is None:
            return Page(f"{self._process}-{next(self._numbers)}", cell, now)
        return Page(held.writer, held.cell + cell, now)


def _is_needed(bucket: Bucket, page: Page, now: float) -> bool:
    """Whether more may come soon; by a clock that may differ from that of who ended it."""
    is_recent = abs(now - bucket.at) < (KEPT_WIDTHS + 1) * bucket.width
    return is_recent or abs(now - page.written_at) < KEPT
