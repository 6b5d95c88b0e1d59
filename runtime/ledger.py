"""The durable record of invocations and their outcomes.

Rows come in batches, one transaction each; the first terminal status written wins, and a row that
has one never changes again.  A running tally is kept in the same transactions as the rows, from
what was done rather than from what is there, so that an audit has two witnesses; and so are the
rollups that history is read from.  Any number of processes may write one ledger at once.
"""

import asyncio
import base64
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from sqlalchemy import Select, func, literal, null, select, text, tuple_, union_all
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import ColumnElement, TextClause

from runtime import database, rows, schema
from runtime.audit import Audit, audit
from runtime.batch_rows import BatchRows
from runtime.census import Census
from runtime.database import RETRY_AFTER as RETRY_AFTER
from runtime.database import Database
from runtime.errors import BadRequest, ConfigurationError
from runtime.keys import Keys
from runtime.model import TERMINAL, Device, Invocation, Status
from runtime.model import Attempt as Attempt
from runtime.pages import Page, Pages
from runtime.replicas import Replicas
from runtime.retention import Purged as Purged
from runtime.retention import Retention
from runtime.rollup import Bucket, counted
from runtime.rows import Values
from runtime.runs import Runs
from runtime.schema import Batch as Batch
from runtime.schema import BatchState as BatchState
from runtime.schema import CallbackRecord as CallbackRecord
from runtime.schema import ScalingDecision as ScalingDecision
from runtime.schema import invocations, totals
from runtime.search import Search
from runtime.settled import SettledLetters
from runtime.tally import ENDS, PURGED, Tally

_SUMMARY = [  # the columns of a list: without what may be large and is only looked at one by one
    null().label(column.name) if column.name in ("result", "log") else column
    for column in invocations.columns
]
_ALL = select(invocations)
_MAY_CHANGE = f"{invocations.name}.{schema.UNFINISHED.text} AND {rows.NEWER}"


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch, by the state each invocation had when `write` was called."""

    terminal: tuple[Invocation, ...]  # their rows are terminal now, by this write or an earlier one
    unfinished: tuple[str, ...]  # ids of rows that are stored and not terminal
    refused: tuple[Invocation, ...]  # not stored: their idempotency key is another row's


@dataclass(frozen=True, slots=True)
class _Change:
    """What one transaction is to write, as of the call."""

    latest: dict[str, Invocation]
    states: dict[str, Values]  # by id, in its order: whoever writes locks rows in the same order
    fresh: list[Values]
    attempts: list[Values]
    published: list[str]
    callbacks: dict[str, str]  # URLs


class Ledger:
    """A ledger at a database URL; `await Ledger.open(url)`, and close it."""

    def __init__(self, database: Database) -> None:
        dialect = database.dialect
        self._database = database
        self._insert = dialect.insert(invocations)
        self._update = dialect.update(invocations, schema.STATE, ["published"], _MAY_CHANGE)
        self._insert_attempts = dialect.insert(schema.attempts)
        self._insert_callbacks = dialect.insert(schema.callbacks)
        self._tally = Tally(database)
        self.pages = Pages(database)
        self.gauges = Pages(database)  # of another writer: they are written at other times
        self.replicas = Replicas(database)
        self.retention = Retention(database, self._tally)
        self.letters = SettledLetters(database)
        self.census = Census(database)
        self.runs = Runs(database)
        self.keys = Keys(database)
        self.batch_rows = BatchRows(database)
        self.search = Search(database)

    @classmethod
    async def open(cls, url: str) -> "Ledger":
        """Open the ledger at `sqlite:///path` or `postgresql://user:password@host/database`.

        A SQLite file is made, with its folder, where there is none, and one of an earlier revision
        is brought to this one.  In PostgreSQL that is for `lumbre migrate` to do.
        ConfigurationError, in one line, where it cannot be used; Unavailable where its server is
        away.
        """
        opened = await database.connect(database.address(url))
        try:
            await _prepare(opened, url)
        except BaseException:
            await opened.close()
            raise
        return cls(opened)

    async def close(self) -> None:
        """Close every connection."""
        await self._database.close()

    # ── writing invocations ───────────────────────────────────────────────────────────────────

    async def write(
        self,
        batch: Sequence[Invocation],
        attempts: Sequence[Attempt] = (),
        known: Collection[str] = frozenset(),
        published: Collection[str] = (),
    ) -> Written:
        """Write a batch in one transaction: insert what is new, update what is not terminal.

        `known` are ids that certainly have a row (their input is not sent again); any other may
        or may not.  Of two invocations with one id the newer counts (`rows.is_newer`), and so it is
        against the row there is.  The rows of `published` are marked so.  The states written are
        those at the call, whatever changes meanwhile.  An empty batch is written too, to see
        whether it can be.  Unavailable when it cannot, and then nothing of it is.
        """
        change = _change(batch, attempts, known, published)
        exactly = False
        while True:
            try:
                written, pages = await self._database.write(
                    partial(self._write, change=change, exactly=exactly)
                )
            except _NotAllOfThem:
                exactly = True
            else:
                self.pages.keep(pages)
                return written

    async def _write(
        self, connection: AsyncConnection, change: _Change, *, exactly: bool
    ) -> tuple[Written, dict[Bucket, Page]]:
        changed = self._which_of if exactly else self._all_of
        states, latest = change.states, change.latest
        inserted = await changed(connection, self._insert, change.fresh)
        late = [(id, *state) for id, state in states.items() if id not in inserted]
        await self._lock(connection, late, change.published)
        updated = await changed(connection, self._update, late)
        missed = states.keys() - inserted - updated
        stored = await self._statuses(connection, missed) if missed else {}
        refused = missed - stored.keys()
        if any(
            row[0] in refused and latest[row[0]].idempotency_key is None for row in change.fresh
        ):
            raise _NotAllOfThem  # its row was there when it was inserted, and was purged since
        await self._mark_published(connection, change.published)
        await self._bulk(connection, self._insert_attempts, change.attempts)
        await self._bulk(connection, self._insert_callbacks, _callbacks(change, inserted))
        ends = [id for id, state in states.items() if state[0] in TERMINAL]
        ended = [id for id in ends if id not in missed] if missed else ends
        pages = await self.pages.add(connection, counted(map(latest.__getitem__, ended)))
        tally = Counter(states[id][0] for id in ended)
        tally["accepted"] = len(inserted)  # be it 0: that it can be written is seen by it
        if stored:
            tally["ignored"] = sum(id in stored for id in ends)
        await self._tally.add(connection, tally)
        over = refused.union(ends, (id for id, status in stored.items() if status in TERMINAL))
        written = Written(
            terminal=tuple(latest[id] for id in ends if id not in refused),
            unfinished=tuple(id for id in states if id not in over),
            refused=tuple(latest[id] for id in states if id in refused),
        )
        return written, pages

    async def _lock(
        self, connection: AsyncConnection, late: list[Values], published: list[str]
    ) -> None:
        """Take every row this transaction changes, in the one order everybody takes them in."""
        if self._database.dialect.LOCKS_ROWS and (late or published):
            ids = sorted({row[0] for row in late}.union(published))
            await self._database.dialect.lock(connection, invocations, rows.encode(ids))

    async def _mark_published(self, connection: AsyncConnection, ids: list[str]) -> None:
        if ids:
            among = self._among(invocations.c.id, ids)
            unmarked = text("NOT published")
            update = invocations.update().where(among, unmarked)
            await connection.execute(update.values(published=True))

    async def _statuses(self, connection: AsyncConnection, ids: Collection[str]) -> dict[str, str]:
        c = invocations.c
        query = select(c.id, c.status).where(self._among(c.id, ids))
        return {id: status for id, status in await connection.execute(query)}

    async def _bulk(self, connection: AsyncConnection, sql: str, given: Sequence[Values]) -> None:
        """Run one statement over all rows."""
        if given:
            await connection.exec_driver_sql(sql, (rows.encode(given),))

    async def _all_of(
        self, connection: AsyncConnection, sql: str, given: Sequence[Values]
    ) -> set[str]:
        """Run one statement over all rows; their ids, or _NotAllOfThem if it did not change each.

        That is how it nearly always is, and then nobody needs to be told row by row.
        """
        if given:
            changed = self._database.dialect.changed
            if await changed(connection, sql, rows.encode(given)) != len(given):
                raise _NotAllOfThem
        return {row[0] for row in given}

    async def _which_of(
        self, connection: AsyncConnection, sql: str, given: Sequence[Values]
    ) -> set[str]:
        """Run one statement over all rows; the ids of those it changed."""
        if not given:
            return set()
        returning = f"{sql} RETURNING {invocations.name}.id"
        result = await connection.exec_driver_sql(returning, (rows.encode(given),))
        return set(result.scalars())

    # ── reading invocations ───────────────────────────────────────────────────────────────────

    async def get(self, id: str) -> Invocation | None:
        """The invocation, with its result and log; None where there is none."""
        found = await self._invocations(_ALL.where(invocations.c.id == rows.storable(id)))
        return found[0] if found else None

    async def by_idempotency_key(self, key: str) -> Invocation | None:
        """The invocation accepted under this key; None where there is none."""
        found = await self._invocations(
            _ALL.where(invocations.c.idempotency_key == rows.storable(key))
        )
        return found[0] if found else None

    async def terminal_among(self, ids: Collection[str]) -> list[Invocation]:
        """Those of these that are terminal, with result and log, in no order."""
        if not ids:
            return []
        return await self._invocations(
            _ALL.where(self._among(invocations.c.id, ids), schema.FINISHED)
        )

    async def among(self, ids: Collection[str]) -> dict[str, Invocation]:
        """Those of these that there are, by id, without results' data and logs."""
        if not ids:
            return {}
        query = select(*_SUMMARY).where(self._among(invocations.c.id, ids))
        return {found.id: found for found in await self._invocations(query)}

    async def find(
        self,
        function: str | None = None,
        status: Status | None = None,
        device: Device | None = None,
        since: float | None = None,
        cursor: str | None = None,
        limit: int = 50,
        batch: str | None = None,
    ) -> tuple[list[Invocation], str | None]:
        """Invocations newest first, without results' data and logs, and the next page's cursor.

        `since` is in unix seconds.  The cursor is None after the last page.  Rows added meanwhile
        neither repeat nor hide others.  BadRequest for a cursor that is none of ours.
        """
        c = invocations.c
        query = select(*_SUMMARY).order_by(c.created_at.desc(), c.id.desc()).limit(limit + 1)
        wanted = ((c.function, function), (c.status, status), (c.device, device), (c.batch, batch))
        for column, value in wanted:
            if value is not None:
                query = query.where(column == rows.storable(value))
        if since is not None:
            query = query.where(c.created_at >= since)
        if cursor is not None:
            query = query.where(tuple_(c.created_at, c.id) < tuple_(*_place_of(cursor)))
        found = await self._invocations(query)
        page = found[:limit]
        more = len(found) > limit
        return page, _cursor_of(page[-1].message.created_at, page[-1].id) if more else None

    async def unfinished(self, chunk: int = 500) -> AsyncIterator[list[Invocation]]:
        """Every published invocation that is not terminal, oldest first, `chunk` at a time.

        Ends at the newest there was at the call: those accepted meanwhile are not among them.
        """
        c = invocations.c
        newest = await self._scalar(select(func.max(c.id)).where(schema.UNFINISHED))
        if newest is None:
            return
        query = (
            _ALL.where(schema.UNFINISHED, c.published, c.id <= newest).order_by(c.id).limit(chunk)
        )
        last = ""
        while last < newest:
            found = await self._invocations(query.where(c.id > last))
            if not found:
                return
            yield found
            last = found[-1].id

    async def unpublished(self, before: float, limit: int) -> list[Invocation]:
        """The oldest in no batch that wait for their message to be put into its queue.

        Those that were accepted before this instant (unix seconds), at most `limit`.
        """
        c = invocations.c
        alone = _ALL.where(schema.UNPUBLISHED, c.batch.is_(None), c.created_at < before)
        return await self._invocations(alone.order_by(c.created_at, c.id).limit(limit))

    async def oldest_unfinished(self, limit: int, before: float) -> list[Invocation]:
        """The oldest of those accepted before this instant (unix seconds) that are not terminal.

        Without what is large; oldest first.
        """
        c = invocations.c
        oldest_first = select(*_SUMMARY).where(c.created_at < before)
        found = [
            await self._invocations(
                oldest_first.where(c.status == status).order_by(c.created_at, c.id).limit(limit)
            )
            for status in _GOING_ON
        ]
        both = (invocation for some in found for invocation in some)
        return sorted(both, key=lambda i: (i.message.created_at, i.id))[:limit]

    async def unfinished_of(self, function: str, device: Device) -> dict[Status, int]:
        """How many are queued and running there, of those whose message was published."""
        c = invocations.c
        query = (
            select(c.status, func.count())
            .where(c.status.in_(_GOING_ON), c.function == function, c.device == device)
            .where(c.published)
            .group_by(c.status)
        )
        found = {Status(status): count for status, count in await self._database.read(query)}
        return dict.fromkeys(_GOING_ON, 0) | found

    async def attempts(self, id: str) -> list[Attempt]:
        """The attempts of an invocation that did not give its outcome, first to last."""
        c = schema.attempts.c
        query = select(schema.attempts).where(c.invocation == rows.storable(id)).order_by(c.attempt)
        return [rows.attempt_of(row) for row in await self._database.read(query)]

    async def attempts_among(self, ids: Collection[str]) -> dict[str, list[Attempt]]:
        """The same of each of these that has any."""
        if not ids:
            return {}
        c = schema.attempts.c
        query = select(schema.attempts).where(self._among(c.invocation, ids)).order_by(c.attempt)
        found: dict[str, list[Attempt]] = {}
        for row in await self._database.read(query):
            found.setdefault(row.invocation, []).append(rows.attempt_of(row))
        return found

    async def samples(self, function: str, device: Device, limit: int) -> list[dict[str, float]]:
        """The timings (seconds by phase) of the latest that succeeded, newest first."""
        c = invocations.c
        query = (
            select(c.timings)
            .where(c.function == function, c.device == device, schema.SUCCEEDED)
            .where(c.timings.is_not(None))
            .order_by(c.id.desc())
            .limit(limit)
        )
        return [orjson.loads(timings) for (timings,) in await self._database.read(query)]

    # ── batches ───────────────────────────────────────────────────────────────────────────────

    async def add_batch(self, batch: Batch) -> bool:
        """Store a batch; False where its idempotency key, or its id, is another's already."""
        columns = schema.row_of(batch)

        async def add(connection: AsyncConnection) -> bool:
            sql = f"{self._database.dialect.insert(schema.batches)} RETURNING id"
            given = [tuple(columns[column.name] for column in schema.batches.columns)]
            result = await connection.exec_driver_sql(sql, (rows.encode(given),))
            return result.one_or_none() is not None

        return await self._database.write(add)

    async def set_batch_state(self, id: str, state: BatchState, total: int | None = None) -> bool:
        """Move a batch on, and say how many items it has where that is known now.

        `accepted` follows `accepting` only, and `cancelled` either; False, and nothing is done,
        where the batch is not in such a state.
        """
        c = schema.batches.c
        values: dict[str, Any] = {"state": state} | ({} if total is None else {"total": total})
        update = schema.batches.update().where(c.id == id, c.state.in_(_COMES_AFTER[state]))

        async def move(connection: AsyncConnection) -> bool:
            return (await connection.execute(update.values(values))).rowcount == 1

        return await self._database.write(move)

    async def batch(self, id: str) -> Batch | None:
        """The batch with this id; None where there is none."""
        return await self._batch(schema.batches.c.id == rows.storable(id))

    async def batch_by_key(self, key: str) -> Batch | None:
        """The batch accepted under this idempotency key; None where there is none."""
        return await self._batch(schema.batches.c.idempotency_key == rows.storable(key))

    async def batches(
        self, cursor: str | None = None, limit: int = 50
    ) -> tuple[list[Batch], str | None]:
        """Batches newest first, and the next page's cursor, as `find` gives it."""
        c = schema.batches.c
        newest_first = select(schema.batches).order_by(c.created_at.desc(), c.id.desc())
        query = newest_first.where(c.state != BatchState.DROPPED).limit(limit + 1)
        if cursor is not None:
            query = query.where(tuple_(c.created_at, c.id) < tuple_(*_place_of(cursor)))
        found = [_batch_of(row) for row in await self._database.read(query)]
        page = found[:limit]
        return page, _cursor_of(page[-1].created_at, page[-1].id) if len(found) > limit else None

    async def batch_counts(self, id: str) -> dict[Status, int]:
        """How many invocations of a batch have each status."""
        c = invocations.c
        query = select(c.status, func.count()).where(c.batch == id).group_by(c.status)
        found = {Status(status): count for status, count in await self._database.read(query)}
        return dict.fromkeys(Status, 0) | found

    async def batch_finished(
        self, id: str, after_index: int = -1, limit: int = 10_000
    ) -> list[tuple[int, str]]:
        """Index and id of what is terminal in a batch, by index, from the one after this.

        It is cheap: the index alone is read.  Whoever streams results as they come asks this
        again whenever `batch_counts` shows more of them, skips what was sent, and gets the rest
        from `terminal_among`.  No clock and no order of commits decides what is seen.
        """
        query = self._in_batch(id, TERMINAL, after_index, limit)
        return [(index, found) for index, found in await self._database.read(query)]

    async def batch_results(
        self, id: str, after_index: int = -1, limit: int = 100
    ) -> list[Invocation]:
        """What is terminal in a batch, with result and log, by index, from the one after this."""
        return await self._of_batch(id, TERMINAL, after_index, limit)

    async def batch_unfinished(
        self, id: str, after_index: int = -1, limit: int = 100
    ) -> list[Invocation]:
        """What is not terminal in a batch, by index, from the one after this."""
        return await self._of_batch(id, frozenset(_GOING_ON), after_index, limit)

    async def drop_batch(self, id: str, limit: int) -> int:
        """Take away at most `limit` invocations of a batch that was never accepted; how many.

        The batch itself goes with the last of them, and can no longer be accepted from the first
        call on.  One that was accepted, or cancelled by somebody, stays as it is: 0.  Where the
        batch is gone already, what came for it since is taken away.
        """
        c = schema.batches.c
        droppable = (BatchState.ACCEPTING, BatchState.DROPPED)
        claim = schema.batches.update().where(c.id == id, c.state.in_(droppable))
        some = select(invocations.c.id).where(invocations.c.batch == id).limit(limit)

        async def drop(connection: AsyncConnection) -> int:
            which = some
            if not (await connection.execute(claim.values(state=BatchState.DROPPED))).rowcount:
                if await connection.scalar(select(c.id).where(c.id == id)) is not None:
                    return 0
                which = some.where(schema.UNPUBLISHED)
            ids = list(await connection.scalars(which.with_for_update(skip_locked=True)))
            gone = await self.retention.remove(connection, ids, accepted=False)
            if await connection.scalar(some.limit(1)) is None:
                await connection.execute(schema.batches.delete().where(c.id == id))
            return len(gone)

        return await self._database.write(drop)

    # ── callbacks ─────────────────────────────────────────────────────────────────────────────

    async def due_callbacks(self, limit: int, before: float | None = None) -> list[Invocation]:
        """Terminal invocations whose callback is neither delivered nor given up, oldest first.

        With `before` (unix seconds), only those to which nothing has happened since.
        """
        c = schema.callbacks.c
        query = (
            select(invocations)
            .join(schema.callbacks, c.invocation == invocations.c.id)
            .where(schema.UNSENT, _FINISHED)
            .order_by(c.updated_at, c.invocation)
            .limit(limit)
        )
        if before is not None:
            ended_at = func.coalesce(invocations.c.finished_at, invocations.c.created_at)
            query = query.where(c.updated_at < before, ended_at < before)
        return await self._invocations(query)

    async def record_callback(self, record: CallbackRecord) -> None:
        """Keep how far a callback has come; one that is finished stays as it is."""
        values = schema.row_of(record)
        update = schema.callbacks.update().where(
            schema.callbacks.c.invocation == record.invocation, schema.UNSENT
        )

        async def keep(connection: AsyncConnection) -> None:
            given = [tuple(values[column.name] for column in schema.callbacks.columns)]
            await self._bulk(connection, self._insert_callbacks, given)
            await connection.execute(update.values(values))

        await self._database.write(keep)

    async def callback(self, invocation: str) -> CallbackRecord | None:
        """How far the callback of an invocation has come; None where it has none."""
        c = schema.callbacks.c
        query = select(schema.callbacks).where(c.invocation == rows.storable(invocation))
        found = await self._database.read(query)
        return CallbackRecord(**found[0]._mapping) if found else None

    # ── leases ────────────────────────────────────────────────────────────────────────────────

    async def lease(self, name: str, holder: str, seconds: float) -> bool:
        """Whether the holder has the lease now, until so many seconds from now.

        One holder has it at a time; it may ask again to keep it, and for 0 seconds to give it up.
        """
        given = {"name": name, "holder": holder, "seconds": float(seconds)}
        statement = text(_LEASE.format(now=self._database.dialect.NOW))

        async def take(connection: AsyncConnection) -> bool:
            return (await connection.execute(statement, given)).one_or_none() is not None

        return await self._database.write(take)

    # ── decisions, counts and the audit ───────────────────────────────────────────────────────

    async def record_decision(self, decision: ScalingDecision) -> None:
        """Keep why the number of replicas changed."""

        async def keep(connection: AsyncConnection) -> None:
            await connection.execute(schema.decisions.insert(), schema.row_of(decision))

        await self._database.write(keep)

    async def decisions(self, function: str | None, limit: int) -> list[ScalingDecision]:
        """The latest decisions, about one function or all of them, newest first."""
        c = schema.decisions.c
        query = select(*(column for column in c if column.name != "number"))
        if function is not None:
            query = query.where(c.function == function)
        found = await self._database.read(query.order_by(c.number.desc()).limit(limit))
        return [ScalingDecision(**row._mapping) for row in found]

    async def decisions_above(self, number: int, limit: int) -> dict[int, ScalingDecision]:
        """The latest decisions, about any function, of those with a higher number; by number.

        They are numbered in the order they were made, but for those of two processes at once.
        """
        c = schema.decisions.c
        query = select(schema.decisions).where(c.number > number)
        found = await self._database.read(query.order_by(c.number.desc()).limit(limit))
        return {number: ScalingDecision(*decision) for number, *decision in found}

    async def counts(self) -> dict[Status, int]:
        """How many invocations have each status; cheap, however many are finished."""
        status = invocations.c.status
        # Named one by one: two short ranges of by_status.
        unfinished = select(status, func.count()).group_by(status).where(status.in_(_GOING_ON))
        names = ENDS | PURGED | {status.value: status for status in _GOING_ON}
        finished = select(totals.c.name, totals.c.count).where(totals.c.name.in_([*ENDS, *PURGED]))
        counts = dict.fromkeys(Status, 0)
        for name, count in await self._database.read(union_all(unfinished, finished)):
            counts[names[name]] += -count if name in PURGED else count
        return counts

    async def audit(self) -> Audit:
        """Count the rows and compare them with the tally, both as of one instant."""
        held = select(literal("rows"), invocations.c.status, func.count())
        query = union_all(
            held.group_by(invocations.c.status),
            select(literal("tally"), totals.c.name, totals.c.count),
        )
        found: dict[str, Counter[str]] = {"rows": Counter(), "tally": Counter()}
        for witness, name, count in await self._database.read(query):
            found[witness][name] += count
        return audit(found["rows"], found["tally"])

    # ── parts of the above ────────────────────────────────────────────────────────────────────

    async def _invocations(self, query: Select[Any]) -> list[Invocation]:
        return [rows.invocation_of(row) for row in await self._database.read(query)]

    async def _scalar(self, query: Select[Any]) -> Any:
        return (await self._database.read(query))[0][0]

    async def _batch(self, which: ColumnElement[bool]) -> Batch | None:
        found = await self._database.read(select(schema.batches).where(which))
        return _batch_of(found[0]) if found else None

    async def _of_batch(
        self, id: str, statuses: Collection[Status], after_index: int, limit: int
    ) -> list[Invocation]:
        c = invocations.c
        found = self._in_batch(id, statuses, after_index, limit).subquery()
        query = _ALL.join(found, found.c.id == c.id).order_by(c.batch_index)
        return await self._invocations(query)

    def _in_batch(
        self, id: str, statuses: Collection[Status], after_index: int, limit: int
    ) -> Select[Any]:
        """Index and id of a batch's invocations with these statuses: a range of the index each."""
        c = invocations.c
        of_batch = select(c.batch_index, c.id).where(c.batch == id, c.batch_index > after_index)
        ranges = [
            of_batch.where(c.status == status).order_by(c.batch_index).limit(limit).subquery()
            for status in sorted(statuses)
        ]
        together = union_all(*(select(each) for each in ranges)).subquery()
        return select(together).order_by(together.c.batch_index).limit(limit)

    def _among(self, column: ColumnElement[str], ids: Collection[str]) -> TextClause:
        sql = self._database.dialect.among(str(column), ":among")
        return text(sql).bindparams(among=rows.encode(list(ids)))


async def _prepare(opened: Database, url: str) -> None:
    """See to it that the tables are those this code knows."""
    dialect = opened.dialect
    async with opened.preparing() as connection:
        found = await opened.revision(connection)
        if found is None and dialect.SELF_MADE:
            await opened.make_tables(connection)
            found = schema.REVISION
    if found == schema.REVISION:
        return
    if not dialect.SELF_MADE:
        has = "no tables yet" if found is None else f"revision {found or 'none'}"
        raise ConfigurationError(
            f"the ledger {dialect.name(opened.url)} has {has}, and this Lumbre needs"
            f" {schema.REVISION}: run: lumbre migrate"
        )
    from runtime import migrate  # Alembic, which takes as long to import as all of this to run

    await asyncio.to_thread(migrate.upgrade, url)


class _NotAllOfThem(Exception):
    """A statement changed fewer rows than it was given; the transaction is to be tried anew."""


# Named one by one where they are: two short ranges of by_status.
_GOING_ON = (Status.QUEUED, Status.RUNNING)

_FINISHED = text(f"{invocations.name}.{schema.FINISHED.text}")

_COMES_AFTER = {
    BatchState.ACCEPTING: (),
    BatchState.ACCEPTED: (BatchState.ACCEPTING,),
    BatchState.CANCELLED: (BatchState.ACCEPTING, BatchState.ACCEPTED),
    BatchState.DROPPED: (BatchState.ACCEPTING,),
}

_LEASE = """
    INSERT INTO leases (name, holder, until) VALUES (:name, :holder, {now} + :seconds)
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
    WHERE leases.holder = excluded.holder OR leases.until <= {now}
    RETURNING holder
"""


def _change(
    batch: Sequence[Invocation],
    attempts: Sequence[Attempt],
    known: Collection[str],
    published: Collection[str],
) -> _Change:
    latest: dict[str, Invocation] = {}
    for invocation in batch:
        earlier = latest.get(invocation.id)
        latest[invocation.id] = rows.merged(earlier, invocation) if earlier else invocation
    states = {id: rows.state(latest[id]) for id in sorted(latest)}
    fresh = [rows.origin(latest[id]) + state for id, state in states.items() if id not in known]
    return _Change(
        latest,
        states,
        fresh,
        attempts=sorted(map(rows.attempt_row, attempts), key=lambda row: row[:2]),
        published=sorted(published),
        callbacks={id: i.callback for id, i in latest.items() if i.callback is not None},
    )


def _callbacks(change: _Change, inserted: set[str]) -> list[Values]:
    """The rows of `callbacks` that the new invocations of a change want."""
    now = time.time()
    return [
        (id, url, 0, None, None, False, now)
        for id, url in sorted(change.callbacks.items())
        if id in inserted
    ]


def _batch_of(row: Any) -> Batch:
    return Batch(**{**row._mapping, "state": BatchState(row.state)})


def _cursor_of(created_at: float, id: str) -> str:
    """Where a page ends: the creation instant, to the bit, and the id of its last item."""
    place = f"2:{created_at!r}:{id}"
    return base64.urlsafe_b64encode(place.encode()).rstrip(b"=").decode()


def _place_of(cursor: str) -> tuple[float, str]:
    wrong = BadRequest(
        f"cursor {cursor[:80]!r} is none that a list gave: take the one in `next`, or none"
    )
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        version, at, id = base64.urlsafe_b64decode(padded).decode().split(":", 2)
        created_at = float(at)
    except ValueError as error:  # no base64, no text in it, or not the parts of ours
        raise wrong from error
    if version != "2" or not id or not math.isfinite(created_at):
        raise wrong
    return created_at, rows.storable(id)
