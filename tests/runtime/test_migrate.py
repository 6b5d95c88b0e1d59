"""Migrations, over every database that a ledger may lie in."""

import asyncio
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from alembic import command
from alembic.config import Config

from loadtest.servers import PostgresServer
from runtime import database, migrate, schema
from runtime.errors import ConfigurationError, Unavailable
from runtime.ledger import Ledger
from runtime.model import Status
from tests.places import Place, PostgresPlace, SqlitePlace

EARLIEST = Path(__file__).parent / "ledger_version_1.sql"
REVISIONS = [
    "0001: The tables of the first release",
    "0002: Rollups of what happened, and the replicas that there were",
    "0003: API keys",
]


@pytest.fixture(params=["sqlite", "postgresql"])
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A database with nothing in it, each in turn."""
    if request.param == "sqlite":
        yield SqlitePlace(tmp_path / "ledger.db")
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = f"bare_{uuid4().hex[:12]}"
    server.create_database(name)
    yield PostgresPlace(server, name)
    server.drop_database(name)


def tables(place: Place) -> set[str]:
    """What a database says of itself: every table's columns, and every index and key."""
    if isinstance(place, SqlitePlace):
        names = [
            name for (name,) in place.ask("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        columns = [
            f"{table} {column[1:]}"  # but for its place: one that was added is the last
            for table in names
            for column in place.ask(f"PRAGMA table_info({table})")
        ]
        indexes = place.ask(
            "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        )
        return {*names, *columns, *(sql for (sql,) in indexes)}
    columns_of = (
        "SELECT table_name, column_name, ordinal_position, data_type, collation_name, is_nullable,"
        " column_default FROM information_schema.columns WHERE table_schema = 'public'"
    )
    keys_of = (
        "SELECT conrelid::regclass, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace"
    )
    queries = (columns_of, keys_of, "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'")
    return {" ".join(row) for query in queries for row in place.ask(query)}


async def make(place: Place) -> None:
    """Make the tables as `runtime.schema` describes them."""
    opened = await database.connect(database.address(place.url))
    async with opened.preparing() as connection:
        await opened.make_tables(connection)
    await opened.close()


async def migrate_to(place: Place, revision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bring a ledger to an earlier revision, as an earlier Lumbre left it."""
    upgrade = command.upgrade
    with monkeypatch.context() as patch:
        patch.setattr(command, "upgrade", lambda config, _: upgrade(config, revision))
        await migrated(place)


async def migrated(place: Place) -> list[str]:
    return await asyncio.to_thread(migrate.upgrade, place.url)


async def revision(place: Place) -> str | None:
    return await asyncio.to_thread(migrate.current, place.url)


def test_the_newest_revision_is_the_one_the_schema_names() -> None:
    assert migrate.newest() == schema.REVISION


async def test_migrations_make_what_the_schema_describes(bare: Place, tmp_path: Path) -> None:
    assert await revision(bare) is None
    assert await migrated(bare) == REVISIONS
    assert await revision(bare) == schema.REVISION
    by_migrations = tables(bare)
    assert any("by_idempotency_key" in each for each in by_migrations)
    if isinstance(bare, SqlitePlace):
        await bare.empty()
    else:
        names = (*schema.metadata.tables, schema.revisions.name)
        await bare.do(*(f"DROP TABLE {name}" for name in names))
        assert not tables(bare)
    await make(bare)
    assert tables(bare) == by_migrations


async def test_a_ledger_that_has_every_revision_is_left_alone(bare: Place) -> None:
    await migrated(bare)
    before = tables(bare)
    assert await migrated(bare) == []
    assert tables(bare) == before


async def test_several_may_migrate_a_ledger_at_once(bare: Place) -> None:
    done = await asyncio.gather(*(migrated(bare) for _ in range(4)))
    assert sorted(map(len, done)) == [0, 0, 0, len(REVISIONS)]
    await (await Ledger.open(bare.url)).close()


async def test_a_migration_that_fails_leaves_nothing(
    bare: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade = command.upgrade

    def fail_at_the_end(config: Config, revision: str) -> None:
        upgrade(config, revision)
        raise OSError("the power went")

    with monkeypatch.context() as patch:
        patch.setattr(command, "upgrade", fail_at_the_end)
        with pytest.raises((ConfigurationError, Unavailable), match="the power went"):
            await migrated(bare)
    assert tables(bare) == set()
    assert await migrated(bare) == REVISIONS


async def test_a_newer_ledger_is_neither_opened_nor_migrated(bare: Place) -> None:
    await migrated(bare)
    await bare.do("UPDATE alembic_version SET version_num = '0099'")
    with pytest.raises(ConfigurationError, match=r"revision 0099.*install the newer Lumbre"):
        await Ledger.open(bare.url)
    with pytest.raises(ConfigurationError, match=r"revision 0099.*install the newer Lumbre"):
        await migrated(bare)


async def test_a_postgresql_ledger_without_tables_is_not_opened(postgres_url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"no tables yet.*run: lumbre migrate"):
        await Ledger.open(postgres_url)
    assert await asyncio.to_thread(migrate.current, postgres_url) is None


async def test_a_ledger_of_the_first_revision_keeps_what_it_holds_when_it_is_brought_up(
    bare: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate_to(bare, "0001", monkeypatch)
    assert await revision(bare) == "0001"
    await bare.do("INSERT INTO totals VALUES ('accepted', 0, 1)")
    if isinstance(bare, PostgresPlace):
        with pytest.raises(ConfigurationError, match="revision 0001, and this Lumbre needs"):
            await Ledger.open(bare.url)
        assert await migrated(bare) == REVISIONS[1:]
    await asyncio.gather(*(_open_and_close(bare) for _ in range(2)))
    assert await revision(bare) == schema.REVISION
    ledger = await Ledger.open(bare.url)
    assert (await ledger.audit()).accepted == 1
    assert await ledger.pages.read(5, 0, 2**60) == []
    await ledger.close()


async def test_a_postgresql_ledger_of_an_earlier_revision_is_not_opened(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.to_thread(migrate.upgrade, postgres_url)
    monkeypatch.setattr(schema, "REVISION", "0098")
    with pytest.raises(
        ConfigurationError, match=r"revision \d+, and this Lumbre needs 0098: run: lumbre migrate"
    ):
        await Ledger.open(postgres_url)


async def test_asking_for_the_revision_makes_no_file(tmp_path: Path) -> None:
    place = SqlitePlace(tmp_path / "ledger.db")
    assert await revision(place) is None
    assert not place.path.exists()


async def test_a_ledger_of_before_there_were_revisions_is_brought_up_when_it_is_opened(
    tmp_path: Path,
) -> None:
    place, new = SqlitePlace(tmp_path / "ledger.db"), SqlitePlace(tmp_path / "new.db")
    with closing(sqlite3.connect(place.path)) as connection, connection:
        connection.executescript(EARLIEST.read_text())
    assert await revision(place) == ""
    await asyncio.gather(*(_open_and_close(place) for _ in range(3)))
    assert await revision(place) == schema.REVISION
    ledger = await Ledger.open(place.url)
    done = await ledger.get("01a2075e3f6b700081d1a0b5a0d6a8a1")
    assert done is not None and done.status is Status.SUCCEEDED
    assert done.result is not None and done.result.data == b"42"
    assert done.published
    unfinished = [i.id async for chunk in ledger.unfinished() for i in chunk]
    assert unfinished == ["01a2075e3f6b700181d1a0b5a0d6a8a2"]
    audit = await ledger.audit()
    assert audit.holds
    assert audit.accepted == 2
    await ledger.close()
    await make(new)
    assert _unspaced(tables(place)) == _unspaced(tables(new))


async def _open_and_close(place: Place) -> None:
    await (await Ledger.open(place.url)).close()


def _unspaced(said: set[str]) -> set[str]:
    return {re.sub(r"\s+", " ", each) for each in said}
