"""What the ledger holds that is not over, queue by queue, and rows that cannot be as they are.

The audit's questions.  Rows are read here as they are: one that no `Invocation` can be made of is
to be named, not to end the audit.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    case,
    func,
    literal,
    or_,
    select,
    text,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import TextClause

from runtime import rows, schema
from runtime.database import Database
from runtime.model import DEVICES, TERMINAL, Status
from runtime.schema import BatchState, batches, invocations, totals

GOING_ON = (Status.QUEUED, Status.RUNNING)
WITH_ERROR = frozenset({Status.FAILED, Status.TIMED_OUT, Status.DEAD})


@dataclass(frozen=True, slots=True)
class Unfinished:
    """How many invocations of one function on one device are not over."""

    queued: int = 0  # their message was put into its queue
    running: int = 0
    unpublished: int = 0  # they wait in the ledger to be put there


@dataclass(frozen=True, slots=True)
class Pending:
    """An invocation that is not over, whose message should be somewhere."""

    id: str
    function: str
    device: str
    status: str
    attempt: int
    created_at: float  # unix seconds
    started_at: float | None


@dataclass(frozen=True, slots=True)
class Oddity:
    """A row that cannot be as it is."""

    id: str
    what: str


@dataclass(frozen=True, slots=True)
class Tallied:
    """All that was accepted, by where it is: the ends as they were tallied, the rest as rows."""

    accepted: int
    terminal: int
    queued: int
    running: int

    @property
    def holds(self) -> bool:
        """Whether accepted = terminal + queued + running."""
        return self.accepted == self.terminal + self.queued + self.running


class Census:
    """Counts and names what is not over, and what is wrong; `Ledger.census`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def unfinished(self) -> dict[tuple[str, str], Unfinished]:
        """What is not over, by function and device."""
        c = invocations.c
        query = (
            select(c.function, c.device, c.status, c.published, func.count())
            .where(schema.UNFINISHED)
            .group_by(c.function, c.device, c.status, c.published)
        )
        counts: dict[tuple[str, str], dict[str, int]] = {}
        for function, device, status, published, count in await self._database.read(query):
            kind = "unpublished" if not published else status
            if kind in Unfinished.__slots__:
                place = counts.setdefault((function, device), {})
                place[kind] = place.get(kind, 0) + count
        return {place: Unfinished(**found) for place, found in counts.items()}

    async def tallied(self) -> Tallied:
        """Accepted, terminal, queued and running as of one instant, cheap however many there are.

        What was purged counts as terminal.
        """
        status = invocations.c.status
        # Named one by one: two short ranges of by_status, where "none of the others" is all of it.
        going_on = select(literal("rows"), status, func.count()).where(status.in_(GOING_ON))
        tally = select(literal("tally"), totals.c.name, func.sum(totals.c.count))
        names = ["accepted", *(end.value for end in TERMINAL)]
        query = union_all(
            going_on.group_by(status),
            tally.where(totals.c.name.in_(names)).group_by(totals.c.name),
        )
        found = {(of, name): int(count) for of, name, count in await self._database.read(query)}
        return Tallied(
            accepted=found.get(("tally", "accepted"), 0),
            terminal=sum(found.get(("tally", end.value), 0) for end in TERMINAL),
            queued=found.get(("rows", Status.QUEUED.value), 0),
            running=found.get(("rows", Status.RUNNING.value), 0),
        )

    async def pending(
        self, functions: Collection[str], before: float, limit: int
    ) -> dict[str, Pending]:
        """The oldest of these functions that were accepted before this instant, by id.

        Those whose message was published and that are not over.
        """
        if not functions:
            return {}
        c = invocations.c
        query = (
            _select_pending()
            .where(self._among(c.function, functions), c.created_at < before)
            .order_by(c.id)
            .limit(limit)
        )
        return {row.id: Pending(*row) for row in await self._database.read(query)}

    async def pending_among(self, ids: Collection[str]) -> dict[str, Pending]:
        """Those of these that are so still, by id."""
        if not ids:
            return {}
        query = _select_pending().where(self._among(invocations.c.id, ids))
        return {row.id: Pending(*row) for row in await self._database.read(query)}

    async def unpublish(self, ids: Collection[str]) -> list[str]:
        """Have the feeder put these into their queues once more; those that were not over.

        One that was running has lost an attempt.
        """
        if not ids:
            return []
        c = invocations.c
        update = (
            invocations.update()
            .where(self._among(c.id, ids), schema.UNFINISHED, c.published)
            .values(
                status=Status.QUEUED,
                published=False,
                attempt=c.attempt + case((c.status == Status.RUNNING, 1), else_=0),
                started_at=None,
                replica=None,
            )
            .returning(c.id)
        )
        encoded = rows.encode(sorted(ids))

        async def give_back(connection: AsyncConnection) -> list[str]:
            await self._database.dialect.lock(connection, invocations, encoded)
            return list(await connection.scalars(update))

        return await self._database.write(give_back)

    async def odd(self, limit: int) -> list[Oddity]:
        """Rows that cannot be as they are, and batches that do not add up, at most so many."""
        c = invocations.c
        columns = (c.id, c.status, c.device, c.attempt, c.started_at, c.finished_at)
        query = select(*columns, c.error.is_(None).label("faultless")).where(_ODD).limit(limit)
        found = [
            Oddity(row.id, "; ".join(_faults(row))) for row in await self._database.read(query)
        ]
        return [*found, *await self._odd_batches(limit - len(found))]

    async def _odd_batches(self, limit: int) -> list[Oddity]:
        """Accepted batches with too many items, or too few though nothing was ever purged."""
        c, b = invocations.c, batches.c
        held = (
            select(c.batch, func.count().label("held"), func.max(c.batch_index).label("last"))
            .where(schema.IN_BATCH)
            .group_by(c.batch)
            .subquery()
        )
        count = func.coalesce(held.c.held, 0)
        query = (
            select(b.id, b.total, count.label("held"), held.c.last)
            .join(held, held.c.batch == b.id, isouter=True)
            .where(b.state == BatchState.ACCEPTED, or_(count != b.total, held.c.last >= b.total))
            .order_by(b.id)
        )
        found = await self._database.read(query)
        # Asked after the batches: what was purged by now may be what is missing there.
        purged = select(totals.c.count).where(totals.c.name.like("purged.%"), totals.c.count > 0)
        fewer_is_fine = bool(await self._database.read(purged.limit(1)))
        odd = [
            _odd_batch(id, total, number, last)
            for id, total, number, last in found
            if number > total or not fewer_is_fine or (last is not None and last >= total)
        ]
        return odd[: max(0, limit)]

    def _among(self, column: ColumnElement[str], texts: Collection[str]) -> TextClause:
        sql = self._database.dialect.among(str(column), ":among")
        return text(sql).bindparams(among=rows.encode(list(texts)))


def _select_pending() -> Select[Any]:
    c = invocations.c
    columns = (c.id, c.function, c.device, c.status, c.attempt, c.created_at, c.started_at)
    return select(*columns).where(schema.UNFINISHED, c.published)


_FINISHED = invocations.c.status.in_(TERMINAL)
_ODD = or_(
    invocations.c.status.not_in(list(Status)),
    invocations.c.device.not_in(DEVICES),
    invocations.c.attempt < 1,
    and_(_FINISHED, invocations.c.finished_at.is_(None)),
    and_(~_FINISHED, invocations.c.finished_at.is_not(None)),
    and_(invocations.c.status == Status.RUNNING, invocations.c.started_at.is_(None)),
    and_(invocations.c.status.in_(WITH_ERROR), invocations.c.error.is_(None)),
)


def _faults(row: Any) -> Iterator[str]:
    """What is wrong with a row that `_ODD` gave."""
    if row.status not in set(Status):
        yield f"its status is {row.status!r}, which does not exist"
    if row.device not in DEVICES:
        yield f"its device is {row.device!r}, which does not exist"
    if row.attempt < 1:
        yield f"its attempt is {row.attempt}"
    if row.status in TERMINAL and row.finished_at is None:
        yield f"its status is {row.status}, and nothing says when it ended"
    if row.status not in TERMINAL and row.finished_at is not None:
        yield f"its status is {row.status}, and it has ended at some instant"
    if row.status == Status.RUNNING and row.started_at is None:
        yield "its status is running, and nothing says since when"
    if row.status in WITH_ERROR and row.faultless:
        yield f"its status is {row.status}, and it has no error"


def _odd_batch(id: str, total: int, held: int, last: int | None) -> Oddity:
    if last is not None and last >= total and held <= total:
        return Oddity(id, f"this batch has an item {last}, and {total} in all")
    return Oddity(id, f"this batch was accepted with {total} items, and {held} are held")
