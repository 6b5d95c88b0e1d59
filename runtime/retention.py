"""What the ledger forgets: records of invocations that ended long ago, and what belongs to them.

It forgets in small transactions, and leaves alone what somebody else is writing.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Delete,
    Select,
    and_,
    exists,
    false,
    func,
    literal_column,
    or_,
    select,
    text,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import TextClause

from runtime import rows, schema
from runtime.database import Database
from runtime.model import TERMINAL
from runtime.schema import (
    BatchState,
    batches,
    callbacks,
    decisions,
    invocations,
    replicas,
    rollups,
)
from runtime.tally import Tally

_ENDED_AT: ColumnElement[float] = literal_column(schema.ENDED_AT.text)
_CALLBACK_DUE = exists().where(callbacks.c.invocation == invocations.c.id, schema.UNSENT)


@dataclass(frozen=True, slots=True)
class Purged:
    """An invocation whose record is gone."""

    id: str
    has_blobs: bool  # or may have: they are the caller's to delete


class Retention:
    """Deletes what need not be kept; `Ledger.retention`."""

    def __init__(self, database: Database, tally: Tally) -> None:
        self._database = database
        self._tally = tally

    async def purge(self, older_than: float | None, keep: int | None, limit: int) -> list[Purged]:
        """Delete invocations that ended longest ago, at most `limit`, the oldest first.

        Those that ended before `older_than` (unix seconds), and those beyond the latest `keep`.
        None sets no bound.  What is not terminal stays, and so does what has a callback that is
        neither delivered nor given up.
        """
        c = invocations.c
        oldest = (
            select(c.id, _ENDED_AT)
            .where(schema.FINISHED, ~_CALLBACK_DUE)
            .order_by(_ENDED_AT, c.id)
            .limit(limit)
            .with_for_update(of=invocations, skip_locked=True)
        )

        async def purge(connection: AsyncConnection) -> list[Purged]:
            held = 0 if keep is None else await self._tally.finished(connection)
            excess = 0 if keep is None else held - keep
            found = (await connection.execute(oldest)).all()
            ids = [
                id
                for place, (id, ended_at) in enumerate(found)
                if place < excess or (older_than is not None and ended_at < older_than)
            ]
            return await self.remove(connection, ids)

        return await self._database.write(purge)

    async def purge_among(self, ids: Collection[str]) -> list[Purged]:
        """Delete those of these that are terminal and have no callback due."""
        which = select(invocations.c.id).where(
            self._among(invocations.c.id, ids), schema.FINISHED, ~_CALLBACK_DUE
        )

        async def purge(connection: AsyncConnection) -> list[Purged]:
            locked = which.with_for_update(of=invocations, skip_locked=True)
            return await self.remove(connection, list(await connection.scalars(locked)))

        return await self._database.write(purge)

    async def trim(self, older_than: float | None, keep: int | None, limit: int) -> int:
        """Delete scaling decisions by the same measures, and batches of which nothing is left.

        At most `limit` of each; how many there were of the more numerous.
        """

        async def trim(connection: AsyncConnection) -> int:
            old = decisions.c.number.in_(_old_decisions(older_than, keep, limit))
            empty = batches.c.id.in_(_empty_batches(older_than).limit(limit))
            gone = [
                await connection.execute(decisions.delete().where(old)),
                await connection.execute(batches.delete().where(empty)),
            ]
            return max(result.rowcount for result in gone)

        return await self._database.write(trim)

    async def fade(
        self, before: Mapping[int, float], replicas_before: float | None, limit: int
    ) -> int:
        """Delete rollups and replicas of the past, at most `limit` of each kind, the oldest first.

        Rollups of each width (seconds) that began before an instant (unix seconds), and replicas
        that ended, or were last heard of, before one.  How many there were of the most numerous.
        """
        statements = [_old_rollups(width, at, limit) for width, at in sorted(before.items())]
        if replicas_before is not None:
            statements.append(_old_replicas(replicas_before, limit))

        async def fade(connection: AsyncConnection) -> int:
            gone = [(await connection.execute(each)).rowcount for each in statements]
            return max(gone, default=0)

        return await self._database.write(fade)

    async def ends_among(self, ids: Collection[str]) -> dict[str, float | None]:
        """When each of these ended that there is, in unix seconds; None while it has not."""
        c = invocations.c
        query = select(c.id, c.status, _ENDED_AT).where(self._among(c.id, ids))
        return {
            id: ended_at if status in TERMINAL else None
            for id, status, ended_at in await self._database.read(query)
        }

    async def remove(
        self, connection: AsyncConnection, ids: list[str], *, accepted: bool = True
    ) -> list[Purged]:
        """Delete invocations with what belongs to them, in the caller's transaction.

        What was never accepted is tallied as if it had never come.
        """
        if not ids:
            return []
        for table in (schema.attempts, schema.callbacks, schema.settled_letters):
            await connection.execute(table.delete().where(self._among(table.c.invocation, ids)))
        c = invocations.c
        told = (c.id, c.status, c.batch, c.input_key, c.input_parts, c.result_part, c.blobs)
        delete = invocations.delete().where(self._among(c.id, ids)).returning(*told)
        gone = (await connection.execute(delete)).all()
        if some := {row.batch for row in gone if row.batch is not None}:
            empty = _empty_batches(None).where(batches.c.id.in_(some))
            await connection.execute(batches.delete().where(batches.c.id.in_(empty)))
        statuses = [row.status for row in gone]
        await self._tally.add(connection, _purged(statuses) if accepted else _withdrawn(statuses))
        return [Purged(row.id, _has_blobs(row)) for row in gone]

    def _among(self, column: ColumnElement[str], ids: Collection[str]) -> TextClause:
        sql = self._database.dialect.among(str(column), ":among")
        return text(sql).bindparams(among=rows.encode(list(ids)))


def _old_decisions(older_than: float | None, keep: int | None, limit: int) -> Select[Any]:
    """Those among the first `limit`: they are numbered in the order they were made."""
    first = select(decisions.c.number, decisions.c.at).order_by(decisions.c.number).limit(limit)
    c = first.subquery().c
    wanted: list[ColumnElement[bool]] = []
    if older_than is not None:
        wanted.append(c.at < older_than)
    if keep is not None:
        wanted.append(c.number <= select(func.max(decisions.c.number) - keep).scalar_subquery())
    return select(c.number).where(or_(false(), *wanted))


def _old_rollups(width: int, before: float, limit: int) -> Delete:
    key = tuple(rollups.primary_key)
    old = select(*key).where(rollups.c.width == width, rollups.c.at < before)
    return rollups.delete().where(tuple_(*key).in_(old.order_by(*key).limit(limit)))


def _old_replicas(before: float, limit: int) -> Delete:
    key = tuple(replicas.primary_key)
    over = func.coalesce(replicas.c.ended_at, replicas.c.seen_at)
    old = select(*key).where(over < before).order_by(over).limit(limit)
    return replicas.delete().where(tuple_(*key).in_(old))


def _empty_batches(older_than: float | None) -> Select[Any]:
    """Batches that are not coming in, and of which no invocation is left."""
    c = batches.c
    left = exists().where(invocations.c.batch == c.id)
    over = and_(c.state.in_((BatchState.ACCEPTED, BatchState.CANCELLED)), ~left)
    return select(c.id).where(over if older_than is None else over & (c.created_at < older_than))


def _purged(statuses: list[str]) -> Counter[str]:
    return Counter(f"purged.{status}" for status in statuses)


def _withdrawn(statuses: list[str]) -> dict[str, int]:
    ends = Counter(status for status in statuses if status in TERMINAL)
    return {status: -count for status, count in ends.items()} | {"accepted": -len(statuses)}


def _has_blobs(row: Any) -> bool:
    """Whether a part of it is in the blob store: `"key":"…"` in its JSON, or in a text of it."""
    # Not for the database to tell: `IS NOT NULL` is always true in a RETURNING of SQLite 3.40.
    parts = (row.input_parts, row.result_part, row.blobs)
    return row.input_key is not None or any('"key":"' in each for each in parts if each)
