"""Fixtures of the ledger's tests, which run over every database that it may lie in."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from loadtest.servers import PostgresServer
from runtime import migrate
from runtime.ledger import Ledger
from tests.places import Place, PostgresPlace, SqlitePlace


@pytest.fixture(scope="session")
def postgres_ledger(postgres: PostgresServer) -> str:
    """The name of a database with every table, which tests share one after another."""
    migrate.upgrade(postgres.create_database("ledger"))
    return "ledger"


@pytest.fixture
async def postgres_place(postgres: PostgresServer, postgres_ledger: str) -> PostgresPlace:
    """A PostgreSQL database with every table, and nothing in it."""
    place = PostgresPlace(postgres, postgres_ledger)
    await place.empty()  # a tenth of a second sooner than a database of its own
    return place


@pytest.fixture
def sqlite_place(tmp_path: Path) -> SqlitePlace:
    """A SQLite file that is not there yet."""
    return SqlitePlace(tmp_path / "ledger.db")


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest) -> Place:
    """Each database in turn: what a ledger promises, it promises there."""
    kind = {"sqlite": "sqlite_place", "postgresql": "postgres_place"}[request.param]
    found: Place = request.getfixturevalue(kind)
    return found


@pytest.fixture
def ledger_url(place: Place) -> str:
    """The URL of an empty ledger, in each database in turn."""
    return place.url


@pytest.fixture
async def ledger(place: Place) -> AsyncIterator[Ledger]:
    """An empty ledger, in each database in turn."""
    ledger = await Ledger.open(place.url)
    yield ledger
    await ledger.close()
