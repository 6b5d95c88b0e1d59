"""Dead letters as the ledger knows them: which of them somebody has dealt with, and how.

A broker that is a server keeps letters by itself.  Here is what makes a second order about one of
them harmless, and from what a broker in memory finds its letters again.
"""

import time
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import exists, null, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime import rows, schema
from runtime.database import Database
from runtime.model import Invocation, Status


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of the dead letter of an invocation."""

    at: float  # unix seconds
    replayed_as: str | None  # the invocation that was made of it; None where it was discarded


class SettledLetters:
    """Which dead letters were dealt with; `Ledger.letters`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert = database.dialect.insert(schema.settled_letters)

    async def settle(self, letters: Mapping[str, str | None]) -> None:
        """Keep that these are dealt with, by what each was replayed as; None is discarded.

        What was said of one first stays.  Unavailable where it cannot be written.
        """
        now = time.time()
        given = [(id, now, letters[id]) for id in sorted(letters)]

        async def keep(connection: AsyncConnection) -> None:
            if given:
                await connection.exec_driver_sql(self._insert, (rows.encode(given),))

        await self._database.write(keep)

    async def among(self, ids: Collection[str]) -> dict[str, Settled]:
        """Those of these that are dealt with, by invocation."""
        if not ids:
            return {}
        c = schema.settled_letters.c
        sql = self._database.dialect.among(str(c.invocation), ":among")
        query = select(schema.settled_letters).where(
            text(sql).bindparams(among=rows.encode(list(ids)))
        )
        return {
            row.invocation: Settled(row.settled_at, row.replayed_as)
            for row in await self._database.read(query)
        }

    async def functions(self) -> list[str]:
        """The functions that have dead invocations."""
        c = schema.invocations.c
        query = select(c.function).distinct().where(c.status == Status.DEAD)
        return [function for (function,) in await self._database.read(query)]

    async def left(self, most: int, chunk: int = 500) -> AsyncIterator[list[Invocation]]:
        """Dead invocations whose letter nobody has dealt with, the oldest first, at most so many.

        In lists of at most `chunk`, without results and logs.
        """
        c, settled = schema.invocations.c, schema.settled_letters.c
        columns = [column for column in c if column.name not in ("result", "log")]
        empty = [null().label("result"), null().label("log")]
        query = (
            select(*columns, *empty)
            .where(c.status == Status.DEAD, ~exists().where(settled.invocation == c.id))
            .order_by(c.created_at, c.id)
        )
        last: tuple[float, str] | None = None
        while most > 0:
            page = query if last is None else query.where(tuple_(c.created_at, c.id) > last)
            found = await self._database.read(page.limit(min(chunk, most)))
            if not found:
                return
            yield [rows.invocation_of(row) for row in found]
            most -= len(found)
            last = (found[-1].created_at, found[-1].id)
