"""The durable record of invocations and their outcomes.

Rows come in batches, one transaction each; the first terminal status written wins, and a row that
has one never changes again.  A running tally is kept in the same transactions as the rows, from
what was done rather than from what is there, so that an audit has two witnesses.  Reading has
connections of its own and never waits for writing.
"""

import asyncio
import base64
import math
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from sqlalchemy import URL, func, literal, null, select, text, tuple_, union_all
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from runtime import schema, sqlite
from runtime.audit import Audit, audit
from runtime.errors import BadRequest, ConfigurationError, Unavailable
from runtime.model import TERMINAL, Device, Invocation, Status
from runtime.model import Attempt as Attempt
from runtime.schema import ScalingDecision as ScalingDecision
from runtime.schema import invocations, totals

RETRY_AFTER = 5  # seconds a caller is told to wait when the ledger cannot be read or written

_INSERT = sqlite.insert(invocations)
_UPDATE = sqlite.update(invocations, schema.STATE, where=schema.UNFINISHED.text)
_INSERT_ATTEMPTS = sqlite.insert(schema.attempts)
_ADD = sqlite.add(totals, "name", "count")

_SUMMARY = [  # the columns of a list: without what may be large and is only looked at one by one
    null().label(column.name) if column.name in ("result", "log") else column
    for column in invocations.columns
]


_Rows = list[tuple[Any, ...]]
_Changed = Callable[[AsyncConnection, str, _Rows], Awaitable[set[str]]]


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch, by the state each invocation had when `write` was called."""

    terminal: tuple[Invocation, ...]  # their rows are terminal now, by this write or an earlier one
    unfinished: tuple[str, ...]  # ids of rows that are stored and not terminal
    refused: tuple[Invocation, ...]  # not stored: their idempotency key is another row's


class Ledger:
    """A ledger at a database URL; `await Ledger.open(url)`, and close it."""

    def __init__(self, writer: AsyncEngine, readers: AsyncEngine) -> None:
        self._writer = writer
        self._readers = readers

    @classmethod
    async def open(cls, url: str) -> "Ledger":
        """Open the ledger at `sqlite:///path`, and make it, with its folder, where there is none.

        ConfigurationError, in one line, where that cannot be.
        """
        parsed = _parsed(url)
        try:
            await asyncio.to_thread(sqlite.create, parsed)
        except OSError as error:
            raise _unusable(parsed, error.strerror or str(error)) from error
        except sqlite.Error as error:
            raise _unusable(parsed, str(error)) from error
        ledger = cls(sqlite.writer(parsed), sqlite.readers(parsed))
        try:
            await ledger._prepare()
        except SQLAlchemyError as error:
            await ledger.close()
            raise _unusable(parsed, _reason(error)) from error
        except ConfigurationError:
            await ledger.close()
            raise
        return ledger

    async def close(self) -> None:
        """Close every connection."""
        await self._writer.dispose()
        await self._readers.dispose()

    async def write(
        self,
        batch: Sequence[Invocation],
        attempts: Sequence[Attempt] = (),
        known: Collection[str] = frozenset(),
    ) -> Written:
        """Write a batch in one transaction: insert what is new, update what is not terminal.

        `known` are ids that certainly have a row (their input is not sent again); any other may
        or may not.  Of two invocations with one id, the later in the batch counts.  The states
        written are those at the call, whatever changes meanwhile.  An empty batch is written too,
        to see whether it can be.  Unavailable when it cannot, and then nothing of it is.
        """
        latest = {invocation.id: invocation for invocation in batch}
        states = {id: schema.state(invocation) for id, invocation in latest.items()}
        fresh = [schema.origin(i) + states[id] for id, i in latest.items() if id not in known]
        try:
            return await self._write(latest, states, fresh, attempts, _all_of)
        except _NotAllOfThem:
            return await self._write(latest, states, fresh, attempts, _which_of)

    async def _write(
        self,
        latest: dict[str, Invocation],
        states: dict[str, tuple[Any, ...]],
        fresh: _Rows,
        attempts: Sequence[Attempt],
        changed: _Changed,
    ) -> Written:
        async with self._writing() as connection:
            inserted = await changed(connection, _INSERT, fresh)
            late = [(id, *state) for id, state in states.items() if id not in inserted]
            updated = await changed(connection, _UPDATE, late)
            missed = states.keys() - inserted - updated
            stored = await _existing(connection, missed) if missed else set()
            ends = {id: state[0] for id, state in states.items() if state[0] in TERMINAL}
            tally = Counter({"accepted": len(inserted)})
            tally.update(ends[id] for id in ends.keys() - missed)
            tally["ignored"] += len(ends.keys() & stored)
            await _bulk(connection, _ADD, list(tally.items()))
            await _bulk(connection, _INSERT_ATTEMPTS, [schema.attempt_row(a) for a in attempts])
        refused = missed - stored
        return Written(
            terminal=tuple(latest[id] for id in ends if id not in refused),
            unfinished=tuple(id for id in latest if id not in ends and id not in missed),
            refused=tuple(latest[id] for id in latest if id in refused),
        )

    async def get(self, id: str) -> Invocation | None:
        """The invocation, with its result and log; None where there is none."""
        async with self._reading() as connection:
            row = (await connection.execute(_ALL.where(invocations.c.id == id))).one_or_none()
        return None if row is None else schema.invocation_of(row)

    async def by_idempotency_key(self, key: str) -> Invocation | None:
        """The invocation accepted under this key; None where there is none."""
        query = _ALL.where(invocations.c.idempotency_key == key)
        async with self._reading() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else schema.invocation_of(row)

    async def find(
        self,
        function: str | None = None,
        status: Status | None = None,
        device: Device | None = None,
        since: float | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> tuple[list[Invocation], str | None]:
        """Invocations newest first, without results' data and logs, and the next page's cursor.

        `since` is in unix seconds.  The cursor is None after the last page.  Rows added meanwhile
        neither repeat nor hide others.  BadRequest for a cursor that is none of ours.
        """
        c = invocations.c
        newest_first = (c.created_at.desc(), c.id.desc())
        query = select(*_SUMMARY).order_by(*newest_first).limit(limit + 1)
        for column, value in ((c.function, function), (c.status, status), (c.device, device)):
            if value is not None:
                query = query.where(column == value)
        if since is not None:
            query = query.where(c.created_at >= since)
        if cursor is not None:
            query = query.where(tuple_(c.created_at, c.id) < tuple_(*_place_of(cursor)))
        async with self._reading() as connection:
            rows = (await connection.execute(query)).all()
        page = [schema.invocation_of(row) for row in rows[:limit]]
        return page, _cursor_of(page[-1]) if len(rows) > limit else None

    async def unfinished(self, chunk: int = 500) -> AsyncIterator[list[Invocation]]:
        """Every invocation that is not terminal, oldest first, in lists of at most `chunk`.

        Ends at the newest there was at the call: those accepted meanwhile are not among them.
        """
        c = invocations.c
        async with self._reading() as connection:
            newest = await connection.scalar(select(func.max(c.id)).where(schema.UNFINISHED)) or ""
        if newest is None:
            return
        query = _ALL.where(schema.UNFINISHED, c.id <= newest).order_by(c.id).limit(chunk)
        last = ""
        while last < newest:
            async with self._reading() as connection:
                rows = (await connection.execute(query.where(c.id > last))).all()
            if not rows:
                return
            yield [schema.invocation_of(row) for row in rows]
            last = rows[-1].id

    async def attempts(self, id: str) -> list[Attempt]:
        """The attempts of an invocation that did not give its outcome, first to last."""
        table = schema.attempts
        query = select(table).where(table.c.invocation == id).order_by(table.c.attempt)
        async with self._reading() as connection:
            rows = (await connection.execute(query)).all()
        return [schema.attempt_of(row) for row in rows]

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
        async with self._reading() as connection:
            return [orjson.loads(timings) for timings in await connection.scalars(query)]

    async def record_decision(self, decision: ScalingDecision) -> None:
        """Keep why the number of replicas changed."""
        async with self._writing() as connection:
            await connection.execute(schema.decisions.insert(), asdict(decision))

    async def decisions(self, function: str | None, limit: int) -> list[ScalingDecision]:
        """The latest decisions, about one function or all of them, newest first."""
        c = schema.decisions.c
        query = select(*(column for column in c if column.name != "number"))
        if function is not None:
            query = query.where(c.function == function)
        query = query.order_by(c.number.desc()).limit(limit)
        async with self._reading() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [ScalingDecision(**row) for row in rows]

    async def counts(self) -> dict[Status, int]:
        """How many invocations have each status; cheap, however many are finished."""
        status = invocations.c.status
        running = set(Status) - TERMINAL  # named one by one: two short ranges of by_status
        unfinished = select(status, func.count()).group_by(status).where(status.in_(running))
        finished = select(totals.c.name, totals.c.count).where(totals.c.name.in_(TERMINAL))
        async with self._reading() as connection:
            rows = (await connection.execute(union_all(unfinished, finished))).all()
        return dict.fromkeys(Status, 0) | {Status(name): count for name, count in rows}

    async def audit(self) -> Audit:
        """Count the rows and compare them with the tally, both as of one instant."""
        rows = select(literal("rows"), invocations.c.status, func.count())
        query = union_all(
            rows.group_by(invocations.c.status),
            select(literal("tally"), totals.c.name, totals.c.count),
        )
        found: dict[str, Counter[str]] = {"rows": Counter(), "tally": Counter()}
        async with self._reading() as connection:
            for witness, name, count in await connection.execute(query):
                found[witness][name] = count
        return audit(found["rows"], found["tally"])

    async def _prepare(self) -> None:
        """Make the tables, or see that they are of a version this code knows."""
        async with self._writer.begin() as connection:
            await connection.run_sync(schema.metadata.create_all)
            version = select(schema.meta.c.value).where(schema.meta.c.name == "schema_version")
            found = await connection.scalar(version)
            if found is None:
                row = {"name": "schema_version", "value": str(schema.VERSION)}
                await connection.execute(schema.meta.insert(), row)
            elif int(found) > schema.VERSION:
                raise ConfigurationError(
                    f"the ledger {self._writer.url.database} has schema version {found}, and this"
                    f" Lumbre knows {schema.VERSION}: install the newer Lumbre that made it"
                )

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._writer.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            detail = f"the ledger cannot be written ({_reason(error)}): try again"
            raise Unavailable(detail, RETRY_AFTER) from error

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._readers.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            detail = f"the ledger cannot be read ({_reason(error)}): try again"
            raise Unavailable(detail, RETRY_AFTER) from error


_ALL = select(invocations)


class _NotAllOfThem(Exception):
    """A statement changed fewer rows than it was given; the transaction is to be tried anew."""


async def _bulk(connection: AsyncConnection, sql: str, rows: _Rows) -> None:
    """Run one statement over all rows."""
    if rows:
        await connection.exec_driver_sql(sql, (schema.encode(rows),))


async def _all_of(connection: AsyncConnection, sql: str, rows: _Rows) -> set[str]:
    """Run one statement over all rows; their ids, or _NotAllOfThem if it did not change each.

    That is how it nearly always is, and SQLite then works without the GIL from end to end: to be
    told each row takes and gives up the GIL for each.
    """
    await _bulk(connection, sql, rows)
    if rows and await connection.scalar(text("SELECT changes()")) != len(rows):
        raise _NotAllOfThem
    return {row[0] for row in rows}


async def _which_of(connection: AsyncConnection, sql: str, rows: _Rows) -> set[str]:
    """Run one statement over all rows; the ids of those it changed."""
    if not rows:
        return set()
    returning = f"{sql} RETURNING {invocations.name}.id"
    result = await connection.exec_driver_sql(returning, (schema.encode(rows),))
    return set(result.scalars())


async def _existing(connection: AsyncConnection, ids: Collection[str]) -> set[str]:
    query = select(invocations.c.id).where(invocations.c.id.in_(ids))
    return set(await connection.scalars(query))


def _cursor_of(last: Invocation) -> str:
    """Where a page ends: the creation instant, to the bit, and the id of its last invocation."""
    place = f"2:{last.message.created_at!r}:{last.id}"
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
    return created_at, id


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigurationError(
            "LUMBRE_LEDGER_URL is no database URL: write sqlite:///path/to/ledger.db"
        ) from error
    if parsed.get_backend_name() != "sqlite":
        raise ConfigurationError(
            f"the ledger cannot live in {parsed.get_backend_name()!r}: LUMBRE_LEDGER_URL takes"
            " sqlite:///path/to/ledger.db"
        )
    return parsed


def _unusable(url: URL, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"the ledger {url.database} cannot be used ({reason}): let LUMBRE_LEDGER_URL name a file"
        " this process may write, made by Lumbre or not yet there"
    )


def _reason(error: SQLAlchemyError) -> str:
    """What the database said, without the statement and its parameters."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        return str(error.orig)
    return "every connection is busy" if isinstance(error, PoolTimeout) else str(error)
