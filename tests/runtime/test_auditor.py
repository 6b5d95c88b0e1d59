"""The audit across ledger and broker, over each broker: what is lost is named, and nothing else."""

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pika  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.servers import RabbitServer
from runtime import auditor
from runtime.auditor import MANAGEMENT, MEMORY, WORKERS, Auditor, reckoning_view
from runtime.brokers import Broker, Delivery, QueueSpec
from runtime.brokers.memory import MemoryBroker
from runtime.brokers.rabbitmq import Address, RabbitBroker
from runtime.ledger import Ledger
from runtime.model import Invocation, Message, Payload, Status, new_id

AGES_AGO = 1.0  # unix seconds


@dataclass
class Books:
    """A ledger, a broker, and who audits them."""

    name: str  # of the function
    ledger: Ledger
    broker: Broker
    in_hand: dict[str, int] = field(default_factory=dict)
    blocked: bool = False
    forgotten: list[str] = field(default_factory=list)
    settle: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(0)

    @property
    def queue(self) -> str:
        return f"{self.name}.cpu"

    @property
    def auditor(self) -> Auditor:
        return Auditor(
            self.ledger,
            self.broker,
            queues=lambda: [self.queue],
            settle=lambda: self.settle(),
            in_hand=lambda: self.in_hand,
            blocked=lambda: self.blocked,
            forget=self.forgotten.append,
        )

    def make(self, **fields: Any) -> Invocation:
        created_at = fields.pop("created_at", AGES_AGO)
        status = fields.pop("status", Status.QUEUED)
        message = Message(new_id(), self.name, "cpu", Payload(), created_at)
        started_at = created_at if status is Status.RUNNING else None
        return Invocation(message, "auto", "v1", status, started_at=started_at, **fields)

    async def accept(self, **fields: Any) -> str:
        """The id of an invocation that is in the ledger and in its queue."""
        invocation = self.make(**fields)
        await self.ledger.write([invocation])
        await self.broker.publish(self.queue, invocation.message)
        return invocation.id

    async def lose(self, **fields: Any) -> str:
        """The id of one that is in the ledger only."""
        invocation = self.make(**fields)
        await self.ledger.write([invocation])
        return invocation.id

    async def take(self, count: int) -> list[Delivery]:
        """Deliveries in hand."""
        taken: list[Delivery] = []
        consumer = await self.broker.consume(self.queue, count, taken.append)
        async with asyncio.timeout(10):
            while len(taken) < count:
                await asyncio.sleep(0.01)
        await consumer.close()  # it would take the next message once one of these is settled
        return taken


@asynccontextmanager
async def opened(folder: Path, broker: Broker) -> AsyncIterator[Books]:
    ledger = await Ledger.open(f"sqlite:///{folder}/ledger.db")
    books = Books(f"f{uuid4().hex[:12]}", ledger, broker)
    await broker.declare([QueueSpec(books.queue)])
    try:
        yield books
    finally:
        await broker.close()
        await ledger.close()


async def open_rabbit(url: str, management: str | None = None) -> RabbitBroker:
    broker = RabbitBroker(Address.parse(url), name="audit", management_url=management)
    await broker.open(30)
    return broker


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second look comes sooner than it does for users."""
    monkeypatch.setattr(auditor, "APART", 0.05)
    monkeypatch.setattr(auditor, "HEARSAY", 0.0)


@pytest.fixture
async def on_rabbit(rabbit_url: str, tmp_path: Path) -> AsyncIterator[Books]:
    async with opened(tmp_path, await open_rabbit(rabbit_url)) as books:
        yield books


@pytest.fixture
async def in_memory(tmp_path: Path) -> AsyncIterator[Books]:
    async with opened(tmp_path, MemoryBroker()) as books:
        yield books


@pytest.fixture(params=["memory", "rabbitmq"])
async def books(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Books]:
    """Books over each broker that we ship."""
    broker: Broker = MemoryBroker()
    if request.param == "rabbitmq":
        broker = await open_rabbit(request.getfixturevalue("rabbit_url"))
    async with opened(tmp_path, broker) as made:
        yield made


# ── what is there ─────────────────────────────────────────────────────────────────────────────


async def test_what_waits_in_its_queue_is_not_missing(books: Books) -> None:
    await books.accept()
    await books.lose(published=False)  # the feeder has it still
    found = await books.auditor.reckon()
    (balance,) = found.balances or ()
    assert found.holds
    assert (balance.ledger.queued, balance.ledger.unpublished, balance.missing) == (1, 1, 0)
    assert balance.ready == 1
    assert found.leased_from == (MEMORY if isinstance(books.broker, MemoryBroker) else WORKERS)


async def test_what_was_purged_is_named_and_published_again(books: Books) -> None:
    lost = [await books.accept(), await books.accept(status=Status.RUNNING)]
    await books.broker.purge(books.queue)
    found = await books.auditor.reckon()
    assert not found.holds
    assert [each.id for each in found.lost] == lost
    told = reckoning_view(found)
    assert [each["id"] for each in told["lost"]] == lost
    assert all(id in " ".join(told["problems"]) for id in lost)
    assert found.repaired == ()
    repaired = await books.auditor.reckon(repair=True)
    assert sorted(repaired.repaired) == sorted(lost) == sorted(books.forgotten)
    waiting = await books.ledger.unpublished(AGES_AGO + 1, 10)
    assert sorted(each.id for each in waiting) == sorted(lost)
    assert (await books.auditor.reckon()).holds


async def test_a_row_that_was_deleted_breaks_the_sum(books: Books, tmp_path: Path) -> None:
    await books.accept()
    gone = await books.accept()
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("DELETE FROM invocations WHERE id = ?", [gone])
    connection.close()
    found = await books.auditor.reckon()
    assert not found.holds
    assert "2 invocations were accepted, and 1 are held" in reckoning_view(found)["problems"]


async def test_what_is_young_is_not_named(books: Books) -> None:
    await books.lose(created_at=time.time())
    found = await books.auditor.reckon()
    assert found.holds
    assert found.missing == 1
    assert reckoning_view(found)["explanation"]


async def test_what_is_in_hand_is_not_missing(in_memory: Books) -> None:
    await in_memory.accept(status=Status.RUNNING)
    (delivery,) = await in_memory.take(1)
    found = await in_memory.auditor.reckon()
    assert (found.holds, found.missing) == (True, 0)
    delivery.ack()  # and nothing is recorded
    assert len((await in_memory.auditor.reckon()).lost) == 1


async def test_what_workers_say_they_have_in_hand_is_not_missing(on_rabbit: Books) -> None:
    id = await on_rabbit.accept(status=Status.RUNNING)
    (delivery,) = await on_rabbit.take(1)
    assert isinstance(on_rabbit.broker, RabbitBroker)
    assert on_rabbit.broker.in_hand(on_rabbit.queue) == 1
    on_rabbit.in_hand[on_rabbit.queue] = 1
    found = await on_rabbit.auditor.reckon()
    assert (found.holds, found.missing, found.leased_from) == (True, 0, WORKERS)
    delivery.ack()
    await on_rabbit.broker.settle(10)
    assert on_rabbit.broker.in_hand(on_rabbit.queue) == 0
    on_rabbit.in_hand.clear()
    assert [each.id for each in (await on_rabbit.auditor.reckon()).lost] == [id]


async def test_while_others_wait_in_the_queue_a_loss_is_only_a_number(books: Books) -> None:
    await books.accept()
    lost = await books.lose()
    found = await books.auditor.reckon()
    assert found.holds
    assert (found.missing, found.lost) == (1, ())
    assert "ask again" in str(reckoning_view(found)["explanation"])
    await books.broker.purge(books.queue)
    assert lost in [each.id for each in (await books.auditor.reckon()).lost]


async def test_what_another_function_does_hides_no_loss(books: Books) -> None:
    busy = Books(f"f{uuid4().hex[:12]}", books.ledger, books.broker)
    await books.broker.declare([QueueSpec(busy.queue)])
    await busy.accept()
    await busy.lose()
    lost = await books.lose()
    found = await books.auditor.reckon()
    assert [each.id for each in found.lost] == [lost]


async def test_what_ends_between_the_two_looks_is_not_lost(books: Books) -> None:
    id = await books.lose()
    calls = 0

    async def settle() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:  # a recorder has just written what it was told
            (found,) = (await books.ledger.among([id])).values()
            found.status, found.finished_at = Status.SUCCEEDED, 2.0
            await books.ledger.write([found])

    books.settle = settle
    found = await books.auditor.reckon()
    assert (found.holds, found.lost, calls) == (True, (), 2)


async def test_what_comes_into_the_queue_between_the_two_looks_is_not_lost(books: Books) -> None:
    id = await books.lose()
    message = (await books.ledger.among([id]))[id].message
    real = books.broker.survey
    looks = 0

    async def survey(queues: Any) -> Any:
        nonlocal looks
        looks += 1
        if looks == 2:
            await books.broker.publish(books.queue, message)
        return await real(queues)

    books.broker.survey = survey  # type: ignore[method-assign]
    found = await books.auditor.reckon()
    assert (found.holds, found.lost, looks) == (True, (), 2)


# ── what only a server has ────────────────────────────────────────────────────────────────────


async def test_what_waits_for_its_delay_is_not_named(on_rabbit: Books) -> None:
    await on_rabbit.accept()
    (delivery,) = await on_rabbit.take(1)
    delivery.requeue(delay=60)
    assert isinstance(on_rabbit.broker, RabbitBroker)
    await on_rabbit.broker.settle(10)
    found = await on_rabbit.auditor.reckon()
    assert (found.holds, found.missing) == (True, 1)
    assert found.between is not None and found.between["retry.1m"] == 1
    assert "1 in retry.1m" in str(reckoning_view(found)["explanation"])


async def test_what_waits_to_be_recorded_is_not_named(on_rabbit: Books) -> None:
    await on_rabbit.lose()
    assert isinstance(on_rabbit.broker, RabbitBroker)
    on_rabbit.broker.report(b"of an outcome")
    await on_rabbit.broker.settle(10)
    found = await on_rabbit.auditor.reckon()
    assert (found.holds, found.missing) == (True, 1)
    assert "1 in results" in str(reckoning_view(found)["explanation"])


async def test_a_worker_that_tells_late_of_what_it_took_is_waited_for(
    on_rabbit: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditor, "HEARSAY", 1.0)
    await on_rabbit.accept(status=Status.RUNNING)
    await on_rabbit.take(1)
    tell = asyncio.get_running_loop().call_later
    tell(0.5, on_rabbit.in_hand.__setitem__, on_rabbit.queue, 1)
    found = await on_rabbit.auditor.reckon()
    assert (found.holds, found.lost) == (True, ())


async def test_while_the_broker_takes_nothing_nothing_is_named(on_rabbit: Books) -> None:
    await on_rabbit.lose()
    on_rabbit.blocked = True
    assert (await on_rabbit.auditor.reckon()).holds


async def test_what_was_in_a_queue_that_was_deleted_is_named(
    on_rabbit: Books, rabbit_url: str
) -> None:
    lost = await on_rabbit.accept()
    connection = pika.BlockingConnection(pika.URLParameters(rabbit_url))
    connection.channel().queue_delete(on_rabbit.queue)
    connection.close()
    found = await on_rabbit.auditor.reckon()
    assert [each.id for each in found.lost] == [lost]
    (balance,) = found.balances or ()
    assert balance.ready is None


async def test_the_management_api_tells_what_others_have_in_hand(
    rabbit: RabbitServer, rabbit_url: str, tmp_path: Path
) -> None:
    broker = await open_rabbit(rabbit_url, rabbit.management_url)
    async with opened(tmp_path, broker) as books:
        await books.accept(status=Status.RUNNING)
        await books.take(1)
        deadline = asyncio.get_running_loop().time() + 30
        while True:  # its statistics are a few seconds old
            survey = await broker.survey([books.queue])
            if survey.leased and survey.leased[books.queue] == 1:
                break
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.1)
        found = await books.auditor.reckon()
        assert (found.holds, found.missing, found.leased_from) == (True, 0, MANAGEMENT)


async def test_a_management_api_that_does_not_answer_leaves_it_to_the_workers(
    rabbit_url: str, tmp_path: Path
) -> None:
    async with opened(tmp_path, await open_rabbit(rabbit_url, "http://127.0.0.1:9")) as books:
        await books.accept()
        found = await books.auditor.reckon()
        assert (found.holds, found.leased_from) == (True, WORKERS)


# ── whatever happens ──────────────────────────────────────────────────────────────────────────

WHERE = ("ready", "leased", "delayed", "unpublished", "over", "lost")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(WHERE), max_size=8))
async def test_never_is_named_what_is_somewhere_and_always_what_is_nowhere(
    places: list[str],
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(auditor, "APART", 0.0)
        async with opened(Path(folder), MemoryBroker()) as books:
            lost = await _put(books, places)
            found = await books.auditor.reckon()
            named = {each.id for each in found.lost}
            held = {"ready", "leased", "delayed"} & set(places)
            assert named == (set() if held else lost)
            assert found.missing == len(lost)
            assert found.holds == (not named)


async def _put(books: Books, places: list[str]) -> set[str]:
    """Put an invocation into each place; those that are lost."""
    lost = set()
    for where in sorted(places, key=["leased", "delayed"].__contains__, reverse=True):
        if where in ("leased", "delayed"):
            await books.accept()
            (delivery,) = await books.take(1)
            if where == "delayed":
                delivery.requeue(delay=60)
        elif where == "ready":
            await books.accept()
        elif where == "unpublished":
            await books.lose(published=False)
        elif where == "over":
            over = books.make(status=Status.SUCCEEDED)
            over.finished_at = 2.0
            await books.ledger.write([over])
        else:
            lost.add(await books.lose())
    return lost
