"""Batches: accepted as a whole or not at all, given up, cancelled, taken up again."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime import batches as module
from runtime.batches import Batches, Item
from runtime.errors import BadRequest, Conflict, InvalidInput, NotFound, TooLarge, Unavailable
from runtime.ledger import Batch, BatchState, Ledger
from runtime.model import INLINE_LIMIT, Invocation, Message, Payload, Status, new_id
from tests.places import Place
from tests.runtime.batching import QUEUE, Desk, brought, desk_of, until

PROPERTY = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
async def desk(ledger: Ledger) -> AsyncIterator[Desk]:
    async with desk_of(ledger) as desk:
        yield desk


async def all_batches(ledger: Ledger) -> list[Batch]:
    return (await ledger.batches())[0]


async def nothing_is_left(desk: Desk) -> bool:
    """No batch, no row, and no word of them in the audit."""
    found, _ = await desk.ledger.find()
    if found or await all_batches(desk.ledger):
        return False
    audit = await desk.ledger.audit()
    assert audit.holds, audit.problems
    return audit.accepted == 0


# ── accepting ─────────────────────────────────────────────────────────────────────────────────


async def test_a_batch_is_a_row_for_every_item_in_order(desk: Desk) -> None:
    batch = await desk.send([{"n": n} for n in range(20)])
    assert (batch.state, batch.total, batch.function) == (BatchState.ACCEPTED, 20, "square")
    assert await desk.ledger.batch(batch.id) == batch
    rows = await desk.items(batch)
    assert [row.batch_index for row in rows] == list(range(20))
    assert [row.message.payload.parameters for row in rows] == [b'{"n":%d}' % n for n in range(20)]
    assert {(row.status, row.published, row.batch) for row in rows} == {
        (Status.QUEUED, False, batch.id)
    }
    assert {(row.requested_device, row.message.device) for row in rows} == {("auto", "cpu")}
    assert desk.woken == 1
    assert not desk.invocations.live
    assert not any(desk.invocations.recorder.is_stored(row.id) for row in rows)


async def test_nothing_is_accepted_before_the_last_item_has_come(desk: Desk) -> None:
    gate = asyncio.Event()

    async def items() -> AsyncIterator[Sequence[Item]]:
        yield [Item(b"{}")] * 3
        await gate.wait()
        yield [Item(b"{}")]

    accepting = asyncio.create_task(desk.accept(items()))
    (batch,) = await until(lambda: all_batches(desk.ledger))
    assert (batch.state, batch.total) == (BatchState.ACCEPTING, None)
    await until(lambda: desk.items(batch))
    assert not await desk.ledger.batch_rows.waiting()
    gate.set()
    assert (await accepting).total == 4
    assert await desk.ledger.batch_rows.waiting() == [(batch.id, QUEUE)]


async def test_many_items_are_on_their_way_at_once_and_all_arrive(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 10)
    batch = await desk.send([{"n": n} for n in range(95)])
    assert [row.batch_index for row in await desk.items(batch)] == list(range(95))


async def test_large_items_are_not_gathered_in_memory(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AT_ONCE_BYTES", 100)
    most = 0
    accept = desk.invocations.recorder.accept

    def counted(invocation: Invocation) -> Any:
        nonlocal most
        waiting = desk.invocations.recorder._accepting
        most = max(most, sum(len(i.message.payload.parameters or b"") for i, _ in waiting))
        return accept(invocation)

    monkeypatch.setattr(desk.invocations.recorder, "accept", counted)
    padded = [b'{"n": 1' + b" " * 43 + b"}" for _ in range(40)]
    batch = await desk.accept(brought([Item(item) for item in padded], at_once=1))
    assert len(await desk.items(batch)) == 40
    assert most < 4 * 100


async def test_an_item_that_is_wrong_leaves_nothing_of_its_batch(desk: Desk) -> None:
    items = [Item(b'{"n": 1}', "line 1"), Item(b'{"n": -1}', "line 3"), Item(b"[]", "line 4")]
    with pytest.raises(InvalidInput) as refused:
        await desk.accept(brought(items))
    faults = dict(refused.value.errors)
    assert faults.keys() == {"/items/1/n", "/items/2"}
    assert faults["/items/1/n"].endswith("(line 3)")
    assert faults["/items/2"].startswith("line 4 must be a JSON object")
    await until(lambda: nothing_is_left(desk))


async def test_reading_ends_at_twenty_faults(desk: Desk) -> None:
    read = 0

    async def items() -> AsyncIterator[Sequence[Item]]:
        nonlocal read
        while True:
            read += 7
            yield [Item(b'{"n": "x", "m": 1}')] * 7

    with pytest.raises(InvalidInput) as refused:
        await desk.accept(items())
    assert len(refused.value.errors) == 20
    assert read == 14  # with two faults each
    await until(lambda: nothing_is_left(desk))


async def test_an_item_that_is_too_large_is_refused_by_its_place(desk: Desk) -> None:
    with pytest.raises(TooLarge, match="item 1 has more than 262,144 bytes"):
        await desk.send([{}, b'{"n": 1' + b" " * INLINE_LIMIT + b"}"])
    await until(lambda: nothing_is_left(desk))


async def test_a_batch_of_nothing_is_refused(desk: Desk) -> None:
    with pytest.raises(InvalidInput, match="has none"):
        await desk.send([])
    await until(lambda: nothing_is_left(desk))


async def test_a_body_that_breaks_off_leaves_nothing(desk: Desk) -> None:
    async def items() -> AsyncIterator[Sequence[Item]]:
        yield [Item(b"{}")] * 600
        raise BadRequest("the connection closed before the whole body came")

    with pytest.raises(BadRequest):
        await desk.accept(items())
    await until(lambda: nothing_is_left(desk))


async def test_a_caller_who_is_cancelled_leaves_nothing(desk: Desk) -> None:
    async def items() -> AsyncIterator[Sequence[Item]]:
        yield [Item(b"{}")] * 600
        await asyncio.Event().wait()

    accepting = asyncio.create_task(desk.accept(items()))
    await until(lambda: all_batches(desk.ledger))
    accepting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await accepting
    await until(lambda: nothing_is_left(desk))


async def test_a_node_that_drains_accepts_nothing_more(desk: Desk) -> None:
    async def items() -> AsyncIterator[Sequence[Item]]:
        yield [Item(b"{}")]
        desk.invocations.draining = True
        yield [Item(b"{}")]

    with pytest.raises(Unavailable):
        await desk.accept(items())
    await until(lambda: nothing_is_left(desk))


async def test_a_ledger_that_cannot_be_written_refuses_a_batch_and_forgets_it(
    place: Place, desk: Desk
) -> None:
    async def items() -> AsyncIterator[Sequence[Item]]:
        await place.breaks(True)
        yield [Item(b"{}")] * 600

    await place.make_breakable()
    with pytest.raises(Unavailable):
        await desk.accept(items())
    await place.breaks(False)
    await desk.batches._take_up(time.time() + 1)  # the next look finds what was not dropped yet
    await until(lambda: nothing_is_left(desk))


@PROPERTY
@given(
    st.lists(st.sampled_from([b"{}", b'{"n": 3}', b'{"n": -3}', b"nope"]), min_size=1, max_size=30),
    st.integers(1, 10),
    st.booleans(),
)
async def test_a_batch_is_always_accepted_as_a_whole_or_not_at_all(
    place: Place, inputs: list[bytes], at_once: int, breaks_off: bool
) -> None:
    async def items() -> AsyncIterator[Sequence[Item]]:
        async for some in brought([Item(data) for data in inputs], at_once):
            yield some
        if breaks_off:
            raise BadRequest("cut short")

    good = not breaks_off and not {b'{"n": -3}', b"nope"} & set(inputs)
    async with place.emptied() as ledger, desk_of(ledger) as desk:
        try:
            batch = await desk.accept(items())
        except (InvalidInput, BadRequest):
            assert not good
            await until(lambda: nothing_is_left(desk))
        else:
            assert good
            sent = [row.message.payload.parameters for row in await desk.items(batch)]
            assert sent == inputs


# ── idempotency ───────────────────────────────────────────────────────────────────────────────


async def test_the_same_key_and_items_are_the_same_batch(desk: Desk) -> None:
    first = await desk.send([{"n": 1}, {"n": 2}], key="k")
    again = await desk.send([{"n": 1}, {"n": 2}], key="k")
    assert again == replace(first, idempotency_key="k", fingerprint="same")
    assert len(await all_batches(desk.ledger)) == 1
    assert (await desk.ledger.audit()).accepted == 2


async def test_the_same_key_with_other_items_is_a_conflict(desk: Desk) -> None:
    first = await desk.send([{"n": 1}], key="k")
    with pytest.raises(Conflict, match=first.id):
        await desk.send([{"n": 2}], key="k", fingerprint="other")
    await desk.send([{"n": 2}], key="another", fingerprint="other")


async def test_of_two_who_come_at_once_with_one_key_one_batch_is_accepted(desk: Desk) -> None:
    both = [desk.send([{"n": n} for n in range(30)], key="k") for _ in range(2)]
    first, second = await asyncio.gather(*both)
    assert first.id == second.id
    await until(lambda: _are(desk, 30))


async def test_of_two_different_ones_with_one_key_one_is_a_conflict(desk: Desk) -> None:
    both = [desk.send([{"n": n}], key="k", fingerprint=str(n)) for n in range(2)]
    ends = await asyncio.gather(*both, return_exceptions=True)
    assert {type(end) for end in ends} == {Batch, Conflict}
    await until(lambda: _are(desk, 1))


async def _are(desk: Desk, count: int) -> bool:
    audit = await desk.ledger.audit()
    assert audit.holds, audit.problems
    return audit.accepted == count and len(await all_batches(desk.ledger)) == 1


async def test_a_batch_that_was_refused_leaves_its_key(desk: Desk) -> None:
    with pytest.raises(InvalidInput):
        await desk.send([{"n": -1}], key="k", fingerprint="wrong")
    assert (await desk.send([{"n": 1}], key="k", fingerprint="right")).total == 1


# ── cancelling ────────────────────────────────────────────────────────────────────────────────


async def test_a_cancelled_batch_is_never_fed_and_every_item_is_cancelled(desk: Desk) -> None:
    batch = await desk.send([{"n": n} for n in range(700)])
    cancelled = await desk.batches.cancel(batch)
    assert cancelled.state is BatchState.CANCELLED
    assert not await desk.ledger.batch_rows.waiting()
    await until(lambda: _all(desk, batch, Status.CANCELLED))
    assert (await desk.ledger.audit()).holds
    assert (await desk.batches.cancel(cancelled)).state is BatchState.CANCELLED


async def _all(desk: Desk, batch: Batch, status: Status) -> bool:
    (progress,) = await desk.ledger.batch_rows.progress([batch])
    return progress.by_status[status] == batch.total


async def test_what_waits_in_a_queue_is_taken_out_of_it_and_what_runs_is_stopped(
    desk: Desk,
) -> None:
    batch = await desk.send([{"n": n} for n in range(10)])
    rows = await desk.ledger.batch_rows.unpublished(batch.id, 6)
    assert await desk.invocations.feed(rows) == [row.id for row in rows]
    stopped: list[str] = []

    def stop(id: str) -> bool:
        stopped.append(id)
        return True

    desk.invocations.stop_running = stop
    running = await desk.broker.consume(QUEUE, 2, lambda delivery: None)
    await asyncio.sleep(0)
    assert desk.broker.depth_now(QUEUE).ready == 4
    await desk.batches.cancel(batch)
    assert desk.broker.depth_now(QUEUE).ready == 0
    assert stopped == [row.id for row in rows[:2]]
    assert await _all(desk, batch, Status.CANCELLED)
    await running.close()


async def test_what_the_feeder_had_in_hand_when_a_batch_was_cancelled_is_not_queued(
    desk: Desk,
) -> None:
    batch = await desk.send([{"n": n} for n in range(10)])
    in_hand = await desk.ledger.batch_rows.unpublished(batch.id, 10)
    await desk.batches.cancel(batch)
    assert await desk.invocations.feed(in_hand) == []
    assert desk.broker.depth_now(QUEUE).ready == 0


async def test_items_that_ended_before_stay_as_they_are(desk: Desk) -> None:
    batch = await desk.send([{"n": n} for n in range(4)])
    await desk.end((await desk.items(batch))[:3])
    await desk.batches.cancel(batch)
    (progress,) = await desk.ledger.batch_rows.progress([batch])
    assert progress.by_status[Status.SUCCEEDED] == 3
    assert progress.by_status[Status.CANCELLED] == 1


async def test_a_batch_that_is_over_cannot_be_cancelled(desk: Desk) -> None:
    batch = await desk.send([{"n": 1}])
    await desk.end(await desk.items(batch))
    with pytest.raises(Conflict, match="over"):
        await desk.batches.cancel(batch)
    assert not desk.invocations.revoked


async def test_a_batch_can_be_cancelled_while_it_comes_in(desk: Desk) -> None:
    gate = asyncio.Event()

    async def items() -> AsyncIterator[Sequence[Item]]:
        yield [Item(b"{}")] * 3
        await gate.wait()
        yield [Item(b"{}")] * 3

    accepting = asyncio.create_task(desk.accept(items()))
    (batch,) = await until(lambda: all_batches(desk.ledger))
    await until(lambda: desk.items(batch))
    await desk.batches.cancel(batch)
    gate.set()
    with pytest.raises(Conflict, match="cancelled while it came in"):
        await accepting
    await until(lambda: _all(desk, replace(batch, total=6), Status.CANCELLED))
    assert not await desk.ledger.batch_rows.unstopped()


class Elsewhere:
    """Invocations whose workers are elsewhere: what was cancelled is told to them, one by one."""

    sole = False
    draining = False

    def __init__(self, desk: Desk) -> None:
        self.live: dict[str, Invocation] = {}
        self.revoked: set[str] = set()
        self.recorder = desk.invocations.recorder
        self.told: list[str] = []

    async def cancel(self, invocation: Invocation) -> bool:
        self.told.append(invocation.id)
        invocation.status = Status.CANCELLED
        self.recorder.note(invocation)
        await self.recorder.flush()
        return True


async def test_workers_elsewhere_are_told_of_all_that_may_have_reached_them(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ON_THEIR_WAY", 3)
    batch = await desk.send([{"n": n} for n in range(20)])
    rows = await desk.items(batch)
    await desk.ledger.write([], published=[row.id for row in rows[:5]])
    elsewhere = Elsewhere(desk)
    away = Batches(desk.ledger, elsewhere)  # type: ignore[arg-type]
    await away.cancel(batch)
    await until(lambda: _all(desk, batch, Status.CANCELLED))
    assert elsewhere.told == [row.id for row in rows[:8]]
    await away.close()


# ── what an earlier process left behind ───────────────────────────────────────────────────────


async def left_behind(ledger: Ledger, state: BatchState, count: int, created_at: float) -> Batch:
    """A batch of a process that died, with so many items."""
    batch = Batch(new_id(), "square", "auto", created_at, state)
    await ledger.add_batch(batch)
    messages = [
        Message(new_id(), "square", "cpu", Payload(), created_at=created_at) for _ in range(count)
    ]
    await ledger.write(
        [
            Invocation(m, "auto", "v", published=False, batch=batch.id, batch_index=index)
            for index, m in enumerate(messages)
        ]
    )
    return batch


async def test_what_was_never_accepted_is_dropped_at_the_next_start(desk: Desk) -> None:
    await left_behind(desk.ledger, BatchState.ACCEPTING, 1100, time.time())
    await left_behind(desk.ledger, BatchState.ACCEPTING, 0, time.time())
    await left_behind(desk.ledger, BatchState.DROPPED, 3, time.time())
    await desk.batches.start(alone=True)
    await until(lambda: nothing_is_left(desk))


async def test_what_was_half_cancelled_is_cancelled_at_the_next_start(desk: Desk) -> None:
    batch = await left_behind(desk.ledger, BatchState.CANCELLED, 1100, time.time())
    batch = replace(batch, total=1100)
    await desk.batches.start(alone=True)
    assert await _all(desk, batch, Status.CANCELLED)


async def test_where_others_accept_too_only_what_is_silent_for_long_is_dropped(
    desk: Desk,
) -> None:
    now = time.time()
    silent = await left_behind(desk.ledger, BatchState.ACCEPTING, 3, now - module.ABANDONED - 1)
    young = await left_behind(desk.ledger, BatchState.ACCEPTING, 0, now)
    fed = await left_behind(desk.ledger, BatchState.ACCEPTING, 3, now - module.ABANDONED - 1)
    late = Message(new_id(), "square", "cpu", Payload(), created_at=now)
    await desk.ledger.write([Invocation(late, "auto", "v", batch=fed.id, batch_index=3)])
    await desk.batches._take_up(now - module.ABANDONED)
    await until(lambda: _gone(desk, silent))
    assert {b.id for b in await all_batches(desk.ledger)} == {young.id, fed.id}


async def _gone(desk: Desk, batch: Batch) -> bool:
    return await desk.ledger.batch(batch.id) is None


async def test_items_that_come_for_a_batch_that_was_given_up_never_run_and_vanish(
    desk: Desk,
) -> None:
    """Its gateway was asleep for so long that others took the batch away; then it woke up."""
    gate = asyncio.Event()

    async def items() -> AsyncIterator[Sequence[Item]]:
        yield [Item(b"{}")] * 3
        await gate.wait()
        yield [Item(b"{}")] * 3

    accepting = asyncio.create_task(desk.accept(items()))
    (batch,) = await until(lambda: all_batches(desk.ledger))
    await until(lambda: desk.items(batch))
    while await desk.ledger.drop_batch(batch.id, 100):
        continue
    assert await _gone(desk, batch)
    gate.set()
    with pytest.raises(Conflict, match="too slowly"):
        await accepting
    await until(lambda: nothing_is_left(desk))


async def test_rows_without_a_batch_are_found_and_taken_away(desk: Desk) -> None:
    message = Message(new_id(), "square", "cpu", Payload(), created_at=time.time())
    await desk.ledger.write([Invocation(message, "auto", "v", published=False, batch="gone")])
    assert await desk.ledger.batch_rows.unaccepted(0.0) == ["gone"]
    await desk.batches.start(alone=True)
    await until(lambda: nothing_is_left(desk))


async def test_a_batch_that_is_unknown_or_being_dropped_is_not_found(desk: Desk) -> None:
    with pytest.raises(NotFound):
        await desk.batches.get("0" * 32)
    dropped = await left_behind(desk.ledger, BatchState.DROPPED, 3, time.time())
    with pytest.raises(NotFound):
        await desk.batches.get(dropped.id)
    assert not await all_batches(desk.ledger)
