"""What is not over and what cannot be, in every database that a ledger may lie in."""

from typing import Any

import pytest

from runtime.census import Unfinished
from runtime.ledger import Batch, BatchState, Ledger
from runtime.model import Device, Failure, Invocation, Message, Payload, Status, new_id
from tests.places import Place


def make(
    status: Status = Status.QUEUED,
    function: str = "noop",
    device: Device = "cpu",
    created_at: float = 1.0,
    **fields: Any,
) -> Invocation:
    """An invocation that is as it should be."""
    message = Message(new_id(), function, device, Payload(), created_at)
    invocation = Invocation(message, "auto", "v1", status, **fields)
    if invocation.terminal:
        invocation.started_at, invocation.finished_at = created_at, created_at + 1
    elif status is Status.RUNNING:
        invocation.started_at = created_at
    if status in (Status.FAILED, Status.TIMED_OUT, Status.DEAD):
        invocation.error = Failure("ValueError", "no such luck")
    return invocation


async def test_what_is_not_over_is_counted_by_function_and_device(ledger: Ledger) -> None:
    await ledger.write(
        [
            *(make() for _ in range(3)),
            make(published=False),
            make(Status.RUNNING),
            make(Status.RUNNING, device="gpu"),
            make(function="other"),
            *(make(status) for status in Status),
        ]
    )
    assert await ledger.census.unfinished() == {
        ("noop", "cpu"): Unfinished(queued=4, running=2, unpublished=1),
        ("noop", "gpu"): Unfinished(running=1),
        ("other", "cpu"): Unfinished(queued=1),
    }


async def test_what_should_be_somewhere_is_published_not_over_and_old_enough(
    ledger: Ledger,
) -> None:
    old, running = make(created_at=1.0), make(Status.RUNNING, created_at=2.0)
    others = [
        make(created_at=9.0),
        make(published=False),
        make(Status.SUCCEEDED),
        make(function="other"),
    ]
    await ledger.write([old, running, *others])
    found = await ledger.census.pending(["noop", "none"], 5.0, 10)
    assert list(found) == [old.id, running.id]
    assert (found[running.id].status, found[running.id].attempt) == ("running", 1)
    assert list(await ledger.census.pending(["noop"], 5.0, 1)) == [old.id]
    assert await ledger.census.pending([], 5.0, 10) == {}
    assert list(await ledger.census.pending_among([old.id, others[2].id])) == [old.id]


async def test_what_is_to_be_published_again_is_queued_and_has_lost_an_attempt_if_it_ran(
    ledger: Ledger,
) -> None:
    queued, running, over = make(), make(Status.RUNNING), make(Status.SUCCEEDED)
    held_back = make(published=False)
    await ledger.write([queued, running, over, held_back])
    given = [each.id for each in (queued, running, over, held_back)]
    assert sorted(await ledger.census.unpublish(given)) == sorted([queued.id, running.id])
    waiting = {each.id: each for each in await ledger.unpublished(5.0, 10)}
    assert waiting.keys() == {queued.id, running.id, held_back.id}
    assert waiting[queued.id].message.attempt == 1
    assert waiting[running.id].message.attempt == 2
    assert waiting[running.id].started_at is None
    assert (await ledger.audit()).holds
    assert await ledger.census.odd(10) == []
    assert await ledger.census.unpublish([]) == []


async def test_rows_as_they_should_be_are_not_odd(ledger: Ledger) -> None:
    await ledger.write([make(status) for status in Status])
    assert await ledger.census.odd(10) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("status = 'lost'", "'lost'"),
        ("device = 'tpu'", "'tpu'"),
        ("attempt = 0", "attempt is 0"),
        ("status = 'succeeded', finished_at = NULL", "when it ended"),
        ("status = 'queued'", "has ended"),
        ("status = 'running', finished_at = NULL, started_at = NULL", "since when"),
        ("status = 'dead', error = NULL", "no error"),
    ],
)
async def test_a_row_that_cannot_be_is_named_with_what_is_wrong(
    change: str, told: str, ledger: Ledger, place: Place
) -> None:
    right, wrong = make(Status.FAILED), make(Status.FAILED)
    await ledger.write([right, wrong])
    await place.do(f"UPDATE invocations SET {change} WHERE id = '{wrong.id}'")
    (odd,) = await ledger.census.odd(10)
    assert odd.id == wrong.id
    assert told in odd.what


async def test_no_more_odd_rows_are_named_than_were_asked_for(ledger: Ledger, place: Place) -> None:
    await ledger.write([make() for _ in range(5)])
    await place.do("UPDATE invocations SET attempt = 0")
    assert len(await ledger.census.odd(3)) == 3


async def batch(ledger: Ledger, items: int, total: int) -> str:
    """An accepted batch of so many items, which are said to be `total`."""
    id = new_id()
    await ledger.add_batch(Batch(id, "noop", "auto", 1.0))
    await ledger.write([make(batch=id, batch_index=k) for k in range(items)])
    assert await ledger.set_batch_state(id, BatchState.ACCEPTED, total)
    return id


async def test_a_batch_that_does_not_add_up_is_named(ledger: Ledger) -> None:
    await batch(ledger, 3, 3)
    fewer, more, none = [await batch(ledger, *each) for each in ((2, 3), (4, 3), (0, 1))]
    found = {odd.id: odd.what for odd in await ledger.census.odd(10)}
    assert found.keys() == {fewer, more, none}
    assert "3 items, and 2 are held" in found[fewer]
    assert "3 items, and 4 are held" in found[more]


async def test_a_batch_whose_place_is_taken_by_a_stranger_is_named(
    ledger: Ledger, place: Place
) -> None:
    id = await batch(ledger, 3, 3)
    await place.do("UPDATE invocations SET batch_index = 7 WHERE batch_index = 2")
    (odd,) = await ledger.census.odd(10)
    assert (odd.id, odd.what) == (id, "this batch has an item 7, and 3 in all")


async def test_a_batch_some_of_whose_items_were_purged_is_not_odd(ledger: Ledger) -> None:
    id = await batch(ledger, 3, 3)
    over = make(Status.SUCCEEDED)
    await ledger.write([over])
    finished, _ = await ledger.find(batch=id, limit=1)
    finished[0].status, finished[0].finished_at = Status.CANCELLED, 2.0
    await ledger.write(finished)
    await ledger.retention.purge(None, 1, 10)
    assert await ledger.census.odd(10) == []
