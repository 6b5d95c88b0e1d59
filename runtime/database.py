"""The database a ledger lies in: its connections, transactions, and what its errors mean.

What SQLite and PostgreSQL do each in its own way is in `runtime.sqlite` and `runtime.postgres`.
"""

import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Protocol, TypeVar

from sqlalchemy import URL, Executable, Table
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from runtime import sqlite
from runtime.errors import ConfigurationError, Unavailable

RETRY_AFTER = 5  # seconds a caller is told to wait when the ledger cannot be read or written
TRIES = 3  # of a transaction that failed for a reason which passes

T = TypeVar("T")


class Dialect(Protocol):
    """What a database does in its own way; SQL takes its rows as one JSON array of arrays."""

    PARTS: int  # of a tally that many processes keep at once
    NOW: str  # SQL for the instant, in unix seconds, by the clock all writers share

    def insert(self, table: Table) -> str: ...

    def update(
        self, table: Table, columns: Sequence[str], lasting: Collection[str], where: str
    ) -> str: ...

    def add(self, table: Table, key: Sequence[str], number: str) -> str: ...

    def among(self, column: str, parameter: str) -> str: ...

    async def changed(self, connection: AsyncConnection, sql: str, rows: str) -> int: ...

    async def lock(self, connection: AsyncConnection, table: Table, ids: str) -> None: ...

    def passes(self, error: BaseException) -> bool: ...


class Database:
    """Connections to a ledger's database, those that write and those that read."""

    def __init__(self, dialect: Dialect, writer: AsyncEngine, readers: AsyncEngine) -> None:
        self.dialect = dialect
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


def address(url: str) -> URL:
    """The URL in its parts; ConfigurationError, without its password, for one no ledger has."""
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


def open_sqlite(url: URL) -> Database:
    return Database(sqlite, sqlite.writer(url), sqlite.readers(url))


def reason(error: BaseException) -> str:
    """What the database said, without the statement and its parameters."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        return str(error.orig)
    return "every connection is busy" if isinstance(error, PoolTimeout) else str(error)
