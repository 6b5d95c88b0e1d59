"""What a ledger forgets, in each database that it may lie in."""

import asyncio
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.ledger import Attempt, Batch, BatchState, CallbackRecord, Ledger, ScalingDecision
from runtime.model import (
    JSON,
    TERMINAL,
    Invocation,
    Message,
    Part,
    Payload,
    Status,
    new_id,
)
from runtime.rollup import WIDTHS, Bucket, Cell
from tests.places import Place


def ended(at: float | None, status: Status = Status.SUCCEEDED, **fields: Any) -> Invocation:
    """An invocation that ended at an instant."""
    payload = fields.pop("payload", Payload())
    message = Message(new_id(), "noop", "cpu", payload, created_at=fields.pop("created_at", 0.5))
    return Invocation(message, "auto", "v1", status, finished_at=at, **fields)


async def ids(ledger: Ledger) -> set[str]:
    return {i.id for i in (await ledger.find(limit=10_000))[0]}


async def purged(
    ledger: Ledger, older_than: float | None, keep: int | None, limit: int
) -> list[str]:
    return [each.id for each in await ledger.retention.purge(older_than, keep, limit)]


# --- by age and count -------------------------------------------------------------------------


async def test_what_ended_before_an_instant_goes_and_the_oldest_first(ledger: Ledger) -> None:
    rows = [ended(float(n)) for n in (3, 1, 4, 2)]
    await ledger.write(rows)
    assert set(await purged(ledger, 3.0, None, 10)) == {rows[1].id, rows[3].id}
    assert await ids(ledger) == {rows[0].id, rows[2].id}
    assert await purged(ledger, 99.0, None, 1) == [rows[0].id]


async def test_what_is_more_than_is_kept_goes(ledger: Ledger) -> None:
    rows = [ended(float(n)) for n in range(6)]
    await ledger.write([*rows, ended(None, Status.QUEUED)])
    assert await purged(ledger, None, 6, 10) == []
    assert set(await purged(ledger, None, 4, 10)) == {rows[0].id, rows[1].id}
    assert await purged(ledger, None, 0, 1) == [rows[2].id]
    assert await purged(ledger, None, None, 10) == []


async def test_what_has_not_ended_stays_however_old_it_is(ledger: Ledger) -> None:
    rows = [ended(None, status) for status in (Status.QUEUED, Status.RUNNING)]
    await ledger.write(rows)
    assert await purged(ledger, 99.0, 0, 10) == []
    assert await ids(ledger) == {row.id for row in rows}


async def test_what_does_not_say_when_it_ended_is_as_old_as_its_acceptance(ledger: Ledger) -> None:
    row = ended(None, Status.FAILED, created_at=5.0)
    await ledger.write([row])
    assert await purged(ledger, 5.0, None, 10) == []
    assert await purged(ledger, 5.1, None, 10) == [row.id]


async def test_what_has_a_callback_stays_until_that_is_over(ledger: Ledger) -> None:
    row = ended(1.0, callback="https://example.org")
    await ledger.write([row, ended(2.0)])
    assert len(await purged(ledger, 99.0, 0, 10)) == 1
    assert await purged(ledger, 99.0, 0, 10) == []
    assert await ledger.retention.purge_among([row.id]) == []
    await ledger.record_callback(CallbackRecord(row.id, "u", 3.0, finished=True))
    assert await purged(ledger, 99.0, None, 10) == [row.id]
    assert await ledger.callback(row.id) is None


async def test_what_belongs_to_an_invocation_goes_with_it(ledger: Ledger, place: Place) -> None:
    gone, kept = ended(1.0, Status.DEAD), ended(9.0, Status.DEAD)
    attempts = [Attempt(row.id, 1, None, "cpu", None, None, None) for row in (gone, kept)]
    await ledger.write([gone, kept], attempts)
    await ledger.letters.settle({gone.id: None, kept.id: None})
    await purged(ledger, 5.0, None, 10)
    assert await ledger.attempts(gone.id) == []
    assert await ledger.attempts(kept.id) == [attempts[1]]
    assert place.ask("SELECT invocation FROM settled_letters") == [(kept.id,)]


async def test_an_idempotency_key_is_free_again_once_its_invocation_is_purged(
    ledger: Ledger,
) -> None:
    await ledger.write([ended(1.0, idempotency_key="k")])
    await purged(ledger, 5.0, None, 10)
    second = ended(6.0, idempotency_key="k")
    assert (await ledger.write([second])).refused == ()


async def test_a_batch_goes_with_the_last_of_its_invocations(ledger: Ledger) -> None:
    for id in ("a", "b", "coming"):
        await ledger.add_batch(Batch(id, "noop", "auto", 1.0))
    for id in ("a", "b"):
        await ledger.set_batch_state(id, BatchState.ACCEPTED, 2)
    await ledger.write([ended(1.0, batch="a", batch_index=0), ended(2.0, batch="a", batch_index=1)])
    await ledger.write([ended(1.0, batch="b", batch_index=0), ended(9.0, batch="b", batch_index=1)])
    await purged(ledger, 1.5, None, 10)
    assert await ledger.batch("a") is not None
    await purged(ledger, 5.0, None, 10)
    assert await ledger.batch("a") is None
    assert await ledger.batch("b") is not None
    assert await ledger.batch("coming") is not None


@pytest.mark.parametrize(
    ("fields", "has_blobs"),
    [
        ({}, False),
        ({"payload": Payload(parameters=b'{"key":"not one"}')}, False),
        ({"payload": Payload(parameters=None, key="id/.input")}, True),
        ({"payload": Payload(parts=(Part("image", "image/png", 3, key="id/image"),))}, True),
        ({"result": Part("result", JSON, 2, b"42")}, False),
        ({"result": Part("result", "image/png", 3, key="id/result")}, True),
        ({"blobs": (Part("weights", "x/y", 3, key="id/weights"),)}, True),
    ],
)
async def test_whoever_purges_is_told_what_may_have_blobs(
    ledger: Ledger, fields: dict[str, Any], has_blobs: bool
) -> None:
    row = ended(1.0, **fields)
    await ledger.write([row])
    (gone,) = await ledger.retention.purge(5.0, None, 10)
    assert (gone.id, gone.has_blobs) == (row.id, has_blobs)


# --- some that are named ----------------------------------------------------------------------


async def test_those_of_several_that_have_ended_are_purged(ledger: Ledger) -> None:
    done, going_on, other = ended(1.0), ended(None, Status.RUNNING), ended(1.0)
    await ledger.write([done, going_on, other])
    gone = await ledger.retention.purge_among([done.id, going_on.id, "nobody"])
    assert [each.id for each in gone] == [done.id]
    assert await ids(ledger) == {going_on.id, other.id}
    assert (await ledger.audit()).problems == ()


async def test_the_ledger_says_when_those_it_has_ended(ledger: Ledger) -> None:
    done, going_on = ended(7.0), ended(None, Status.RUNNING)
    await ledger.write([done, going_on])
    assert await ledger.retention.ends_among([done.id, going_on.id, "nobody"]) == {
        done.id: 7.0,
        going_on.id: None,
    }


# --- decisions and empty batches --------------------------------------------------------------


async def test_decisions_go_by_age_and_by_count(ledger: Ledger) -> None:
    for n in range(8):
        await ledger.record_decision(ScalingDecision(float(n), "noop", "cpu", n, n + 1, "", 0))

    async def left() -> list[float]:
        return [decision.at for decision in await ledger.decisions(None, 100)][::-1]

    assert await ledger.retention.trim(None, None, 10) == 0
    assert await ledger.retention.trim(3.0, None, 2) == 2
    assert await ledger.retention.trim(3.0, None, 2) == 1
    assert await left() == [3, 4, 5, 6, 7]
    assert await ledger.retention.trim(None, 5, 10) == 0
    assert await ledger.retention.trim(None, 2, 10) == 3
    assert await left() == [6, 7]
    assert await ledger.retention.trim(None, 0, 10) == 2
    assert await left() == []


async def test_a_batch_of_which_nothing_is_left_goes_when_it_is_old(ledger: Ledger) -> None:
    for id, at in (("old", 1.0), ("new", 9.0), ("coming", 1.0), ("full", 1.0)):
        await ledger.add_batch(Batch(id, "noop", "auto", at))
    for id in ("old", "new", "full"):
        await ledger.set_batch_state(id, BatchState.CANCELLED)
    await ledger.write([ended(None, Status.QUEUED, batch="full", batch_index=0)])
    assert await ledger.retention.trim(5.0, None, 10) == 1
    assert {batch.id for batch in (await ledger.batches())[0]} == {"new", "coming", "full"}


# --- rollups and replicas of the past ---------------------------------------------------------


async def test_rollups_of_each_width_go_by_their_age_and_the_oldest_first(ledger: Ledger) -> None:
    cell = Cell({"succeeded": 1})
    await ledger.pages.write(
        {Bucket(width, n * width, "noop", "cpu"): cell for width in WIDTHS for n in range(4)}
    )

    async def left(width: int) -> list[int]:
        found = await ledger.pages.read(width, 0, 2**60)
        return sorted(bucket.at // width for bucket, _, _ in found)

    assert await ledger.retention.fade({}, None, 10) == 0
    assert await ledger.retention.fade({5: 10.0, 60: 170.0}, None, 2) == 2
    assert [await left(width) for width in WIDTHS] == [[2, 3], [2, 3], [0, 1, 2, 3]]
    assert await ledger.retention.fade({5: 10.0, 60: 170.0}, None, 2) == 1
    assert [await left(width) for width in WIDTHS] == [[2, 3], [3], [0, 1, 2, 3]]


async def test_replicas_go_when_they_ended_or_were_last_heard_of_long_ago(
    ledger: Ledger, place: Place
) -> None:
    rows = (("ended", 5.0, 9.0), ("silent", None, 6.0), ("late", 8.0, 8.0), ("alive", None, 9.0))
    for name, ended_at, seen_at in rows:
        at = "NULL" if ended_at is None else ended_at
        await place.do(
            f"INSERT INTO replicas VALUES ('{name}', 1.0, 'noop', 'cpu', '{{}}', {at}, {seen_at})"
        )

    def left() -> set[str]:
        return {name for (name,) in place.ask("SELECT name FROM replicas")}

    assert await ledger.retention.fade({}, 7.0, 1) == 1
    assert left() == {"silent", "late", "alive"}
    assert await ledger.retention.fade({}, 7.0, 10) == 1
    assert left() == {"late", "alive"}


# --- always -----------------------------------------------------------------------------------


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.tuples(st.sampled_from(list(Status)), st.integers(0, 9)), max_size=20),
    st.none() | st.integers(0, 10),
    st.none() | st.integers(0, 10),
    st.integers(1, 7),
)
async def test_purging_in_pieces_always_ends_with_what_is_to_be_kept_and_the_audit_holds(
    place: Place,
    rows: list[tuple[Status, int]],
    older_than: int | None,
    keep: int | None,
    limit: int,
) -> None:
    async with place.emptied() as ledger:
        written = [ended(float(at), status) for status, at in rows]
        await ledger.write(written)
        over = sorted(
            (row for row in written if row.status in TERMINAL),
            key=lambda row: (row.finished_at, row.id),
        )
        excess = 0 if keep is None else max(0, len(over) - keep)
        expected = [
            row.id
            for place, row in enumerate(over)
            if place < excess or (older_than is not None and (row.finished_at or 0) < older_than)
        ]
        gone: list[str] = []
        while some := await purged(ledger, older_than, keep, limit):
            assert len(some) <= limit
            gone += some
        assert sorted(gone) == sorted(expected)
        assert await ids(ledger) == {row.id for row in written} - set(expected)
        audit = await ledger.audit()
        assert audit.problems == ()
        assert audit.accepted == len(written)
        assert await ledger.counts() == audit.by_status


async def test_purging_while_others_write_and_purge_deletes_each_once(ledger_url: str) -> None:
    ledgers = await asyncio.gather(*(Ledger.open(ledger_url) for _ in range(3)))
    rows = [ended(float(n)) for n in range(300)]
    await ledgers[0].write(rows)

    async def purge(ledger: Ledger) -> list[str]:
        gone: list[str] = []
        while len(await ids(ledger)) > 10:
            gone += await purged(ledger, 290.0, None, 20)
        return gone

    async def write(ledger: Ledger) -> None:
        chance = random.Random(1)
        for _ in range(30):  # outcomes told again, of rows that may be gone
            some = chance.sample(rows[290:], 5)
            await ledger.write(some, known={row.id for row in some})

    *gone, _ = await asyncio.gather(purge(ledgers[0]), purge(ledgers[1]), write(ledgers[2]))
    assert sorted(gone[0] + gone[1]) == sorted(row.id for row in rows[:290])
    assert (await ledgers[0].audit()).problems == ()
    for ledger in ledgers:
        await ledger.close()
