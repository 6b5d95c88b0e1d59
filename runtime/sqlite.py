"""What SQLite does in its own way: files, pragmas, locks, and writing a batch at once.

Every statement that is not portable SQL stands here or in `postgres`, which has the same names.
"""

import sqlite3
import time
from collections.abc import Collection, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Table, event, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from runtime.errors import ConfigurationError, LumbreError

BUSY_TIMEOUT = 5000  # milliseconds to wait for another process that writes
READERS = 4  # connections that read; each has a thread of its own
SELF_MADE = True  # its tables are made, and changed, by whoever opens it
LOCKS_ROWS = False  # whoever writes has the whole file to himself
PARTS = 1  # of a tally: one process writes at a time whatever we do
NOW = "((julianday('now') - 2440587.5) * 86400.0)"  # to a millisecond
OLDEST = (3, 35)  # RETURNING and MATERIALIZED

# synchronous=FULL: a commit is on the disk when it returns, which is what a 202 promises.
PRAGMAS = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT}",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = OFF",
    f"PRAGMA journal_size_limit = {64 * 1024 * 1024}",
)


def create(url: URL) -> None:
    """Make the file and its folder where there are none, and turn its write-ahead log on.

    Blocks; call it in a thread.  ConfigurationError for a URL without a file, and where the file
    cannot be made, or is no database.
    """
    if sqlite3.sqlite_version_info < OLDEST:
        raise ConfigurationError(
            f"SQLite {sqlite3.sqlite_version} is too old for the ledger: it needs 3.35 or newer"
        )
    if not url.database or url.database == ":memory:":
        raise ConfigurationError(
            "the ledger must outlive the process: give LUMBRE_LEDGER_URL a file, such as"
            " sqlite:///.lumbre/ledger.db"
        )
    try:
        _create(url.database)
    except OSError as error:
        raise unusable(url, error, error.strerror or str(error)) from error
    except sqlite3.Error as error:
        raise unusable(url, error, str(error)) from error


def _create(file: str) -> None:
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + BUSY_TIMEOUT / 1000
    with closing(sqlite3.connect(file)) as connection:
        while not _log_ahead(connection):
            if time.monotonic() > deadline:
                raise OSError("another process keeps it locked")
            time.sleep(0.02)


def _log_ahead(connection: sqlite3.Connection) -> bool:
    # Where another process writes, SQLite does not wait here as it does elsewhere (it holds a lock
    # itself by then): two that open a new ledger together would fail one another.
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            return False
        raise
    return True


def writer(url: URL) -> AsyncEngine:
    """An engine of one connection, whose transactions hold the write lock from their start."""
    engine = _engine(url, pool_size=1)
    _on_connect(engine, PRAGMAS)

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        # A deferred transaction that turns into a writer fails at once when another process
        # wrote in between; an immediate one waits its turn.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def readers(url: URL) -> AsyncEngine:
    """An engine of a few connections that cannot write, and never wait for the one that does."""
    engine = _engine(
        url, pool_size=READERS, isolation_level="AUTOCOMMIT", pool_reset_on_return=None
    )
    _on_connect(engine, (*PRAGMAS, "PRAGMA query_only = ON"))
    return engine


def insert(table: Table) -> str:
    """SQL that inserts rows given as one JSON array of arrays.

    Rows that break a unique index are left out, silently.  One parameter instead of thousands:
    1.7 µs a row on the event loop's thread against 13 for `executemany`, and the rest runs
    without the GIL.
    """
    columns = [column.name for column in table.columns]
    return (
        f"{_ROWS} INSERT INTO {table.name} ({_names(columns)})"
        f" SELECT {_extracts(len(columns))} FROM given WHERE true"
        " ON CONFLICT DO NOTHING"
    )


def update(table: Table, columns: Sequence[str], lasting: Collection[str], where: str) -> str:
    """SQL that sets `columns` by id, from rows (id, *columns), where the row allows it.

    `where` may compare the row with `v`, what it is to become; a `lasting` column that is true
    stays so.
    """
    aliases = ", ".join(f"json_extract(r, '$[{k + 1}]') AS {c}" for k, c in enumerate(columns))
    values = {c: f"{table.name}.{c} OR v.{c}" if c in lasting else f"v.{c}" for c in columns}
    return (
        f"{_ROWS} UPDATE {table.name}"
        f" SET {', '.join(f'{_name(c)} = {value}' for c, value in values.items())}"
        f" FROM (SELECT json_extract(r, '$[0]') AS id, {aliases} FROM given) AS v"
        f" WHERE {table.name}.id = v.id AND {where}"
    )


def add(table: Table, key: Sequence[str], number: str) -> str:
    """SQL that adds to the number of each key, from rows (*key, number)."""
    return (
        f"{_ROWS} INSERT INTO {table.name} ({_names((*key, number))})"
        f" SELECT {_extracts(len(key) + 1)} FROM given WHERE true"
        f" ON CONFLICT ({_names(key)}) DO UPDATE SET"
        f" {_name(number)} = {table.name}.{_name(number)} + excluded.{_name(number)}"
    )


def put(table: Table, key: Sequence[str], columns: Sequence[str]) -> str:
    """SQL that sets the columns of each key, from rows (*key, *columns), there before or not."""
    values = ", ".join(f"{_name(column)} = excluded.{_name(column)}" for column in columns)
    return (
        f"{_ROWS} INSERT INTO {table.name} ({_names((*key, *columns))})"
        f" SELECT {_extracts(len(key) + len(columns))} FROM given WHERE true"
        f" ON CONFLICT ({_names(key)}) DO UPDATE SET {values}"
    )


def among(column: str, parameter: str) -> str:
    """SQL for: the column is one of the texts in a JSON array, bound as `parameter`."""
    return f"{column} IN (SELECT value FROM json_each({parameter}))"


async def changed(connection: AsyncConnection, sql: str, rows: str) -> int:
    """Run a statement over rows; how many it changed.

    SQLite works without the GIL from end to end then: to be told each row takes it and gives it
    up for each.
    """
    await connection.exec_driver_sql(sql, (rows,))
    return int(await connection.scalar(text("SELECT changes()")) or 0)


async def lock(connection: AsyncConnection, table: Table, ids: str) -> None:
    """Nothing: rows are not locked."""


async def alone(connection: AsyncConnection) -> None:
    """Nothing: whoever writes is."""


async def check(connection: AsyncConnection) -> None:
    """Nothing: `create` has seen to it."""


def unusable(url: URL, error: BaseException, reason: str) -> LumbreError:
    """What to tell somebody whose ledger cannot be opened."""
    return ConfigurationError(
        f"the ledger {url.database} cannot be used ({reason}): let LUMBRE_LEDGER_URL name a file"
        " this process may write, made by Lumbre or not yet there"
    )


def name(url: URL) -> str:
    """What to call the ledger in a message."""
    return str(url.database)


def passes(error: BaseException) -> bool:
    """Never: a lock was waited for already, and what else fails does so again."""
    return False


# Materialized, because otherwise json_each renders a row again for each of its columns: 6 µs a row
# of 26 columns against 19 (SQLite 3.40).
_ROWS = "WITH given(r) AS MATERIALIZED (SELECT value FROM json_each(?))"


def _extracts(count: int) -> str:
    return ", ".join(f"json_extract(r, '$[{k}]')" for k in range(count))


def _names(columns: Sequence[str]) -> str:
    return ", ".join(map(_name, columns))


def _name(column: str) -> str:
    return f'"{column}"'


def _engine(url: URL, **options: Any) -> AsyncEngine:
    # hide_parameters: what callers send does not belong in an error's text and so into a log.
    address = url.set(drivername="sqlite+aiosqlite")
    return create_async_engine(address, max_overflow=0, hide_parameters=True, **options)


def _on_connect(engine: AsyncEngine, pragmas: Sequence[str]) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def connect(connection: Any, record: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(pragma)
        cursor.close()
