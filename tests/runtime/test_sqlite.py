"""What is SQLite's own: its file, its locks, and which index a query takes."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from runtime import schema, sqlite
from runtime.errors import ConfigurationError, Unavailable
from runtime.ledger import Ledger
from runtime.model import Invocation, Message, Payload, Status, new_id
from tests.places import SqlitePlace


def make(status: Status = Status.QUEUED) -> Invocation:
    """An invocation of nothing in particular."""
    message = Message(new_id(), "noop", "cpu", Payload(), created_at=1.0)
    return Invocation(message, requested_device="auto", version="v1", status=status)


@pytest.fixture
def place(sqlite_place: SqlitePlace) -> SqlitePlace:
    return sqlite_place


@pytest.fixture
def path(place: SqlitePlace) -> Path:
    return place.path


def url(path: Path) -> str:
    return f"sqlite:///{path}"


# --- locks and plans --------------------------------------------------------------------------


async def test_reading_goes_on_while_somebody_writes(ledger: Ledger, path: Path) -> None:
    invocation = make()
    await ledger.write([invocation])
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE invocations SET status = 'running'")
        assert await ledger.get(invocation.id) == invocation
        assert (await ledger.audit()).holds


async def test_writing_goes_on_while_somebody_reads(ledger: Ledger, path: Path) -> None:
    await ledger.write([make()])
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM invocations").fetchall()
        await ledger.write([make()])
        assert len((await ledger.find())[0]) == 2


async def test_a_write_waits_for_another_process_that_writes(ledger: Ledger, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writing = asyncio.create_task(ledger.write([make()]))
        await ledger.get("nobody")  # a turn of the loop and of the reader's thread
        assert not writing.done()
        other.execute("COMMIT")
        await writing
    assert (await ledger.audit()).accepted == 1


async def test_a_write_that_fails_leaves_nothing_and_the_next_works(
    ledger: Ledger, place: SqlitePlace
) -> None:
    await place.do(
        "CREATE TRIGGER full BEFORE INSERT ON totals BEGIN SELECT RAISE(ABORT, 'full'); END"
    )
    with pytest.raises(Unavailable, match=r"cannot be written \(full\)"):
        await ledger.write([make()])
    assert (await ledger.find())[0] == []
    await place.do("DROP TRIGGER full")
    await ledger.write([make()])
    assert (await ledger.audit()).accepted == 1


async def test_a_ledger_that_cannot_be_read_is_unavailable(
    ledger: Ledger, place: SqlitePlace
) -> None:
    await place.do("DROP TABLE invocations")
    with pytest.raises(Unavailable, match=r"cannot be read \(no such table: invocations\)"):
        await ledger.get("anything")


async def test_readers_that_give_up_leave_their_connections_usable(ledger: Ledger) -> None:
    invocation = make()
    await ledger.write([invocation])
    for _ in range(3 * sqlite.READERS):
        reading = asyncio.create_task(ledger.get(invocation.id))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    assert await ledger.get(invocation.id) == invocation


async def test_the_queries_that_grow_with_the_ledger_use_its_indexes(
    ledger: Ledger, path: Path
) -> None:
    def plan(query: str, *parameters: str) -> str:
        with closing(sqlite3.connect(path)) as connection:
            rows = connection.execute(f"EXPLAIN QUERY PLAN {query}", parameters).fetchall()
        return "; ".join(row[3] for row in rows)

    # Once an update looked every row up by its status, and was quadratic in the batch.
    update = ledger._update
    assert "SEARCH invocations USING INDEX sqlite_autoindex_invocations_1 (id=?)" in plan(
        update, "[]"
    )
    table = "SELECT id FROM invocations WHERE"
    newest_first = "ORDER BY created_at DESC, id DESC"
    for query, index in {
        f"{table} {schema.UNFINISHED} AND id > 'x' ORDER BY id LIMIT 5": "INDEX unfinished",
        f"{table} created_at < 9 {newest_first}": "INDEX by_creation",
        f"{table} function = 'f' AND created_at < 9 {newest_first}": "INDEX by_function",
        f"{table} status = 'dead' AND created_at < 9 {newest_first}": "INDEX by_status",
        f"{table} function = 'f' AND device = 'cpu' AND {schema.SUCCEEDED}"
        " ORDER BY id DESC": "INDEX samples",
        f"{table} idempotency_key = 'k'": "INDEX by_idempotency_key",
        f"{table} batch = 'b' AND created_at < 9 {newest_first}": "INDEX by_batch",
        f"{table} batch = 'b' AND status = 'dead' AND batch_index > 5"
        " ORDER BY batch_index": "INDEX by_batch_status",
        f"{table} {schema.UNPUBLISHED} AND batch IS NULL AND created_at < 9"
        " ORDER BY created_at, id": "INDEX unpublished",
        f"{table} {schema.FINISHED} ORDER BY {schema.ENDED_AT}, id LIMIT 5": "INDEX by_end",
    }.items():
        assert index in plan(query)
        assert "TEMP B-TREE" not in plan(query)


# --- opening ----------------------------------------------------------------------------------


async def test_opening_makes_the_folder(tmp_path: Path) -> None:
    ledger = await Ledger.open(url(tmp_path / "new" / "state" / "ledger.db"))
    assert (await ledger.audit()).holds
    await ledger.close()


async def test_two_that_open_a_new_ledger_at_once_share_it(path: Path) -> None:
    ledgers = await asyncio.gather(*(Ledger.open(url(path)) for _ in range(4)))
    await asyncio.gather(*(ledger.write([make()]) for ledger in ledgers))
    assert (await ledgers[0].audit()).accepted == 4
    for ledger in ledgers:
        await ledger.close()


async def test_opening_waits_for_another_process_that_opens(
    place: SqlitePlace, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.do("CREATE TABLE another (x)")  # and no write-ahead log yet
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    with closing(other):
        other.execute("BEGIN IMMEDIATE")
        with monkeypatch.context() as patch, pytest.raises(ConfigurationError, match="locked"):
            patch.setattr(sqlite, "BUSY_TIMEOUT", -1)
            await Ledger.open(url(path))
        monkeypatch.setattr("runtime.sqlite.time.sleep", lambda _: other.execute("COMMIT"))
        await (await Ledger.open(url(path))).close()


async def test_what_is_no_ledger_is_refused_in_one_line(tmp_path: Path) -> None:
    junk = tmp_path / "junk.db"
    junk.write_bytes(b"not a database, by any means " * 100)
    for place, reason in {
        junk: "file is not a database",
        junk / "ledger.db": "File exists",
        tmp_path: "unable to open database file",
    }.items():
        with pytest.raises(ConfigurationError, match=reason) as caught:
            await Ledger.open(url(place))
        assert str(place) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
async def test_an_unwritable_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        await Ledger.open(url(tmp_path / "ledger.db"))


@pytest.mark.parametrize("address", ["sqlite://", "sqlite:///:memory:"])
async def test_a_ledger_that_would_end_with_the_process_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="must outlive the process"):
        await Ledger.open(address)


def test_a_ledger_in_a_file_opens_without_what_others_need(path: Path) -> None:
    # Alembic and asyncpg would take half of the time in which a node is to be ready.
    code = (
        "import asyncio, sys; from runtime.ledger import Ledger;"
        f"ledger = asyncio.run(Ledger.open({url(path)!r}));"
        "asyncio.run(ledger.close()); print({'alembic', 'asyncpg'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": "."},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "set()\n", "")
