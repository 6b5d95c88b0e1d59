"""Batches as the ledger knows them: what is asked of their rows beyond those of any invocation.

A batch is accepted as a whole or not at all.  What was not accepted is to be taken away, whoever
died with it in hand, and what was cancelled is to be ended likewise: here is how both are found.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Select, exists, func, null, select, text, union_all
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime import rows, schema
from runtime.database import Database
from runtime.model import TERMINAL, Failure, Invocation, Part, Status, queue_name
from runtime.schema import Batch, BatchState, batches, invocations

LATELY = 30.0  # seconds that throughput is said of
LATEST = 1000  # outcomes that it is said of, at most


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a batch has come."""

    batch: Batch
    by_status: dict[Status, int]
    throughput: float | None = None  # items a second that ended lately, where it was asked for

    @property
    def left(self) -> int:
        """Items that are not over, of those that have come in."""
        return sum(count for status, count in self.by_status.items() if status not in TERMINAL)

    @property
    def done(self) -> int:
        """Items that are over; those whose record was purged since count, too."""
        known = sum(self.by_status.values())
        return max(known, self.batch.total or 0) - self.left

    @property
    def fraction(self) -> float | None:
        """What part of it is over, from 0 to 1; None while it comes in."""
        total = self.batch.total
        return self.done / total if total else None

    @property
    def finished(self) -> bool:
        return self.batch.state is not BatchState.ACCEPTING and not self.left

    @property
    def eta(self) -> float | None:
        """Seconds until it is over at this rate; None where that cannot be said."""
        return self.left / self.throughput if self.left and self.throughput else None


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """How one item of a batch ended."""

    index: int
    id: str  # of its invocation
    status: Status
    finished_at: float  # unix seconds
    error: Failure | None
    result: Part | None


class BatchRows:
    """The rows of batches; `Ledger.batch_rows`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # ── the batch itself ──────────────────────────────────────────────────────────────────────

    async def accept(
        self, id: str, total: int, key: str | None = None, fingerprint: str | None = None
    ) -> bool:
        """Accept a batch of so many items as a whole, and keep its idempotency key.

        False, and nothing is done, where it is not coming in any more or the key is another's.
        """
        c = batches.c
        update = (
            batches.update()
            .where(c.id == id, c.state == BatchState.ACCEPTING)
            .values(
                state=BatchState.ACCEPTED,
                total=total,
                idempotency_key=None if key is None else rows.storable(key),
                fingerprint=fingerprint,
            )
        )

        async def accept(connection: AsyncConnection) -> bool:
            try:
                async with connection.begin_nested():
                    return (await connection.execute(update)).rowcount == 1
            except IntegrityError:  # of all these values only the key can be wrong
                return False

        return await self._database.write(accept)

    async def unaccepted(self, before: float) -> list[str]:
        """Batches to be taken away: those that nothing has come for since this instant.

        And those that somebody began to take away, and those of which only rows are left.
        """
        c = batches.c
        recent = exists().where(invocations.c.batch == c.id, invocations.c.created_at >= before)
        silent = (c.state == BatchState.ACCEPTING) & (c.created_at < before) & ~recent
        query = select(c.id).where((c.state == BatchState.DROPPED) | silent)
        found = [*await self._database.read(query), *await self._database.read(_ORPHANS)]
        return sorted(id for (id,) in found)

    async def unstopped(self) -> list[str]:
        """Cancelled batches of which something is not over."""
        c, i = batches.c, invocations.c
        going_on = exists().where(i.batch == c.id, i.status.in_(_GOING_ON))
        query = select(c.id).where(c.state == BatchState.CANCELLED, going_on)
        return [id for (id,) in await self._database.read(query)]

    # ── how far it is ─────────────────────────────────────────────────────────────────────────

    async def progress(self, batches: Sequence[Batch]) -> list[Progress]:
        """How far each of these is, without its throughput."""
        c = invocations.c
        counts = {batch.id: dict.fromkeys(Status, 0) for batch in batches}
        grouped = select(c.batch, c.status, func.count()).group_by(c.batch, c.status)
        for id, status, count in await self._database.read(grouped.where(c.batch.in_(counts))):
            counts[id][Status(status)] = count
        return [Progress(batch, counts[batch.id]) for batch in batches]

    async def progress_now(self, batch: Batch, now: float) -> Progress:
        """How far it is, and how fast it goes, by the latest outcomes of anything."""
        (progress,) = await self.progress([batch])
        if progress.finished:
            return progress
        since = max(now - LATELY, batch.created_at)
        given = {"id": batch.id, "since": since, "latest": LATEST}
        ((ours, all, first),) = await self._database.read(_LATELY, given)
        seconds = now - (first if all == LATEST else since)
        return replace(progress, throughput=ours / seconds if ours and seconds > 0 else 0.0)

    async def first_unfinished(self, id: str, after: int) -> int | None:
        """The first index after this that is not terminal; None where all are."""
        c = invocations.c
        each = [
            select(func.min(c.batch_index)).where(
                c.batch == id, c.status == status, c.batch_index > after
            )
            for status in _GOING_ON
        ]
        found = await self._database.read(union_all(*each))
        return min((index for (index,) in found if index is not None), default=None)

    # ── its invocations ───────────────────────────────────────────────────────────────────────

    async def outcomes(self, ids: Collection[str]) -> list[ItemOutcome]:
        """How those of these invocations ended that are terminal, in no order."""
        c = invocations.c
        sql = self._database.dialect.among(str(c.id), ":among")
        among = text(sql).bindparams(among=rows.encode(list(ids)))
        query = select(
            c.batch_index, c.id, c.status, schema.ENDED_AT, c.error, c.result_part, c.result
        ).where(among, _FINISHED)
        return [
            ItemOutcome(
                index or 0,
                id,
                Status(status),
                at,
                rows.failure_of(error),
                rows.result_of(part, result),
            )
            for index, id, status, at, error, part, result in await self._database.read(query)
        ]

    async def unfinished(self, id: str, after: int, limit: int) -> list[Invocation]:
        """What is not terminal, by index, from the one after this; without anything large."""
        c = invocations.c
        of_batch = select(c.batch_index, c.id).where(c.batch == id, c.batch_index > after)
        each = [
            select(of_batch.where(c.status == s).order_by(c.batch_index).limit(limit).subquery())
            for s in _GOING_ON
        ]
        found = union_all(*each).subquery()
        query = _BARE.join(found, found.c.id == c.id).order_by(c.batch_index).limit(limit)
        return await self._invocations(query)

    async def waiting(self) -> list[tuple[str, str]]:
        """Accepted batches of which something is in no queue yet, oldest first, and the queues."""
        found = await self._database.read(_WAITING)
        return [(id, queue_name(function, device)) for id, function, device in found]

    async def unpublished(self, id: str, limit: int) -> list[Invocation]:
        """The first of a batch that are in no queue yet."""
        c = invocations.c
        query = select(invocations).where(schema.UNPUBLISHED, c.batch == id)
        return await self._invocations(query.order_by(c.created_at, c.id).limit(limit))

    async def _invocations(self, query: Select[Any]) -> list[Invocation]:
        return [rows.invocation_of(row) for row in await self._database.read(query)]


def _without(*names: str) -> Select[Any]:
    """Invocations without columns that may be large."""
    columns = invocations.columns
    return select(*(null().label(c.name) if c.name in names else c for c in columns))


# Named one by one where they are: two short ranges of by_batch_status.
_GOING_ON = (Status.QUEUED, Status.RUNNING)

_BARE = _without("parameters", "result", "log")
_FINISHED = text(f"{invocations.name}.{schema.FINISHED.text}")

# From batch to batch in the index, past however many rows each has.
_BATCHES_OF_UNPUBLISHED = f"""
    WITH RECURSIVE waiting(batch) AS (
        SELECT min(batch) FROM invocations WHERE {schema.UNPUBLISHED.text} AND batch > ''
        UNION ALL
        SELECT (
            SELECT min(i.batch) FROM invocations AS i
            WHERE {schema.UNPUBLISHED.text} AND i.batch > waiting.batch
        )
        FROM waiting WHERE waiting.batch IS NOT NULL
    )
"""

_WAITING = text(
    f"""{_BATCHES_OF_UNPUBLISHED}
    SELECT batches.id, batches.function, (
        SELECT i.device FROM invocations AS i
        WHERE {schema.UNPUBLISHED.text} AND i.batch = batches.id LIMIT 1
    )
    FROM waiting JOIN batches ON batches.id = waiting.batch
    WHERE batches.state = '{BatchState.ACCEPTED}' ORDER BY batches.created_at, batches.id
    """
)

_ORPHANS = text(
    f"""{_BATCHES_OF_UNPUBLISHED}
    SELECT waiting.batch FROM waiting LEFT JOIN batches ON batches.id = waiting.batch
    WHERE waiting.batch IS NOT NULL AND batches.id IS NULL
    """
)

_LATELY = text(
    f"""
    SELECT count(*) FILTER (WHERE batch = :id), count(*), min(at) FROM (
        SELECT batch, {schema.ENDED_AT.text} AS at FROM invocations
        WHERE {schema.FINISHED.text} AND {schema.ENDED_AT.text} > :since
        ORDER BY {schema.ENDED_AT.text} DESC LIMIT :latest
    ) AS latest
    """
)
