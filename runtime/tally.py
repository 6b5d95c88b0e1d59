"""A running tally of what was done, kept in the same transactions as the rows.

It is the audit's second witness, and says how many rows there are without counting them.
"""

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime import rows
from runtime.database import Database
from runtime.model import TERMINAL
from runtime.schema import totals

# What is added up to how many rows have each terminal status, and what is taken off that.
ENDS = {status.value: status for status in TERMINAL}
PURGED = {f"purged.{status}": status for status in TERMINAL}


class Tally:
    """Counts by name: `accepted`, `ignored`, terminal statuses, and `purged.{status}`."""

    def __init__(self, database: Database) -> None:
        self._part = database.part
        self._add = database.dialect.add(totals, ("name", "part"), "count")

    async def add(self, connection: AsyncConnection, counts: Mapping[str, int]) -> None:
        """Add to it; last of all, since others that keep the same part wait from here on."""
        changed = [(name, self._part, count) for name, count in sorted(counts.items())]
        if changed:
            await connection.exec_driver_sql(self._add, (rows.encode(changed),))

    async def finished(self, connection: AsyncConnection) -> int:
        """How many terminal rows there are."""
        query = select(totals.c.name, totals.c.count).where(totals.c.name.in_([*ENDS, *PURGED]))
        found = await connection.execute(query)
        return sum(count if name in ENDS else -count for name, count in found)
