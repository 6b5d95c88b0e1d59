"""The database a ledger lies in: its connections, transactions, and what its errors mean.

What SQLite and PostgreSQL do each in its own way is in `runtime.sqlite` and `runtime.postgres`.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

from sqlalchemy import URL, Executable, Table, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from runtime import schema, sqlite
from runtime.errors import ConfigurationError, LumbreError, Unavailable

RETRY_AFTER = 5  # seconds a caller is told to wait when the ledger cannot be read or written
DRIVERS = ("sqlite", "sqlite+aiosqlite", "postgresql", "postgresql+asyncpg")
TRIES = 3  # of a transaction that failed for a reason which passes

T = TypeVar("T")


class Dialect(Protocol):
    """What a database does in its own way; SQL takes its rows as one JSON array of arrays."""

    SELF_MADE: bool  # whoever opens it makes its tables, and changes them to what they are now
    LOCKS_ROWS: bool  # one by one, so that it matters in which order
    PARTS: int  # of a tally that many processes keep at once
    NOW: str  # SQL for the instant, in unix seconds, by the clock all writers share

    def insert(self, table: Table) -> str: ...

    def update(
        self, table: Table, columns: Sequence[str], lasting: Collection[str], where: str
    ) -> str: ...

    def add(self, table: Table, key: Sequence[str], number: str) -> str: ...

    def put(self, table: Table, key: Sequence[str], columns: Sequence[str]) -> str: ...

    def among(self, column: str, parameter: str) -> str: ...

    async def changed(self, connection: AsyncConnection, sql: str, rows: str) -> int: ...

    async def lock(self, connection: AsyncConnection, table: Table, ids: str) -> None: ...

    async def alone(self, connection: AsyncConnection) -> None: ...

    async def check(self, connection: AsyncConnection) -> None: ...

    def unusable(self, url: URL, error: BaseException, reason: str) -> LumbreError: ...

    def name(self, url: URL) -> str: ...

    def passes(self, error: BaseException) -> bool: ...


class Database:
    """Connections to a ledger's database, those that write and those that read."""

    def __init__(
        self, dialect: Dialect, url: URL, writer: AsyncEngine, readers: AsyncEngine
    ) -> None:
        self.dialect = dialect
        self.url = url
        self.part = random.randrange(dialect.PARTS)
        self.writer = writer
        self.readers = readers

    async def close(self) -> None:
        """Close every connection."""
        await self.writer.dispose()
        await self.readers.dispose()

    async def write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Do the work in one transaction; what it gives, once that is committed.

        It is done again, from its beginning, where the database gave up for a reason that passes:
        so it must not mind that it was done before.  Unavailable when it cannot be done.
        """
        try:
            return await self._tried(lambda: self._transact(work))
        except FAILURES as error:
            detail = f"the ledger cannot be written ({reason(error)}): try again"
            raise Unavailable(detail, RETRY_AFTER) from error

    async def read(
        self, query: Executable, parameters: dict[str, Any] | None = None
    ) -> Sequence[Any]:
        """The rows a query gives; Unavailable when they cannot be read."""
        try:
            return await self._tried(lambda: self._fetch(query, parameters))
        except FAILURES as error:
            detail = f"the ledger cannot be read ({reason(error)}): try again"
            raise Unavailable(detail, RETRY_AFTER) from error

    @asynccontextmanager
    async def preparing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction in which the tables are looked at or changed, before anything else.

        ConfigurationError, or Unavailable where that may pass, for a database no ledger can be in.
        """
        try:
            async with self.writer.begin() as connection:
                await self.dialect.check(connection)
                yield connection
        except FAILURES as error:
            raise self.dialect.unusable(self.url, error, reason(error)) from error

    async def make_tables(self, connection: AsyncConnection) -> None:
        """Make them as they are now; they are not there yet."""
        await connection.run_sync(schema.metadata.create_all)
        await connection.run_sync(schema.revisions.create)
        await connection.execute(schema.revisions.insert(), {"version_num": schema.REVISION})

    async def revision(self, connection: AsyncConnection) -> str | None:
        """The revision of the tables, None where there are none.

        ConfigurationError for one that is newer than this Lumbre.
        """
        tables = set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))
        if schema.invocations.name not in tables:
            return None
        if schema.revisions.name not in tables:
            return _OLDER
        found = await connection.scalar(select(schema.revisions.c.version_num)) or _OLDER
        if found > schema.REVISION:
            raise ConfigurationError(
                f"the ledger {self.dialect.name(self.url)} has the revision {found}, and this"
                f" Lumbre knows {schema.REVISION}: install the newer Lumbre that made it"
            )
        return found

    async def _transact(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        async with self.writer.begin() as connection:
            return await work(connection)

    async def _fetch(self, query: Executable, parameters: dict[str, Any] | None) -> Sequence[Any]:
        async with self.readers.connect() as connection:
            return (await connection.execute(query, parameters)).all()

    async def _tried(self, attempt: Callable[[], Awaitable[T]]) -> T:
        for _ in range(TRIES - 1):
            try:
                return await attempt()
            except FAILURES as error:
                if not self.dialect.passes(error):
                    raise
        return await attempt()


# OSError and TimeoutError are of connections that could not be made, which nothing wraps.
FAILURES = (SQLAlchemyError, OSError, TimeoutError)

_OLDER = ""  # a revision before all others: SQLite ledgers of before there were any


def address(url: str) -> URL:
    """The URL in its parts; ConfigurationError, without its password, for one no ledger has."""
    form = "write sqlite:///path/to/ledger.db, or postgresql://user:password@host/database"
    try:
        parsed = make_url(url.replace("postgres://", "postgresql://", 1))
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(f"LUMBRE_LEDGER_URL is no database URL: {form}") from error
    if parsed.drivername not in DRIVERS:
        raise ConfigurationError(f"the ledger cannot live in {parsed.drivername!r}: {form}")
    return parsed


async def connect(url: URL, *, patient: bool = False) -> Database:
    """Connect to the database at a URL, whatever is in it; a SQLite file is made if need be.

    A patient connection waits for as long as a statement takes.
    """
    if url.get_backend_name() == "sqlite":
        await asyncio.to_thread(sqlite.create, url)
        return Database(sqlite, url, sqlite.writer(url), sqlite.readers(url))
    from runtime import postgres  # asyncpg, which a laptop can start without

    engine = postgres.engine(url, patient=patient)
    return Database(postgres, url, engine, postgres.readers(engine))


def reason(error: BaseException) -> str:
    """What the database said, without the statement and its parameters."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        return str(error.orig)
    if isinstance(error, PoolTimeout):
        return "every connection is busy"
    return str(error) or type(error).__name__
