"""What is PostgreSQL's own: a server that goes away and comes back, its locks, and its rights."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from loadtest.servers import PostgresServer
from runtime import migrate, schema
from runtime.errors import ConfigurationError, Unavailable
from runtime.ledger import Ledger
from runtime.model import Failure, Invocation, Message, Payload, Status, new_id
from runtime.recorder import Recorder
from tests.conftest import running
from tests.places import PostgresPlace


def make(status: Status = Status.QUEUED, id: str = "", **fields: Any) -> Invocation:
    """An invocation of nothing in particular."""
    message = Message(id or new_id(), "noop", "cpu", Payload(), created_at=1.0)
    return Invocation(message, requested_device="auto", version="v1", status=status, **fields)


@pytest.fixture
def place(postgres_place: PostgresPlace) -> PostgresPlace:
    return postgres_place


@pytest.fixture(scope="module")
def fragile() -> Iterator[PostgresServer]:
    """A server for this module, which may stop it; it leaves it running."""
    with running(PostgresServer) as server:
        migrate.upgrade(server.create_database("fragile"))
        yield server


@pytest.fixture
async def frail(fragile: PostgresServer) -> AsyncIterator[Ledger]:
    """A ledger on that server."""
    ledger = await Ledger.open(fragile.url("fragile"))
    yield ledger
    await ledger.close()


# --- a server that goes away ------------------------------------------------------------------


async def test_connections_that_the_server_closed_are_not_noticed(
    frail: Ledger, fragile: PostgresServer
) -> None:
    row = make()
    await asyncio.gather(frail.write([row]), *(frail.get(row.id) for _ in range(6)))
    fragile.close_connections()
    assert await frail.get(row.id) == row
    fragile.close_connections()
    await frail.write([make(Status.SUCCEEDED, row.id)])
    assert (await frail.audit()).holds


async def test_a_connection_that_ends_amid_a_write_loses_and_doubles_nothing(
    frail: Ledger, fragile: PostgresServer
) -> None:
    before = await frail.audit()
    rows = [make() for _ in range(300)]

    async def write_all() -> None:
        for row in rows:
            await frail.write([row])

    async def close_often() -> None:
        while not writing.done():
            await asyncio.to_thread(fragile.close_connections)

    writing = asyncio.ensure_future(write_all())
    await asyncio.gather(writing, close_often(), return_exceptions=True)
    for row in rows:  # those of a write that failed thrice
        await frail.write([row])
    audit = await frail.audit()
    assert audit.problems == ()
    assert audit.accepted == before.accepted + len(rows)


async def test_a_server_that_restarts_is_unavailable_until_it_is_back(
    frail: Ledger, fragile: PostgresServer
) -> None:
    row = make()
    await frail.write([row])
    fragile.stop()
    try:
        with pytest.raises(Unavailable, match="cannot be read") as caught:
            await frail.get(row.id)
        assert caught.value.retry_after > 0
        with pytest.raises(Unavailable, match="cannot be written"):
            await frail.write([make()])
        with pytest.raises(Unavailable, match="start PostgreSQL there"):
            await Ledger.open(fragile.url("fragile"))
    finally:
        fragile.start()
    assert await frail.get(row.id) == row
    await frail.write([make(Status.SUCCEEDED, row.id)])


async def test_a_recorder_writes_what_it_holds_when_the_server_is_back(
    frail: Ledger, fragile: PostgresServer
) -> None:
    recorder = Recorder(frail)
    await recorder.start()
    row = make()
    await recorder.accept(row)
    fragile.kill()
    try:
        row.status = Status.SUCCEEDED
        recorder.note(row)
        with pytest.raises(Unavailable):
            await recorder.flush()
        with pytest.raises(Unavailable):
            await recorder.accept(make())
    finally:
        fragile.start()
    async with asyncio.timeout(20):
        while not recorder.healthy:
            await asyncio.sleep(0.005)
    await recorder.flush()
    stored = await frail.get(row.id)
    assert stored is not None and stored.status is Status.SUCCEEDED
    assert (await frail.audit()).holds
    await recorder.close()


# --- locks ------------------------------------------------------------------------------------


async def test_a_deadlock_that_others_make_is_survived(place: PostgresPlace) -> None:
    a, b = sorted((make() for _ in range(2)), key=lambda row: row.id)
    ledger = await Ledger.open(place.url)
    await ledger.write([a, b])
    other = await asyncpg.connect(place.url)
    transaction = other.transaction()
    await transaction.start()
    lock = "SELECT 1 FROM invocations WHERE id = $1 FOR UPDATE"
    await other.execute("SET deadlock_timeout = '1h'")  # so that it is the ledger who is told
    await other.fetch(lock, b.id)
    writing = asyncio.create_task(
        ledger.write([make(Status.SUCCEEDED, a.id), make(Status.FAILED, b.id)])
    )
    await until_somebody_waits(place)
    await other.fetch(lock, a.id)
    await transaction.rollback()
    assert {row.id for row in (await writing).terminal} == {a.id, b.id}
    assert (await ledger.audit()).problems == ()
    await other.close()
    await ledger.close()


async def until_somebody_waits(place: PostgresPlace) -> None:
    """Return once a statement in this database waits for a lock."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    async with asyncio.timeout(20):
        while await asyncio.to_thread(place.ask, query) == [("0",)]:
            pass


async def test_readers_do_not_wait_for_a_writer(place: PostgresPlace) -> None:
    row = make()
    ledger = await Ledger.open(place.url)
    await ledger.write([row])
    other = await asyncpg.connect(place.url)
    async with other.transaction():
        await other.execute("UPDATE invocations SET status = 'running'")
        assert await ledger.get(row.id) == row
        assert (await ledger.audit()).holds
    await other.close()
    await ledger.close()


async def test_closing_a_recorder_ends_while_somebody_holds_its_rows(place: PostgresPlace) -> None:
    row = make()
    ledger = await Ledger.open(place.url)
    recorder = Recorder(ledger)
    await recorder.start()
    await recorder.accept(row)
    other = await asyncpg.connect(place.url)
    async with other.transaction():
        await other.execute("LOCK TABLE invocations")
        row.status = Status.SUCCEEDED
        recorder.note(row)
        await recorder.close(grace=0.01)
    await other.close()
    await ledger.write([row])
    assert (await ledger.audit()).holds
    await ledger.close()


# --- texts ------------------------------------------------------------------------------------


async def test_what_a_text_cannot_hold_is_looked_up_as_it_was_stored(place: PostgresPlace) -> None:
    ledger = await Ledger.open(place.url)
    odd = make(Status.FAILED, idempotency_key="\0\ud800", error=Failure("a\0b", "\0\udfff"))
    await ledger.write([odd])
    stored = await ledger.by_idempotency_key("\0\ud800")
    assert stored is not None
    assert stored.idempotency_key == "\N{REPLACEMENT CHARACTER}?"
    assert stored.error == Failure("a\0b", "\0?")
    assert await ledger.get("\0") is None
    assert await ledger.batch("\0") is None
    assert await ledger.find(function="\0") == ([], None)
    await ledger.close()


# --- what cannot be opened --------------------------------------------------------------------


async def test_what_cannot_be_opened_says_why_and_never_the_password(
    postgres: PostgresServer,
) -> None:
    right = make_url(postgres.url("postgres"))
    password = str(right.password)
    for url, kind, said in (
        (right.set(password="wr0ng:/@"), ConfigurationError, "correct user and password"),
        (right.set(username="who"), ConfigurationError, "correct user and password"),
        (right.set(database="nothing"), ConfigurationError, "make the database with createdb"),
        (right.set(port=1), Unavailable, "start PostgreSQL there"),
        (right.set(host="nowhere.invalid"), Unavailable, "correct LUMBRE_LEDGER_URL"),
        (right.update_query_dict({"sslmode": "bogus"}), ConfigurationError, "`sslmode`"),
        (right.update_query_dict({"sslmode": "require"}), Unavailable, "SSL"),
        (right.update_query_dict({"nonsense": "1"}), ConfigurationError, "nonsense"),
    ):
        for call in (Ledger.open, _upgrade):
            with pytest.raises(kind, match=said) as caught:
                await call(url.render_as_string(hide_password=False))
            text = str(caught.value)
            assert text.startswith("the ledger postgresql://")
            assert password not in text and "wr0ng" not in text
            assert "\n" not in text


async def _upgrade(url: str) -> None:
    await asyncio.to_thread(migrate.upgrade, url)


async def test_a_server_that_goes_as_the_ledger_is_opened_is_away() -> None:
    """It lets somebody in, and ends at the first question, as one does that is being stopped."""

    async def let_in(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        version = b"server_version\x0015.0\0"
        told = b"S" + (len(version) + 4).to_bytes(4) + version
        writer.write(b"R\0\0\0\x08\0\0\0\0" + told + b"Z\0\0\0\x05I")
        await reader.read(4096)
        writer.close()

    server = await asyncio.start_server(let_in, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(Unavailable, match="closed in the middle"):
        await Ledger.open(f"postgresql://lumbre@127.0.0.1:{port}/ledger?sslmode=disable")
    server.close()
    await server.wait_closed()


async def test_a_password_may_have_any_characters(postgres: PostgresServer) -> None:
    postgres.sql("""CREATE ROLE odd SUPERUSER LOGIN PASSWORD 'p@ss/w:rd?#%&+ ü"'""")
    url = make_url(postgres.create_database("odd")).set(
        username="odd", password='p@ss/w:rd?#%&+ ü"'
    )
    text = url.set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)
    await _upgrade(text)
    ledger = await Ledger.open(text)
    assert (await ledger.audit()).holds
    await ledger.close()
    postgres.drop_database("odd")


async def test_a_database_that_cannot_hold_every_text_is_refused(postgres: PostgresServer) -> None:
    postgres.sql("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    for call in (Ledger.open, _upgrade):
        with pytest.raises(ConfigurationError, match="encoded in LATIN1"):
            await call(postgres.url("latin"))
    postgres.drop_database("latin")


async def test_a_user_who_may_not_make_tables_is_told(postgres: PostgresServer) -> None:
    postgres.sql("CREATE ROLE weak LOGIN PASSWORD 'weak'")
    url = make_url(postgres.create_database("guarded")).set(username="weak", password="weak")
    with pytest.raises(ConfigurationError, match=r"permission denied.*rights of its user"):
        await _upgrade(url.render_as_string(hide_password=False))
    postgres.drop_database("guarded")


# --- plans ------------------------------------------------------------------------------------


async def test_the_queries_that_grow_with_the_ledger_use_its_indexes(place: PostgresPlace) -> None:
    ledger = await Ledger.open(place.url)
    await ledger.write([make(Status.SUCCEEDED) for _ in range(2000)] + [make() for _ in range(20)])
    await ledger.close()
    # What other tests have deleted still makes an index look expensive beside so small a table.
    await place.do("REINDEX TABLE invocations", "ANALYZE invocations")
    table = "SELECT id FROM invocations WHERE"
    newest_first = "ORDER BY created_at DESC, id DESC LIMIT 5"
    over, going_on = str(schema.FINISHED), str(schema.UNFINISHED)
    waiting = str(schema.UNPUBLISHED)
    for query, index in {
        f"{table} {going_on} AND id > '0' ORDER BY id LIMIT 5": "unfinished",
        f"{table} {waiting} AND batch IS NULL ORDER BY created_at, id LIMIT 5": "unpublished",
        f"{table} created_at < 9 {newest_first}": "by_creation",
        f"{table} function = 'f' AND created_at < 9 {newest_first}": "by_function",
        f"{table} status = 'queued' AND created_at < 9 {newest_first}": "by_status",
        f"{table} batch = 'b' {newest_first}": "by_batch",
        f"{table} batch = 'b' AND status = 'succeeded' AND batch_index > 7"
        " ORDER BY batch_index LIMIT 5": "by_batch_status",
        f"{table} {over} ORDER BY coalesce(finished_at, created_at), id LIMIT 5": "by_end",
        f"{table} function = 'f' AND device = 'cpu' AND status = 'succeeded'"
        " ORDER BY id DESC LIMIT 5": "samples",
        f"{table} idempotency_key = 'k'": "by_idempotency_key",
    }.items():
        plan = "\n".join(line for (line,) in place.ask(f"EXPLAIN {query}"))
        assert f" using {index} on invocations" in plan, plan
