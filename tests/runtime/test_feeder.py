"""The feeder: what the ledger holds back comes into its queue, a window at a time."""

import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence

import pytest

from runtime import feeder as module
from runtime.errors import Unavailable
from runtime.feeder import Feeder
from runtime.ledger import Batch, BatchState, Ledger
from runtime.model import Invocation, Message, Payload, Status, new_id
from tests.runtime.batching import QUEUE, Desk, desk_of, until


@pytest.fixture
async def desk(ledger: Ledger) -> AsyncIterator[Desk]:
    async with desk_of(ledger) as desk:
        yield desk


class Queues:
    """Queues that take everything; a test empties them."""

    def __init__(self) -> None:
        self.waiting: Counter[str] = Counter()
        self.published: list[Invocation] = []
        self.away = False

    async def publish(self, rows: Sequence[Invocation]) -> list[str]:
        if self.away:
            return []
        self.published += rows
        self.waiting.update(f"{row.message.function}.{row.message.device}" for row in rows)
        return [row.id for row in rows]

    async def ready(self, queue: str) -> int:
        if queue == "gone.cpu":
            raise KeyError(queue)
        return self.waiting[queue]


@pytest.fixture
def queues() -> Queues:
    return Queues()


def feeder_of(desk: Desk, queues: Queues, window: int = 1000, holder: str = "me") -> Feeder:
    recorder = desk.invocations.recorder
    return Feeder(desk.ledger, recorder, queues.publish, queues.ready, holder, window)


async def test_an_accepted_batch_comes_into_its_queue_in_order_and_once(
    desk: Desk, queues: Queues
) -> None:
    batch = await desk.send([{"n": n} for n in range(120)])
    feeder = feeder_of(desk, queues)
    assert not await feeder.feed()
    assert [row.batch_index for row in queues.published] == list(range(120))
    assert all(row.published for row in await desk.items(batch))
    assert not await feeder.feed()
    assert len(queues.published) == 120


async def test_no_more_than_a_window_waits_in_a_queue(desk: Desk, queues: Queues) -> None:
    await desk.send([{"n": n} for n in range(100)])
    feeder = feeder_of(desk, queues, window=20)
    assert await feeder.feed()
    assert len(queues.published) == 20
    queues.waiting[QUEUE] = 11  # more than half are left
    assert await feeder.feed()
    assert len(queues.published) == 20
    queues.waiting[QUEUE] = 10
    assert await feeder.feed()
    assert len(queues.published) == 30
    while await feeder.feed():
        queues.waiting.clear()
    assert [row.batch_index for row in queues.published] == list(range(100))


async def test_a_full_queue_does_not_hold_up_another(desk: Desk, queues: Queues) -> None:
    await desk.send([{"n": n} for n in range(60)])
    other = Batch("other", "other", "auto", time.time())
    await desk.ledger.add_batch(other)
    message = Message(new_id(), "other", "cpu", Payload(), created_at=time.time())
    row = Invocation(message, "auto", "v", published=False, batch=other.id, batch_index=0)
    await desk.ledger.write([row])
    await desk.ledger.batch_rows.accept(other.id, 1)
    queues.waiting[QUEUE] = 1000
    assert await feeder_of(desk, queues).feed()
    assert [row.id for row in queues.published] == [message.id]


async def test_batches_of_one_queue_take_turns(desk: Desk, queues: Queues) -> None:
    first = await desk.send([{"n": n} for n in range(3000)])
    second = await desk.send([{"n": n} for n in range(30)])
    feeder = feeder_of(desk, queues, window=1000)
    await feeder.feed()
    fed = Counter(row.batch for row in queues.published)
    assert fed[second.id] == 30
    assert 500 <= fed[first.id] <= 1100


async def test_large_items_make_the_window_smaller(
    desk: Desk, queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WINDOW_BYTES", 60_000)
    monkeypatch.setattr(module, "FIRST", 10)
    await desk.send([b'{"n": 1' + b" " * 992 + b"}" for _ in range(100)])
    assert await feeder_of(desk, queues).feed()
    assert 50 <= len(queues.published) <= 60


async def test_nothing_of_a_batch_is_fed_before_it_is_accepted_or_once_it_is_cancelled(
    desk: Desk, queues: Queues
) -> None:
    batch = await desk.send([{"n": 1}])
    await desk.ledger.set_batch_state(batch.id, BatchState.CANCELLED)
    assert not await feeder_of(desk, queues).feed()
    assert not queues.published


async def test_what_a_dead_gateway_left_behind_is_published(desk: Desk, queues: Queues) -> None:
    now = time.time()
    old, young = (
        Invocation(Message(new_id(), "f", "cpu", Payload(), created_at=at), "auto", "v")
        for at in (now - module.FORGOTTEN - 1, now)
    )
    old.published = young.published = False
    await desk.ledger.write([old, young])
    await feeder_of(desk, queues).feed()
    assert [row.id for row in queues.published] == [old.id]


async def test_what_the_broker_does_not_take_is_fed_later(desk: Desk, queues: Queues) -> None:
    await desk.send([{"n": n} for n in range(3)])
    feeder = feeder_of(desk, queues)
    queues.away = True
    assert await feeder.feed()
    queues.away = False
    await feeder.feed()
    assert len(queues.published) == 3


async def test_a_batch_whose_queue_is_gone_waits(desk: Desk, queues: Queues) -> None:
    batch = await desk.send([{"n": 1}])
    feeder = Feeder(
        desk.ledger,
        desk.invocations.recorder,
        queues.publish,
        lambda _: queues.ready("gone.cpu"),
        "me",
    )
    assert await feeder.feed()
    assert not (await desk.items(batch))[0].published


async def test_one_feeder_works_at_a_time_and_another_takes_over(
    desk: Desk, queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEASE", 0.4)
    monkeypatch.setattr(module, "LOOK_EVERY", 0.05)
    first = feeder_of(desk, queues, holder="first")
    first.start()
    await desk.send([{"n": 1}])
    first.wake()
    await until(lambda: _published(queues, 1))
    assert not await desk.ledger.lease("feeder", "second", 1.0)
    others = Queues()
    second = feeder_of(desk, others, holder="second")
    second.start()
    await first.close()  # as if it had died: it does not give up its lease
    await desk.send([{"n": 2}])
    second.wake()
    await until(lambda: _published(others, 1))
    await second.close()


async def _published(queues: Queues, count: int) -> bool:
    return len(queues.published) >= count


async def test_a_ledger_that_is_away_is_asked_again(
    desk: Desk, queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 0.01)
    lease = desk.ledger.lease
    asked = 0

    async def away(name: str, holder: str, seconds: float) -> bool:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise Unavailable("the ledger cannot be written", 5)
        return await lease(name, holder, seconds)

    monkeypatch.setattr(desk.ledger, "lease", away)
    await desk.send([{"n": 1}])
    feeder = feeder_of(desk, queues)
    feeder.start()
    await until(lambda: _published(queues, 1))
    await feeder.close()


# ── the queues of an embedded node ────────────────────────────────────────────────────────────


def embedded(desk: Desk, window: int = 1000) -> Feeder:
    given = desk.invocations
    return Feeder(desk.ledger, given.recorder, given.feed, given.ready, "node", window)


async def test_what_is_fed_is_live_and_what_is_fed_again_is_queued_once(desk: Desk) -> None:
    batch = await desk.send([{"n": n} for n in range(5)])
    rows = await desk.ledger.batch_rows.unpublished(batch.id, 10)
    assert await desk.invocations.feed(rows) == [row.id for row in rows]
    again = await desk.ledger.batch_rows.unpublished(batch.id, 10)
    assert await desk.invocations.feed(again) == [row.id for row in again]
    assert desk.broker.depth_now(QUEUE).ready == 5
    assert set(desk.invocations.live) == {row.id for row in rows}


async def test_whoever_calls_goes_before_the_items_of_a_batch(desk: Desk) -> None:
    await desk.send([{"n": n} for n in range(5)])
    await embedded(desk).feed()
    message = Message(new_id(), "square", "cpu", Payload(), created_at=time.time())
    await desk.invocations.submit(Invocation(message, "auto", "v"), durable=False)
    taken: list[str] = []
    consumer = await desk.broker.consume(QUEUE, 1, lambda d: taken.append(d.message.id))
    await until(lambda: _have(taken))
    assert taken == [message.id]
    await consumer.close()


async def _have(taken: list[str]) -> bool:
    return bool(taken)


async def test_what_was_fed_is_resumed_at_the_next_start_and_the_rest_is_fed(desk: Desk) -> None:
    batch = await desk.send([{"n": n} for n in range(30)])
    await embedded(desk, window=10).feed()
    async with desk_of(desk.ledger) as restarted:
        assert await restarted.invocations.resume(lambda _: 3) == 10
        await embedded(restarted).feed()
        assert restarted.broker.depth_now(QUEUE).ready == 30
        assert len({row.id for row in await restarted.items(batch)}) == 30


async def test_the_queue_of_a_function_that_is_gone_is_made_for_its_items(desk: Desk) -> None:
    message = Message(new_id(), "gone", "cpu", Payload(), created_at=1.0)
    row = Invocation(message, "auto", "v", published=False)
    await desk.ledger.write([row])
    await embedded(desk).feed()
    assert desk.broker.depth_now("gone.cpu").ready == 1


async def test_a_node_that_drains_feeds_nothing(desk: Desk) -> None:
    batch = await desk.send([{"n": 1}])
    desk.invocations.draining = True
    assert await embedded(desk).feed()
    (row,) = await desk.items(batch)
    assert (row.status, row.published) == (Status.QUEUED, False)
