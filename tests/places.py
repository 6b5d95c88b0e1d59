"""Where the tests of the ledger put one: the same tests run over each database it may lie in."""

import asyncio
import sqlite3
from abc import abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Protocol

import asyncpg

from loadtest.servers import PostgresServer
from runtime import schema
from runtime.ledger import Ledger

TABLES = [table.name for table in schema.metadata.sorted_tables]


class Place(Protocol):
    """A database for one test; `url` is what LUMBRE_LEDGER_URL would say."""

    url: str

    @abstractmethod
    async def do(self, *statements: str) -> None:
        """Change it by a connection that is no ledger's."""

    @abstractmethod
    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """What another connection sees now; blocks."""

    @abstractmethod
    async def make_breakable(self) -> None:
        """Let every write of a ledger fail, once, while `breaks` says so."""

    @abstractmethod
    async def empty(self) -> None:
        """Take everything out of it."""

    async def breaks(self, yes: bool) -> None:
        await self.do("INSERT INTO broken VALUES (1)" if yes else "DELETE FROM broken")

    @asynccontextmanager
    async def broken(self) -> AsyncIterator[None]:
        """Every write fails with `disk I/O error`."""
        await self.make_breakable()
        await self.breaks(True)
        try:
            yield
        finally:
            await self.breaks(False)

    @asynccontextmanager
    async def emptied(self) -> AsyncIterator[Ledger]:
        """A ledger with nothing in it, for one example of a property."""
        await self.empty()
        ledger = await Ledger.open(self.url)
        try:
            yield ledger
        finally:
            await ledger.close()

    def ids(self) -> set[str]:
        """The ids of all rows there are."""
        return {id for (id,) in self.ask("SELECT id FROM invocations")}


class SqlitePlace(Place):
    """A file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"

    async def do(self, *statements: str) -> None:
        # In a thread, because a transaction of a ledger's may have to end first.
        await asyncio.to_thread(self._do, *statements)

    def _do(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(query).fetchall()

    async def make_breakable(self) -> None:
        triggers = [
            f"CREATE TRIGGER IF NOT EXISTS broken_{kind} BEFORE {kind} ON totals"
            " WHEN EXISTS (SELECT * FROM broken)"
            " BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END"
            for kind in ("INSERT", "UPDATE")
        ]
        await self.do("CREATE TABLE IF NOT EXISTS broken (yes INTEGER)", *triggers)

    async def empty(self) -> None:
        for path in self.path.parent.glob(f"{self.path.name}*"):
            path.unlink()


class PostgresPlace(Place):
    """A database of a server that others use too, with every table in it."""

    def __init__(self, server: PostgresServer, database: str) -> None:
        self._server = server
        self._database = database
        self.url = server.url(database)

    async def do(self, *statements: str) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        lines = self._server.sql(query, self._database).splitlines()
        return [tuple(line.split("|")) for line in lines]

    async def make_breakable(self) -> None:
        await self.do(
            "CREATE TABLE IF NOT EXISTS broken (yes INTEGER)",
            """
            CREATE OR REPLACE FUNCTION break() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF EXISTS (SELECT * FROM broken) THEN RAISE 'disk I/O error'; END IF;
                RETURN NEW;
            END $$
            """,
            """
            CREATE OR REPLACE TRIGGER breaks BEFORE INSERT OR UPDATE ON totals
            FOR EACH ROW EXECUTE FUNCTION break()
            """,
        )

    async def empty(self) -> None:
        await self.do(
            "DROP TABLE IF EXISTS broken",
            "DROP TRIGGER IF EXISTS breaks ON totals",
            *(f"DELETE FROM {table}" for table in TABLES),
        )
