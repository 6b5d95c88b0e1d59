"""The dead-letter desk over each broker: what is asked twice, what dies in between, and many."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pika  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import clearance, function
from runtime.admission import Admission
from runtime.blobs import Blobs
from runtime.brokers import Broker, DeadLetter, Delivery, QueueSpec
from runtime.brokers.memory import MemoryBroker
from runtime.brokers.rabbitmq import Address, RabbitBroker
from runtime.catalog import Catalog
from runtime.clearance import UNAWAITED, Clearance, Cleared
from runtime.errors import Conflict, InvalidInput, NotFound, Overloaded, Unavailable
from runtime.function import FunctionSpec, describe
from runtime.invocations import EmbeddedInvocations, Invocations
from runtime.ledger import Ledger
from runtime.letters import Letters
from runtime.lifeline import ReplicaLife
from runtime.model import (
    Depth,
    Device,
    Failure,
    Invocation,
    Message,
    Part,
    Payload,
    PoolState,
    Status,
    new_id,
)
from runtime.remote import RemoteInvocations
from runtime.telemetry import Metrics

LIMIT = 10_000


def total(n: int, data: bytes = b"") -> int:
    """Something that died."""
    return n + len(data)


class Cpus:
    """A fleet of nothing but processors."""

    simulated = False

    def devices(self, spec: FunctionSpec) -> list[Device]:
        return ["cpu"]

    def lacks(self, spec: FunctionSpec, device: str) -> str:
        return f"no {device}"

    def pools(self, spec: FunctionSpec) -> dict[Device, PoolState]:
        return {}

    def depth(self, queue: str) -> Depth:
        return Depth()

    def lives(self) -> list[ReplicaLife]:
        return []

    def faults(self) -> list[str]:
        return []


@dataclass
class Desk:
    """A desk, and what it stands on."""

    name: str  # of its function
    broker: Broker
    ledger: Ledger
    invocations: Invocations
    letters: Letters
    clearance: Clearance
    admission: Admission
    depth: Callable[[str], Depth] = lambda queue: Depth()

    @property
    def queue(self) -> str:
        return f"{self.name}.cpu"

    async def dead(self, *, recorded: bool = True, **fields: Any) -> str:
        """The id of an invocation that has died."""
        payload = fields.pop("payload", Payload(b'{"n":1}'))
        message = Message(new_id(), self.name, "cpu", payload, 1.0, attempt=3)
        invocation = Invocation(message, "auto", "v1", Status.DEAD, finished_at=2.0)
        invocation.error = Failure("ReplicaDied", "the replica ended: SIGKILL")
        if recorded:
            await self.ledger.write([invocation])
        await self.bury([message])
        return message.id

    async def bury(self, messages: list[Message]) -> None:
        """Have the broker give up on messages, in this order."""
        left = asyncio.Event()
        buried = 0

        def reject(delivery: Delivery) -> None:
            nonlocal buried
            delivery.reject("the replica ended: SIGKILL")
            buried += 1
            if buried == len(messages):
                left.set()

        for message in messages:
            await self.broker.publish(self.queue, message)
        consumer = await self.broker.consume(self.queue, 1, reject)
        await asyncio.wait_for(left.wait(), 30)
        await consumer.close()
        while len(await self.broker.dead_letters(self.name, 100_000)) < len(messages):
            await asyncio.sleep(0.02)

    async def ids(self) -> list[str]:
        return [letter.dead.message.id for letter in await self.letters.listed(self.name, 1000)]

    async def replay(self, id: str, parameters: bytes | None = None) -> Invocation:
        return await self.letters.replay(id, self.name, None, UNAWAITED, parameters)

    async def made_of(self, id: str) -> list[str]:
        """The invocations that were made of a dead one."""
        found, _ = await self.ledger.find(function=self.name, limit=1000)
        return [each.id for each in found if each.replayed_from == id]

    async def waiting(self) -> list[str]:
        """What waits in the queue, taken out of it."""
        got: list[str] = []

        def take(delivery: Delivery) -> None:
            got.append(delivery.message.id)
            delivery.ack()

        consumer = await self.broker.consume(self.queue, 100, take)
        while (await self.broker.depth(self.queue)).ready:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.1)
        await consumer.close()
        return got


@asynccontextmanager
async def opened(
    folder: Path, broker: Broker, make: Callable[[Ledger, Metrics], Invocations], limit: int = LIMIT
) -> AsyncIterator[Desk]:
    name = f"f{uuid4().hex[:12]}"
    ledger = await Ledger.open(f"sqlite:///{folder}/ledger.db")
    await broker.declare([QueueSpec(f"{name}.cpu")])
    invocations = make(ledger, Metrics(lambda: ()))
    await invocations.recorder.start()
    catalog = Catalog([], folder / "catalog.json")
    spec = describe(function(name=name)(total), file="f.py", attribute="total")
    catalog.functions = {name: spec}
    admission = Admission(Cpus(), catalog, invocations, Blobs(f"{folder}/blobs"), 1 << 20)
    admission.described.set()
    letters = Letters(broker, ledger, admission, invocations, lambda: catalog.functions)
    many = Clearance(letters, admission, lambda queue: made.depth(queue), limit)
    made = Desk(name, broker, ledger, invocations, letters, many, admission)
    try:
        yield made
    finally:
        await many.close()
        await letters.close()
        await invocations.recorder.close()
        await ledger.close()


@asynccontextmanager
async def in_memory(folder: Path, limit: int = LIMIT) -> AsyncIterator[Desk]:
    broker = MemoryBroker()

    def make(ledger: Ledger, metrics: Metrics) -> Invocations:
        return EmbeddedInvocations(broker, ledger, metrics, limit)

    async with opened(folder, broker, make, limit) as desk:
        desk.depth = broker.depth_now
        yield desk


@asynccontextmanager
async def on_rabbit(folder: Path, url: str) -> AsyncIterator[Desk]:
    broker = RabbitBroker(Address.parse(url), name="letters")
    await broker.open(30)

    def make(ledger: Ledger, metrics: Metrics) -> Invocations:
        return RemoteInvocations(
            broker, ledger, metrics, LIMIT, lambda queue: Depth(), lambda queue: False
        )

    async with opened(folder, broker, make) as desk:
        yield desk
    await broker.close()


@pytest.fixture(params=["memory", "rabbitmq"])
async def desk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Desk]:
    """A desk over each broker that we ship."""
    if request.param == "memory":
        async with in_memory(tmp_path) as made:
            yield made
        return
    async with on_rabbit(tmp_path, request.getfixturevalue("rabbit_url")) as made:
        yield made


@pytest.fixture
async def embedded(tmp_path: Path) -> AsyncIterator[Desk]:
    async with in_memory(tmp_path) as made:
        yield made


class Died(Exception):
    """What did not happen because the process was gone."""


def fails_once(monkeypatch: pytest.MonkeyPatch, target: Any, name: str) -> None:
    """As if the process died there: the next call of a method does nothing but raise."""
    real = getattr(target, name)

    async def dies(*arguments: Any) -> Any:
        monkeypatch.setattr(target, name, real)
        raise Died

    monkeypatch.setattr(target, name, dies)


async def all_of(parts: AsyncIterator[list[Cleared]]) -> list[Cleared]:
    return [each async for part in parts for each in part]


# ── one ───────────────────────────────────────────────────────────────────────────────────────


async def test_a_letter_is_listed_with_its_record(desk: Desk) -> None:
    id = await desk.dead()
    (letter,) = await desk.letters.listed(desk.name, 10)
    assert (letter.dead.message.id, letter.dead.queue) == (id, desk.queue)
    assert letter.dead.reason == "the replica ended: SIGKILL"
    assert letter.dead.message.payload.parameters == b'{"n":1}'
    assert letter.record is not None and letter.record.status is Status.DEAD
    everything = await desk.letters.listed(None, 10)
    assert [each.dead.message.id for each in everything] == [id]


async def test_a_replay_is_durable_before_its_letter_goes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await desk.dead()
    fails_once(monkeypatch, desk.letters, "remove")
    with pytest.raises(Died):
        await desk.replay(id)
    (made,) = await desk.made_of(id)
    stored = await desk.ledger.get(made)
    assert stored is not None and stored.status is Status.QUEUED
    assert await desk.waiting() == [made]


@pytest.mark.parametrize("last", ["replay_found", "remove"])
async def test_a_replay_that_died_in_between_is_one_when_it_is_asked_for_again(
    last: str, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await desk.dead()
    if last == "replay_found":  # the row and the message are there, and nothing says so
        monkeypatch.setattr(desk.ledger.letters, "settle", _raise)
    else:
        monkeypatch.setattr(desk.letters, "remove", _raise)
    with pytest.raises(Died):
        await desk.replay(id)
    monkeypatch.undo()
    again = await desk.replay(id)
    assert await desk.made_of(id) == [again.id]
    assert (await desk.replay(id)).id == again.id
    assert await desk.ids() == []
    assert await desk.waiting() == [again.id]


async def _raise(*_: Any) -> None:
    raise Died


async def test_a_letter_that_outlived_its_replay_goes_when_somebody_looks(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    id, other = await desk.dead(), await desk.dead()
    fails_once(monkeypatch, desk.letters, "remove")
    with pytest.raises(Died):
        await desk.replay(id)
    assert await desk.ids() == [other]
    left = await desk.broker.dead_letters(desk.name)
    assert [letter.message.id for letter in left] == [other]


async def test_two_letters_of_one_invocation_are_one_replay(desk: Desk) -> None:
    id = await desk.dead()
    (letter,) = await desk.broker.dead_letters(desk.name)
    await desk.bury([letter.message])
    new = await desk.replay(id)
    assert (await desk.replay(id)).id == new.id
    assert await desk.ids() == []


async def test_a_letter_of_what_the_ledger_has_forgotten_is_replayed_from_itself(
    desk: Desk,
) -> None:
    id = await desk.dead(recorded=False, payload=Payload(b'{"n":41}'))
    other = await desk.dead(recorded=False)
    new = await desk.replay(id)
    assert new.message.payload.parameters == b'{"n":41}'
    assert new.replayed_from == id
    assert await desk.ids() == [other]
    with pytest.raises(NotFound):
        await desk.replay(id)
    await desk.letters.discard(other, desk.name)
    assert await desk.ids() == []


async def test_an_upload_that_is_gone_is_told_and_its_letter_stays(desk: Desk) -> None:
    part = Part("data", "image/png", 3, None, f"{new_id()}/data")
    id = await desk.dead(payload=Payload(b'{"n":1}', (part,)))
    with pytest.raises(NotFound, match="send it anew"):
        await desk.replay(id)
    assert await desk.ids() == [id]


async def test_an_upload_that_travels_with_its_letter_need_not_be_in_the_store(
    desk: Desk,
) -> None:
    part = Part("data", "image/png", 3, b"png", f"{new_id()}/data")
    id = await desk.dead(recorded=False, payload=Payload(b'{"n":1}', (part,)))
    (copy,) = (await desk.replay(id)).message.payload.parts
    assert (copy.name, copy.size) == ("data", 3)
    assert copy.key != part.key


async def test_bytes_that_are_no_message_are_listed_and_only_discarded(
    desk: Desk, request: pytest.FixtureRequest
) -> None:
    garbage = b"\xff\x00 no message of ours"
    if isinstance(desk.broker, MemoryBroker):
        stand_in = Message("unreadable-1", desk.name, "cpu", Payload(None), 0.0)
        desk.broker.recall([DeadLetter(stand_in, desk.queue, "garbage", 1.0, garbage)])
    else:
        put(request.getfixturevalue("rabbit_url"), f"{desk.name}.dead", garbage)
    dead = await desk.dead()
    letters = await desk.letters.listed(desk.name, 10)
    (odd,) = [letter.dead for letter in letters if letter.dead.unreadable is not None]
    assert odd.unreadable == garbage
    id = odd.message.id
    with pytest.raises(Conflict, match="can only be discarded"):
        await desk.replay(id)
    cleared = await all_of(desk.clearance.replay_all(desk.name, None))
    assert {each.id: each.error is None for each in cleared} == {id: False, dead: True}
    await desk.letters.discard(id, desk.name)
    assert await desk.ids() == []


def put(url: str, queue: str, body: bytes) -> None:
    """Put bytes into a queue, as somebody else may."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.confirm_delivery()
    channel.basic_publish("", queue, body, mandatory=True)
    connection.close()


async def test_what_is_edited_is_checked_and_takes_the_place_of_the_parameters(
    desk: Desk,
) -> None:
    id = await desk.dead()
    with pytest.raises(InvalidInput):
        await desk.replay(id, b'{"n":"one"}')
    new = await desk.replay(id, b'{"n":2}')
    assert new.message.payload.parameters == b'{"n":2}'
    with pytest.raises(Conflict, match=new.id):
        await desk.replay(id)
    assert (await desk.replay(id, b'{"n":2}')).id == new.id


async def test_a_function_that_nobody_declared_has_no_letters(desk: Desk) -> None:
    assert await desk.letters.listed(f"g{uuid4().hex[:8]}", 10) == []
    with pytest.raises(NotFound):
        await desk.letters.discard("no-such-id", f"g{uuid4().hex[:8]}")


# ── many ──────────────────────────────────────────────────────────────────────────────────────


async def test_many_letters_are_replayed_oldest_first_and_each_once(desk: Desk) -> None:
    several = [await desk.dead() for _ in range(7)]
    cleared = await all_of(desk.clearance.replay_all(desk.name, None))
    assert [each.id for each in cleared] == several
    made = [each.replayed_as for each in cleared]
    assert len(set(made)) == 7 and None not in made
    assert await desk.ids() == []
    assert sorted(await desk.waiting()) == sorted(filter(None, made))


async def test_many_letters_are_discarded_but_those_that_were_replayed(desk: Desk) -> None:
    first, second, third = [await desk.dead() for _ in range(3)]
    new = await desk.replay(second)
    cleared = await all_of(desk.clearance.discard(desk.name, [first, second, "no-such-id"]))
    faults = {each.id: each.error for each in cleared}
    assert faults[first] is None
    assert new.id in (faults[second] or "")
    assert "no dead letter" in (faults["no-such-id"] or "")
    assert await desk.ids() == [third]
    assert [each.id for each in await all_of(desk.clearance.discard_all(desk.name))] == [third]
    assert await desk.ids() == []


async def recalled(desk: Desk, count: int) -> list[str]:
    """The ids of as many letters, all at once."""
    assert isinstance(desk.broker, MemoryBroker)
    made = []
    for k in range(count):
        message = Message(new_id(), desk.name, "cpu", Payload(b'{"n":1}'), float(k), attempt=3)
        made.append(Invocation(message, "auto", "v1", Status.DEAD, finished_at=float(k)))
    for start in range(0, count, 1000):
        await desk.ledger.write(made[start : start + 1000])
    desk.letters.recall(desk.broker)
    await desk.letters.ready()
    return [each.id for each in made]


async def test_thousands_of_letters_are_replayed_while_others_get_their_turn(
    tmp_path: Path,
) -> None:
    async with in_memory(tmp_path, limit=1000) as desk:
        await _replay_thousands(desk)


async def _replay_thousands(desk: Desk) -> None:
    several = await recalled(desk, 3000)
    depths: list[int] = []
    consumer = await desk.broker.consume(desk.queue, 100, lambda each: each.ack())

    async def look() -> None:
        while True:
            depths.append(desk.depth(desk.queue).ready)
            await asyncio.sleep(0.001)

    looking = asyncio.create_task(look())
    replayed = 0
    async for part in desk.clearance.replay_all(desk.name, None):
        assert all(each.error is None for each in part)
        replayed += len(part)
    looking.cancel()
    await consumer.close()
    assert replayed == len(several)
    assert max(depths) <= 1000 / 2 + clearance.AT_ONCE  # those that had seen room
    assert len(depths) > 100  # however short its turns, it had many
    assert await desk.ids() == []


async def test_a_queue_that_stays_full_keeps_half_of_itself_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clearance, "NO_ROOM", 0.1)
    monkeypatch.setattr(clearance, "LOOK_EVERY", 0.01)
    async with in_memory(tmp_path, limit=10) as desk:
        several = await recalled(desk, 12)
        cleared: list[Cleared] = []
        with pytest.raises(Overloaded, match="GET /functions"):
            async for part in desk.clearance.replay_all(desk.name, None):
                cleared += part
        done = [each.id for each in cleared if each.replayed_as]
        assert done == several[: len(done)]
        assert 5 <= len(done) <= 10
        assert await desk.ids() == several[len(done) :]


async def test_replaying_many_ends_where_nothing_is_accepted(embedded: Desk) -> None:
    several = await recalled(embedded, 1200)
    embedded.invocations.draining = True
    told = 0
    with pytest.raises(Unavailable):
        async for part in embedded.clearance.replay_all(embedded.name, None):
            told += len(part)
    assert told <= clearance.PART
    embedded.invocations.draining = False
    assert len(await embedded.letters.waiting(embedded.name, 2000)) == len(several)


async def test_many_that_cannot_be_replayed_are_given_up(
    embedded: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clearance, "MOST_KEPT", 3)
    assert isinstance(embedded.broker, MemoryBroker)
    embedded.broker.recall(
        DeadLetter(
            Message(f"unreadable-{k}", embedded.name, "cpu", Payload(None), 0.0),
            embedded.queue,
            "garbage",
            float(k),
            b"garbage",
        )
        for k in range(5)
    )
    with pytest.raises(Conflict, match="discard them"):
        await all_of(embedded.clearance.replay_all(embedded.name, None))
    assert len(await embedded.ids()) == 5


async def test_what_was_begun_is_finished_when_whoever_asked_has_gone(embedded: Desk) -> None:
    several = await recalled(embedded, 100)
    parts = embedded.clearance.replay_all(embedded.name, None)
    asking = asyncio.ensure_future(anext(parts))
    while not embedded.invocations.live:
        await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await embedded.clearance.close()
    assert await embedded.ids() == []
    made = [await embedded.made_of(id) for id in several]
    assert [len(each) for each in made] == [1] * 100
    assert embedded.depth(embedded.queue).ready == 100


# ── letters of before ─────────────────────────────────────────────────────────────────────────


async def test_a_broker_in_memory_takes_over_what_nobody_has_dealt_with(tmp_path: Path) -> None:
    async with in_memory(tmp_path) as desk:
        first, second, third, fourth = [await desk.dead() for _ in range(4)]
        await desk.replay(second)
        await desk.letters.discard(third, desk.name)
        name = desk.name
    async with in_memory(tmp_path) as desk:
        assert isinstance(desk.broker, MemoryBroker)
        desk.letters.recall(desk.broker)
        found = await desk.letters.listed(name, 10)
        assert [letter.dead.message.id for letter in found] == [first, fourth]
        assert found[0].dead.reason == "the replica ended: SIGKILL"
        assert (await desk.broker.depth(desk.queue)).dead == 0
        await desk.broker.declare([QueueSpec(f"{name}.cpu")])
        assert (await desk.broker.depth(f"{name}.cpu")).dead == 2


async def test_what_is_asked_while_letters_are_recalled_waits_for_them(tmp_path: Path) -> None:
    async with in_memory(tmp_path) as desk:
        id = await desk.dead()
        name = desk.name
    async with in_memory(tmp_path) as desk:
        assert isinstance(desk.broker, MemoryBroker)
        desk.letters.recall(desk.broker)
        await desk.letters.discard(id, name)
        assert await desk.letters.listed(name, 10) == []


async def test_letters_that_are_recalled_come_before_those_there_are(embedded: Desk) -> None:
    broker = embedded.broker
    assert isinstance(broker, MemoryBroker)
    now = await embedded.dead()
    earlier = [
        DeadLetter(Message(f"m{k}", embedded.name, "cpu", Payload(), 0.0), embedded.queue, "", at)
        for k, at in enumerate((3.0, 1.0, 2.0))
    ]
    again = DeadLetter(Message(now, embedded.name, "cpu", Payload(), 0.0), embedded.queue, "", 1.0)
    broker.recall([*earlier, again])
    found = await broker.dead_letters(embedded.name)
    assert [letter.message.id for letter in found] == ["m1", "m2", "m0", now]
    assert (await broker.depth(embedded.queue)).dead == 4


async def test_a_letter_that_is_chosen_among_many_goes_and_the_others_stay(desk: Desk) -> None:
    several = [await desk.dead() for _ in range(4)]
    chosen = {several[0], several[2]}
    count = await desk.broker.discard_many(desk.name, lambda letter: letter.message.id in chosen)
    assert count == 2
    assert await desk.ids() == [several[1], several[3]]
    assert (await desk.broker.depth(desk.queue)).dead == 2


# ── whatever happens ──────────────────────────────────────────────────────────────────────────

ORDERS = ("replay", "replay, and no more", "replay, and do not settle", "discard", "list", "all")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(ORDERS)), max_size=12))
async def test_one_letter_never_becomes_two_invocations(orders: list[tuple[int, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with in_memory(Path(folder)) as desk:
            several = [await desk.dead() for _ in range(3)]
            for which, order in orders:
                await _carry_out(desk, several[which], order)
            settled = await desk.ledger.letters.among(several)
            left = await desk.ids()
            for id in several:
                made = await desk.made_of(id)
                assert len(made) <= 1
                assert (id in left) != (id in settled)
                if made and id in settled and settled[id].replayed_as:
                    assert settled[id].replayed_as == made[0]
                record = await desk.ledger.get(id)
                assert record is not None and record.status is Status.DEAD


async def _carry_out(desk: Desk, id: str, order: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if order == "replay, and no more":
            patch.setattr(desk.letters, "remove", _raise)
        elif order == "replay, and do not settle":
            patch.setattr(desk.ledger.letters, "settle", _raise)
        work: Awaitable[Any]
        if order == "discard":
            work = desk.letters.discard(id, desk.name)
        elif order == "list":
            work = desk.letters.listed(None, 10)
        elif order == "all":
            work = all_of(desk.clearance.replay_all(desk.name, None))
        else:
            work = desk.replay(id)
        try:
            await work
        except (Died, NotFound, Conflict):
            return
