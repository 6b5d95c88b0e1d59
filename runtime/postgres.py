"""What PostgreSQL does in its own way: connections, locks, and writing a batch at once.

Every statement that is not portable SQL stands here or in `sqlite`, which has the same names.
"""

from collections.abc import Collection, Sequence
from typing import Any

import asyncpg
from sqlalchemy import URL, Column, Table, event, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.types import BigInteger, Boolean, Double, Text

from runtime.errors import ConfigurationError, LumbreError, Unavailable

CONNECTIONS = 8  # of one process, at most; reading and writing share them
CONNECT_TIMEOUT = 10.0  # seconds
AGAIN = 5  # seconds until it may be there
COMMAND_TIMEOUT = 60.0  # seconds; what takes longer hangs, for the server or the network is gone
SELF_MADE = False  # its tables are made, and changed, by `lumbre migrate` alone
LOCKS_ROWS = True
PARTS = 16  # of a tally: so many processes write without waiting for one another's commits
NOW = "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"

# What PostgreSQL calls the way each type is written in JSON.
_CASTS = {Text: "", BigInteger: "::bigint", Double: "::double precision", Boolean: "::boolean"}

_DEADLOCK = frozenset({"40P01", "40001"})  # another one went first: nothing is wrong
_PASSING = ("57P03", "53300")  # it starts up, or stops, or has too many connections
_HINTS = {
    "28P01": "correct user and password in LUMBRE_LEDGER_URL",
    "28000": "correct user and password in LUMBRE_LEDGER_URL",
    "3D000": "make the database with createdb, and its tables with lumbre migrate",
}
_MIGRATING = 7_591_860_253  # an advisory lock's number, chosen by chance
_ENDED = ("57P01", "57P02", "57P05", "08")  # this connection is over: the server said so, or fell


def engine(url: URL, *, patient: bool = False) -> AsyncEngine:
    """An engine whose connections are asyncpg's, made as libpq makes them from the same URL.

    So `?sslmode=verify-full&sslrootcert=…` and what else libpq knows means what it means there.
    A patient one waits for ever, as a migration must.
    """
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)

    async def connect() -> Any:
        return await asyncpg.connect(
            address,
            timeout=CONNECT_TIMEOUT,
            command_timeout=None if patient else COMMAND_TIMEOUT,
            server_settings={"application_name": "lumbre"},
        )

    made = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_use_lifo=True,  # few connections while there is little to do
        hide_parameters=True,
    )
    event.listen(made.sync_engine, "handle_error", _notice_the_end)
    return made


def _notice_the_end(context: ExceptionContext) -> None:
    # A server that goes away ends every connection, and asyncpg may not have seen it of this one.
    if _is_over(context.original_exception):
        context.is_disconnect = True


def readers(writer: AsyncEngine) -> AsyncEngine:
    """The same connections for single queries: each is a transaction of its own."""
    return writer.execution_options(isolation_level="AUTOCOMMIT")


def insert(table: Table) -> str:
    """SQL that inserts rows given as one JSON array of arrays.

    Rows that break a unique index are left out, silently.  Measured with 30 columns and 9 indexes:
    14 µs a row (PostgreSQL 15); 18 to 32 with an array for each column, 47 with `json`.
    """
    columns = list(table.columns)
    return (
        f"INSERT INTO {table.name} ({_names([column.name for column in columns])})"
        f" SELECT {_extracts(columns)} FROM {_ROWS}"
        " ON CONFLICT DO NOTHING"
    )


def update(table: Table, columns: Sequence[str], lasting: Collection[str], where: str) -> str:
    """SQL that sets `columns` by id, from rows (id, *columns), where the row allows it.

    `where` may compare the row with `v`, what it is to become; a `lasting` column that is true
    stays so.
    """
    aliases = ", ".join(
        f"{_extract(table.c[c], k + 1)} AS {_name(c)}" for k, c in enumerate(columns)
    )
    values = {c: f"{table.name}.{c} OR v.{c}" if c in lasting else f"v.{c}" for c in columns}
    return (
        f"UPDATE {table.name}"
        f" SET {', '.join(f'{_name(c)} = {value}' for c, value in values.items())}"
        f" FROM (SELECT r->>0 AS id, {aliases} FROM {_ROWS}) AS v"
        f" WHERE {table.name}.id = v.id AND {where}"
    )


def add(table: Table, key: Sequence[str], number: str) -> str:
    """SQL that adds to the number of each key, from rows (*key, number)."""
    columns = [table.c[name] for name in (*key, number)]
    return (
        f"INSERT INTO {table.name} ({_names((*key, number))}) SELECT {_extracts(columns)}"
        f" FROM {_ROWS} ON CONFLICT ({_names(key)}) DO UPDATE SET"
        f" {_name(number)} = {table.name}.{_name(number)} + excluded.{_name(number)}"
    )


def put(table: Table, key: Sequence[str], columns: Sequence[str]) -> str:
    """SQL that sets the columns of each key, from rows (*key, *columns), there before or not."""
    values = ", ".join(f"{_name(column)} = excluded.{_name(column)}" for column in columns)
    extracts = _extracts([table.c[name] for name in (*key, *columns)])
    return (
        f"INSERT INTO {table.name} ({_names((*key, *columns))}) SELECT {extracts} FROM {_ROWS}"
        f" ON CONFLICT ({_names(key)}) DO UPDATE SET {values}"
    )


def among(column: str, parameter: str) -> str:
    """SQL for: the column is one of the texts in a JSON array, bound as `parameter`."""
    texts = f"SELECT jsonb_array_elements_text(CAST({parameter} AS jsonb))"
    return f"{column} = ANY(ARRAY({texts}))"


async def changed(connection: AsyncConnection, sql: str, rows: str) -> int:
    """Run a statement over rows; how many it changed."""
    return (await connection.exec_driver_sql(sql, (rows,))).rowcount


async def lock(connection: AsyncConnection, table: Table, ids: str) -> None:
    """Lock rows in the order of their ids, waiting for whoever has one.

    An update takes them in the order of its plan: two that come together would each wait for the
    other.  It costs nothing measurable, since the update has less to do then.
    """
    ordered = f"SELECT 1 FROM {table.name} WHERE {among('id', ':ids')} ORDER BY id"
    await connection.execute(text(f"{ordered} FOR NO KEY UPDATE"), {"ids": ids})


async def alone(connection: AsyncConnection) -> None:
    """Wait until no other process is here, and keep others out until the transaction ends."""
    await connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATING})"))


async def check(connection: AsyncConnection) -> None:
    """ConfigurationError where this database cannot hold every text."""
    encoding = await connection.scalar(text("SHOW server_encoding"))
    if encoding != "UTF8":
        raise ConfigurationError(
            f"the database of LUMBRE_LEDGER_URL is encoded in {encoding}, which cannot hold every"
            " text: make one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )


def unusable(url: URL, error: BaseException, reason: str) -> LumbreError:
    """What to tell somebody whose ledger cannot be opened; Unavailable where it may pass."""
    state = _state(getattr(error, "orig", None)) or ""
    said = f"the ledger {name(url)} cannot be used ({reason})"
    if isinstance(error, OSError) or state.startswith((*_PASSING, *_ENDED)):
        return Unavailable(f"{said}: start PostgreSQL there, or correct LUMBRE_LEDGER_URL", AGAIN)
    hint = _HINTS.get(state, "correct LUMBRE_LEDGER_URL, or the rights of its user")
    return ConfigurationError(f"{said}: {hint}")


def name(url: URL) -> str:
    """What to call the ledger in a message: its URL, but for the password and its options."""
    shown = URL.create("postgresql", url.username, None, url.host, url.port, url.database)
    return shown.render_as_string()


def passes(error: BaseException) -> bool:
    """Whether the same may well succeed at once: on another connection, or after another."""
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or _state(error.orig) in _DEADLOCK


def _is_over(error: BaseException | None) -> bool:
    return (_state(error) or "").startswith(_ENDED)


def _state(error: BaseException | None) -> str | None:
    """The SQLSTATE that the server gave (PostgreSQL manual, appendix A)."""
    state: str | None = getattr(error, "sqlstate", None)
    return state


_ROWS = "jsonb_array_elements($1::jsonb) AS given(r)"


def _extracts(columns: Sequence[Column[Any]]) -> str:
    return ", ".join(_extract(column, k) for k, column in enumerate(columns))


def _extract(column: Column[Any], place: int) -> str:
    cast = next(sql for kind, sql in _CASTS.items() if isinstance(column.type, kind))
    return f"(r->>{place}){cast}"


def _names(columns: Sequence[str]) -> str:
    return ", ".join(map(_name, columns))


def _name(column: str) -> str:
    return f'"{column}"'
