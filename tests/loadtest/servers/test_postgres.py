"""A private PostgreSQL server: its databases, and what stops and crashes leave."""

import os
from pathlib import Path

import asyncpg
import pytest

from loadtest.servers import Missing, PostgresServer, ServerError, postgres

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root lends the server a user")


async def value(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_a_test_has_a_database_of_its_own(postgres_url: str) -> None:
    assert postgres_url.startswith("postgresql://lumbre:")
    await value(postgres_url, "CREATE TABLE mine (n int)")
    assert await value(postgres_url, "SELECT count(*) FROM mine") == 0


async def test_a_database_is_made_from_a_template(postgres: PostgresServer) -> None:
    template = postgres.create_database("a template")
    await value(template, "CREATE TABLE kept AS SELECT 7 AS n")
    copy = postgres.create_database("a_copy", "a template")
    assert await value(copy, "SELECT n FROM kept") == 7
    for name in ("a_copy", "a template"):
        postgres.drop_database(name)


async def test_it_asks_for_the_password(postgres_url: str) -> None:
    before, _, after = postgres_url.partition("@")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await value(f"{before}x@{after}", "SELECT 1")


async def test_it_syncs_to_disk_as_one_in_earnest_does(postgres_url: str) -> None:
    assert await value(postgres_url, "SHOW fsync") == "on"
    assert await value(postgres_url, "SHOW synchronous_commit") == "on"


async def test_sessions_can_be_ended_from_the_server_s_side(postgres: PostgresServer) -> None:
    url = postgres.create_database("closed")
    connection = await asyncpg.connect(url)
    postgres.close_connections()
    with pytest.raises((asyncpg.AdminShutdownError, asyncpg.ConnectionDoesNotExistError)):
        await connection.fetchval("SELECT 1")
    postgres.drop_database("closed")


def test_a_refused_statement_is_told_without_the_password(postgres: PostgresServer) -> None:
    with pytest.raises(ServerError, match="syntax error") as caught:
        postgres.sql("SELEKT")
    password = postgres.url("x").split(":")[2].partition("@")[0]
    assert password not in str(caught.value)


async def test_what_was_committed_survives_a_crash_and_a_restart(
    own_postgres: PostgresServer,
) -> None:
    url = own_postgres.create_database("kept")
    await value(url, "CREATE TABLE kept AS SELECT 7 AS n")
    own_postgres.kill()
    own_postgres.start()
    assert await value(url, "SELECT n FROM kept") == 7
    own_postgres.restart()
    assert await value(url, "SELECT n FROM kept") == 7


def test_it_is_started_once_and_stopped_as_often_as_one_likes(own_postgres: PostgresServer) -> None:
    with pytest.raises(ServerError, match="runs already"):
        own_postgres.start()
    own_postgres.stop()
    own_postgres.stop()
    own_postgres.kill()
    with pytest.raises(ServerError, match=r"start\(\)"):
        _ = own_postgres.pid
    own_postgres.start()


@needs_root
def test_a_folder_that_its_user_cannot_enter_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(0o700)
    with pytest.raises(ServerError, match=f"cannot enter {closed}"):
        PostgresServer(closed / "server").start()


@needs_root
def test_under_root_it_runs_as_somebody_else(postgres: PostgresServer) -> None:
    assert Path(f"/proc/{postgres.pid}").stat().st_uid != 0


def test_a_machine_without_it_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgres, "PLACES", tmp_path)
    with pytest.raises(Missing, match="apt-get install postgresql"):
        PostgresServer(tmp_path)
