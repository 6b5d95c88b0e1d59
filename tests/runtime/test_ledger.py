"""The ledger, in each database that it may lie in."""

import asyncio
import os
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.errors import BadRequest, ConfigurationError, Unavailable
from runtime.ledger import Attempt, Batch, BatchState, CallbackRecord, Ledger, ScalingDecision
from runtime.model import (
    DEVICES,
    JSON,
    TERMINAL,
    Failure,
    Invocation,
    Message,
    Part,
    Payload,
    Status,
    new_id,
)
from tests.places import Place

ROOT = Path(__file__).parents[2]
PROPERTY = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
UNFINISHED = sorted(set(Status) - TERMINAL)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
plain = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
seconds = st.floats(0, 4e9)
json_text = st.sampled_from(
    [b"{}", b'{ "a" : 1.0,  "a":2 }', b'"\\u0000 \\ud800"', '[1e999, "é"]'.encode(), b"null"]
)
parts = st.builds(
    Part, name=plain, media_type=plain, size=st.integers(0, 2**40), key=st.none() | plain
)
failures = st.builds(
    Failure,
    type=text,
    message=text,
    traceback=st.none() | text,
    details=st.dictionaries(text, st.none() | text | st.integers(-(2**53), 2**53), max_size=3),
)


@st.composite
def results(draw: st.DrawFn) -> Part:
    if draw(st.booleans()):
        return draw(parts)
    data = draw(json_text)
    return Part("result", JSON, len(data), data, draw(st.none() | plain))


invocations = st.builds(
    Invocation,
    message=st.builds(
        Message,
        id=st.builds(new_id),
        function=plain,
        device=st.sampled_from(DEVICES),
        payload=st.builds(
            Payload,
            parameters=st.none() | json_text,
            parts=st.lists(parts, max_size=2).map(tuple),
            key=st.none() | plain,
        ),
        created_at=seconds,
        attempt=st.integers(1, 10),
        priority=st.integers(-10, 10),
        traceparent=st.none() | plain,
    ),
    requested_device=st.sampled_from(("auto", *DEVICES)),
    version=plain,
    status=st.sampled_from(list(Status)),
    started_at=st.none() | seconds,
    finished_at=st.none() | seconds,
    timings=st.none() | st.dictionaries(text, st.floats(0, 1e6), max_size=3),
    cold=st.booleans(),
    replica=st.none() | plain,
    error=st.none() | failures,
    result=st.none() | results(),
    blobs=st.lists(parts, max_size=2).map(tuple),
    log=st.none() | plain,
    idempotency_key=st.none(),
    fingerprint=st.none() | plain,
    replayed_from=st.none() | plain,
    published=st.booleans(),
    callback=st.none() | plain,
    batch=st.none() | plain,
    batch_index=st.none() | st.integers(0, 10**6),
)


def make(status: Status = Status.QUEUED, function: str = "noop", **fields: Any) -> Invocation:
    """An invocation of nothing in particular."""
    named = {k: fields.pop(k) for k in ("id", "device", "created_at", "payload") if k in fields}
    given: dict[str, Any] = {
        "id": new_id(),
        "device": "cpu",
        "payload": Payload(),
        "created_at": 1.0,
    }
    message = Message(function=function, **(given | named))
    return Invocation(message, requested_device="auto", version="v1", status=status, **fields)


async def all_unfinished(ledger: Ledger, chunk: int = 500) -> list[Invocation]:
    return [i async for batch in ledger.unfinished(chunk) for i in batch]


# --- rows -------------------------------------------------------------------------------------


@PROPERTY
@given(st.lists(invocations, max_size=4))
async def test_what_is_read_is_always_what_was_written(
    place: Place, batch: list[Invocation]
) -> None:
    async with place.emptied() as ledger:
        await ledger.write(batch)
        for invocation in batch:
            assert await ledger.get(invocation.id) == invocation


@PROPERTY
@given(invocations, invocations)
async def test_an_update_writes_everything_that_changes(
    place: Place, a: Invocation, b: Invocation
) -> None:
    a.message.attempt = 1
    queued = replace(a, status=Status.QUEUED, published=False)
    changed = replace(
        b,
        message=replace(a.message, device=b.message.device, attempt=b.message.attempt),
        requested_device=a.requested_device,
        version=a.version,
        fingerprint=a.fingerprint,
        replayed_from=a.replayed_from,
        callback=a.callback,
        batch=a.batch,
        batch_index=a.batch_index,
    )
    async with place.emptied() as ledger:
        await ledger.write([queued])
        await ledger.write([changed], known={a.id})
        assert await ledger.get(a.id) == changed


async def test_what_json_cannot_hold_is_replaced_and_keeps_no_other_row_out(
    ledger: Ledger,
) -> None:
    deep: list[Any] = []
    for _ in range(300):
        deep = [deep]
    details = {"number": 2**70, "deep": deep, "object": object(), "\ud800": "\udfff"}
    odd = make(
        Status.FAILED,
        error=Failure("OSError", "no file caf\udce9", details=details),
        log="a\0b",
    )
    other = make(Status.SUCCEEDED)
    await ledger.write([odd, other])
    stored = await ledger.get(odd.id)
    assert stored is not None and stored.error is not None
    assert stored.error.message == "no file caf?"
    assert stored.error.details["number"] == str(2**70)
    assert stored.log == "a\N{REPLACEMENT CHARACTER}b"
    assert await ledger.get(other.id) == other


async def test_a_list_leaves_out_logs_and_the_data_of_results(ledger: Ledger) -> None:
    full = make(Status.SUCCEEDED, result=Part("result", JSON, 2, b"42"), log="said so")
    await ledger.write([full])
    (listed,), _ = await ledger.find()
    assert listed == replace(full, result=Part("result", JSON, 2), log=None)


async def test_an_unknown_id_is_none(ledger: Ledger) -> None:
    assert await ledger.get("nobody") is None
    assert await ledger.by_idempotency_key("nobody") is None


# --- statuses ---------------------------------------------------------------------------------


reports = st.tuples(st.sampled_from(list(Status)), st.integers(1, 3))  # status and attempt


def told(id: str, status: Status, attempt: int, **fields: Any) -> Invocation:
    """What a worker reports of an invocation."""
    invocation = make(status, id=id, **fields)
    invocation.message.attempt = attempt
    return invocation


def stays(held: tuple[Status, int], came: tuple[Status, int]) -> bool:
    """Whether a row keeps what it says, whatever comes: the rule, said once more."""
    (status, attempt), (next_status, next_attempt) = held, came
    if status in TERMINAL:
        return True
    if next_status in TERMINAL:
        return False
    started = status == Status.RUNNING and next_status == Status.QUEUED
    return next_attempt < attempt or (next_attempt == attempt and started)


@PROPERTY
@given(st.lists(st.tuples(reports, st.booleans()), min_size=1), st.booleans())
async def test_a_row_always_says_the_newest_and_its_first_terminal_status_stays(
    place: Place, writes: list[tuple[tuple[Status, int], bool]], at_once: bool
) -> None:
    id = new_id()
    states = [told(id, *report, log=str(n)) for n, (report, _) in enumerate(writes)]
    held = states[0]
    ignored = 0
    async with place.emptied() as ledger:
        for n, (state, (report, known)) in enumerate(zip(states, writes, strict=True)):
            if n and stays((held.status, held.message.attempt), report):
                ignored += state.terminal
            else:
                held = state
            if not at_once:
                written = await ledger.write([state], known={id} if known and n else ())
                assert written.terminal == ((state,) if state.terminal else ())
                assert written.unfinished == (() if held.terminal else (id,))
        if at_once:
            written = await ledger.write(states)
            assert written.terminal == ((held,) if held.terminal else ())
            assert written.unfinished == (() if held.terminal else (id,))
            ignored = 0
        assert await ledger.get(id) == held
        audit = await ledger.audit()
        assert audit.holds
        assert audit.accepted == 1
        assert audit.ignored == ignored


batches = st.lists(  # of (which invocation, what is reported, its idempotency key)
    st.lists(st.tuples(st.integers(0, 5), reports, st.none() | st.sampled_from("ab")), max_size=6),
    max_size=8,
)


@PROPERTY
@given(batches, st.booleans())
async def test_the_audit_holds_after_any_sequence_of_writes(
    place: Place, writes: list[list[tuple[int, tuple[Status, int], str | None]]], remember: bool
) -> None:
    ids = [new_id() for _ in range(6)]
    model: dict[str, tuple[Status, int]] = {}
    keys: dict[str, str] = {}
    known: set[str] = set()
    async with place.emptied() as ledger:
        for batch in writes:
            written = await ledger.write(
                [told(ids[n], *report, idempotency_key=key) for n, report, key in batch],
                known=known,
            )
            newest: dict[str, tuple[tuple[Status, int], str | None]] = {}
            for n, report, key in batch:
                held, first_key = newest.get(ids[n], (report, key))
                newest[ids[n]] = (held if stays(held, report) else report, first_key)
            refused = set()
            for id, (report, key) in sorted(newest.items()):
                if id not in model:
                    if key in keys:
                        refused.add(id)
                        continue
                    keys |= {key: id} if key else {}
                if id not in model or not stays(model[id], report):
                    model[id] = report
            assert {invocation.id for invocation in written.refused} == refused
            if remember:
                known.update(written.unfinished)
            audit = await ledger.audit()
            assert audit.problems == ()
            assert audit.accepted == len(model)
            statuses = [status for status, _ in model.values()]
            assert audit.by_status == {s: statuses.count(s) for s in Status}
            assert await ledger.counts() == audit.by_status
        stored = [i.id for i in await all_unfinished(ledger, chunk=2)]
        assert stored == sorted(id for id, (s, _) in model.items() if s not in TERMINAL)
        for key, id in keys.items():
            owner = await ledger.by_idempotency_key(key)
            assert owner is not None and owner.id == id


async def test_a_taken_idempotency_key_refuses_one_row_and_not_its_batch(ledger: Ledger) -> None:
    first, second, other = make(idempotency_key="k"), make(idempotency_key="k"), make()
    await ledger.write([first])
    written = await ledger.write([second, other])
    assert written.refused == (second,)
    assert written.unfinished == (other.id,)
    assert await ledger.get(second.id) is None
    assert (await ledger.audit()).holds


async def test_the_states_written_are_those_at_the_call(ledger: Ledger) -> None:
    invocation = make()
    writing = asyncio.create_task(ledger.write([invocation]))
    while not writing.done():
        await asyncio.sleep(0)
        invocation.status = Status.SUCCEEDED
    assert writing.result().terminal == ()
    stored = await ledger.get(invocation.id)
    assert stored is not None and stored.status == Status.QUEUED
    assert (await ledger.audit()).holds


# --- the audit finds faults -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("DELETE FROM invocations WHERE status = 'queued'", "2 invocations were accepted, and 1"),
        ("DELETE FROM invocations WHERE status = 'succeeded'", "1 outcomes succeeded were written"),
        ("UPDATE invocations SET status = 'dead' WHERE status = 'queued'", "0 outcomes dead"),
        ("UPDATE invocations SET status = 'lost' WHERE status = 'queued'", "the status 'lost'"),
        ("UPDATE invocations SET status = 'queued'", "1 outcomes succeeded were written, and 0"),
        ("UPDATE totals SET count = 3 WHERE name = 'accepted'", "3 invocations were accepted"),
    ],
)
async def test_the_audit_finds_what_was_changed_by_hand(
    ledger: Ledger, place: Place, statement: str, problem: str
) -> None:
    await ledger.write([make(), make(Status.SUCCEEDED)])
    assert (await ledger.audit()).holds
    await place.do(statement)
    audit = await ledger.audit()
    assert not audit.holds
    assert problem in " ".join(audit.problems)


async def test_rows_purged_on_purpose_count_as_held(ledger: Ledger, place: Place) -> None:
    await ledger.write([make(), make(Status.SUCCEEDED)])
    await place.do(
        "DELETE FROM invocations WHERE status = 'succeeded'",
        "INSERT INTO totals VALUES ('purged.succeeded', 0, 1)",
    )
    assert (await ledger.audit()).holds


# --- lists ------------------------------------------------------------------------------------


@PROPERTY
@given(st.integers(0, 25), st.integers(1, 10), st.integers(0, 3))
async def test_paging_visits_every_row_once_in_order_while_rows_are_added(
    place: Place, count: int, limit: int, added: int
) -> None:
    before = [make() for _ in range(count)]
    async with place.emptied() as ledger:
        await ledger.write(before)
        seen: list[str] = []
        cursor = None
        while True:
            page, cursor = await ledger.find(cursor=cursor, limit=limit)
            seen += [invocation.id for invocation in page]
            assert page or not before
            assert len(seen) <= count
            await ledger.write([make() for _ in range(added)])
            if cursor is None:
                break
            assert len(page) == limit
        assert seen == [invocation.id for invocation in reversed(before)]


@PROPERTY
@given(st.integers(0, 12), st.integers(1, 5))
async def test_unfinished_gives_every_row_once_while_they_finish_and_others_come(
    place: Place, count: int, chunk: int
) -> None:
    rows = [make(UNFINISHED[n % 2]) for n in range(count)]
    async with place.emptied() as ledger:
        await ledger.write([*rows, *(make(status) for status in TERMINAL)])
        seen: list[Invocation] = []
        async for batch in ledger.unfinished(chunk):
            assert 1 <= len(batch) <= chunk
            seen += batch
            await ledger.write([make(), *(replace(i, status=Status.SUCCEEDED) for i in batch)])
        assert seen == rows
        assert not {i.id for i in rows} & {i.id for i in await all_unfinished(ledger)}


async def test_a_list_is_narrowed_by_function_status_device_and_time(ledger: Ledger) -> None:
    old = make(Status.FAILED, "matmul", device="gpu", created_at=10.0)
    new = make(Status.FAILED, "matmul", device="cpu", created_at=20.0)
    other = make(Status.QUEUED, "noop", device="gpu", created_at=30.0)
    await ledger.write([old, new, other])

    async def ids(**filters: Any) -> list[str]:
        page, cursor = await ledger.find(**filters)
        assert cursor is None
        return [invocation.id for invocation in page]

    assert await ids() == [other.id, new.id, old.id]
    assert await ids(function="matmul") == [new.id, old.id]
    assert await ids(status=Status.QUEUED) == [other.id]
    assert await ids(device="gpu") == [other.id, old.id]
    assert await ids(since=20.0) == [other.id, new.id]
    assert await ids(function="matmul", status=Status.FAILED, device="gpu", since=5.0) == [old.id]
    assert await ids(function="nothing") == []


@pytest.mark.parametrize("cursor", ["", "?", "MTph=", "AAAA", "MTo", "MjphYg", "ÿ", "1:abc"])
async def test_a_cursor_that_is_none_of_ours_is_a_bad_request(ledger: Ledger, cursor: str) -> None:
    with pytest.raises(BadRequest, match="none that a list gave"):
        await ledger.find(cursor=cursor)


async def test_samples_are_the_latest_timings_of_those_that_succeeded(ledger: Ledger) -> None:
    await ledger.write(
        [
            *(make(Status.SUCCEEDED, timings={"run": float(n)}) for n in range(5)),
            make(Status.SUCCEEDED, timings={"run": 9.0}, device="gpu"),
            make(Status.SUCCEEDED, "other", timings={"run": 9.0}),
            make(Status.FAILED, timings={"run": 9.0}),
            make(Status.SUCCEEDED),
        ]
    )
    assert await ledger.samples("noop", "cpu", 3) == [{"run": 4.0}, {"run": 3.0}, {"run": 2.0}]


async def test_attempts_and_decisions_are_kept_in_order(ledger: Ledger) -> None:
    invocation = make()
    crash = Failure("ReplicaDied", "signal 9", details={"signal": 9})
    attempts = [Attempt(invocation.id, n, "r1", "gpu", 1.0, 2.0, crash) for n in (2, 1)]
    await ledger.write([invocation], attempts)
    await ledger.write([], attempts)  # a batch that is written again changes nothing
    assert await ledger.attempts(invocation.id) == attempts[::-1]
    assert await ledger.attempts("another") == []

    decisions = [ScalingDecision(float(n), "noop", "cpu", n, n + 1, "backlog", 7) for n in range(3)]
    for decision in decisions:
        await ledger.record_decision(decision)
    other = ScalingDecision(9.0, "other", "cpu", 0, 1, "woken", 1)
    await ledger.record_decision(other)
    assert await ledger.decisions("noop", 2) == [decisions[2], decisions[1]]
    assert await ledger.decisions(None, 2) == [other, decisions[2]]


# --- what is published ------------------------------------------------------------------------


async def published(ledger: Ledger) -> set[str]:
    return {i.id for i in (await ledger.find(limit=1000))[0] if i.published}


async def test_what_was_published_is_marked_with_the_batch_it_comes_with(ledger: Ledger) -> None:
    first, second = make(published=False), make(published=False)
    await ledger.write([first, second], published=[first.id])
    assert await published(ledger) == {first.id}
    await ledger.write([], published=[second.id, "nobody"])
    assert await published(ledger) == {first.id, second.id}


async def test_what_was_published_stays_so_whatever_is_told_of_it_later(ledger: Ledger) -> None:
    row = make(published=False)
    await ledger.write([row])
    await ledger.write([told(row.id, Status.RUNNING, 1)])  # a worker has its message
    await ledger.write([told(row.id, Status.QUEUED, 2, published=False)])
    assert await published(ledger) == {row.id}


async def test_what_nobody_published_is_found_the_oldest_first(ledger: Ledger) -> None:
    old = [make(published=False, created_at=float(n)) for n in (3, 1, 2)]
    await ledger.write(
        [
            *old,
            make(published=False, created_at=10.0),
            make(created_at=1.0),
            told(new_id(), Status.RUNNING, 1, published=False),
            told(new_id(), Status.CANCELLED, 1, published=False),
        ]
    )
    found = await ledger.unpublished(10.0, 10)
    assert found == sorted(old, key=lambda i: i.message.created_at)
    assert await ledger.unpublished(10.0, 2) == found[:2]
    await ledger.write([], published=[i.id for i in old])
    assert await ledger.unpublished(10.0, 10) == []


async def test_a_batch_is_not_published_with_those_that_came_alone(ledger: Ledger) -> None:
    await ledger.write([make(published=False, batch="b", batch_index=0)])
    assert await ledger.unpublished(99.0, 10) == []


async def test_only_what_is_published_is_resumed(ledger: Ledger) -> None:
    held, sent = make(published=False), make()
    await ledger.write([held, sent])
    assert await all_unfinished(ledger) == [sent]


# --- asking about several ---------------------------------------------------------------------


async def test_those_among_several_that_are_terminal_come_whole(ledger: Ledger) -> None:
    done = make(Status.SUCCEEDED, result=Part("result", JSON, 2, b"42"), log="said")
    dead, going_on = make(Status.DEAD), make(Status.RUNNING)
    await ledger.write([done, dead, going_on, make(Status.FAILED)])
    asked = [done.id, dead.id, going_on.id, "nobody", "odd \0 \ud800"]
    found = {i.id: i for i in await ledger.terminal_among(asked)}
    assert found == {done.id: done, dead.id: dead}
    assert await ledger.terminal_among([]) == []
    assert len(await ledger.terminal_among([f"{n}" for n in range(50_000)])) == 0


async def test_what_goes_on_is_counted_by_function_and_device(ledger: Ledger) -> None:
    await ledger.write(
        [
            make(),
            make(),
            make(Status.RUNNING),
            make(published=False),
            make(device="gpu"),
            make(function="other"),
            make(Status.DEAD),
        ]
    )
    assert await ledger.unfinished_of("noop", "cpu") == {Status.QUEUED: 2, Status.RUNNING: 1}
    assert await ledger.unfinished_of("nothing", "gpu") == {Status.QUEUED: 0, Status.RUNNING: 0}


async def test_the_oldest_that_go_on_are_found_whether_queued_or_running(ledger: Ledger) -> None:
    rows = [make(UNFINISHED[n % 2], created_at=float(n)) for n in range(6)]
    await ledger.write([*rows[::-1], make(Status.DEAD, created_at=0.0)])
    assert await ledger.oldest_unfinished(10, before=4.0) == rows[:4]
    assert await ledger.oldest_unfinished(3, before=99.0) == rows[:3]


# --- batches ----------------------------------------------------------------------------------


async def test_a_batch_is_found_by_id_and_by_key(ledger: Ledger) -> None:
    batch = Batch("b1", "noop", "auto", 1.5, idempotency_key="k", fingerprint="f")
    assert await ledger.add_batch(batch)
    assert await ledger.batch("b1") == await ledger.batch_by_key("k") == batch
    assert await ledger.batch("nobody") is None
    assert await ledger.batch_by_key("nobody") is None
    assert not await ledger.add_batch(replace(batch, id="b2"))  # its key is taken
    assert not await ledger.add_batch(replace(batch, idempotency_key=None))  # its id is
    assert await ledger.batch("b2") is None


async def test_batches_are_listed_newest_first_in_pages(ledger: Ledger) -> None:
    made = [Batch(f"b{n}", "noop", "auto", float(n // 2)) for n in range(7)]
    for batch in made:
        await ledger.add_batch(batch)
    seen: list[Batch] = []
    cursor = None
    while True:
        page, cursor = await ledger.batches(cursor, limit=3)
        seen += page
        if cursor is None:
            break
    assert seen == made[::-1]


@pytest.mark.parametrize(
    ("steps", "moved", "end"),
    [
        (["accepted"], [True], "accepted"),
        (["accepted", "accepted"], [True, False], "accepted"),
        (["accepted", "cancelled", "accepted"], [True, True, False], "cancelled"),
        (["cancelled", "accepted", "cancelled"], [True, False, False], "cancelled"),
        (["dropped", "accepted", "cancelled"], [True, False, False], "dropped"),
        (["accepted", "dropped", "accepting"], [True, False, False], "accepted"),
    ],
)
async def test_a_batch_goes_only_where_its_state_leads(
    ledger: Ledger, steps: list[str], moved: list[bool], end: str
) -> None:
    await ledger.add_batch(Batch("b", "noop", "auto", 1.0))
    assert [await ledger.set_batch_state("b", BatchState(step)) for step in steps] == moved
    batch = await ledger.batch("b")
    assert batch is not None and batch.state == end
    assert not await ledger.set_batch_state("nobody", BatchState.ACCEPTED)


async def test_a_batch_says_how_far_it_is_and_gives_its_results_by_index(ledger: Ledger) -> None:
    items = [
        make(status, batch="b", batch_index=n, result=result)
        for n, (status, result) in enumerate(
            [
                (Status.SUCCEEDED, Part("result", JSON, 1, b"0")),
                (Status.QUEUED, None),
                (Status.FAILED, None),
                (Status.RUNNING, None),
                (Status.SUCCEEDED, Part("result", JSON, 1, b"4")),
            ]
        )
    ]
    await ledger.write([*items[::-1], make(Status.SUCCEEDED, batch="other", batch_index=0)])
    assert await ledger.batch_counts("b") == dict.fromkeys(Status, 0) | {
        Status.SUCCEEDED: 2,
        Status.QUEUED: 1,
        Status.FAILED: 1,
        Status.RUNNING: 1,
    }
    over = [items[0], items[2], items[4]]
    assert await ledger.batch_results("b") == over
    assert await ledger.batch_results("b", after_index=0, limit=1) == [items[2]]
    assert await ledger.batch_finished("b") == [(i.batch_index, i.id) for i in over]
    assert await ledger.batch_finished("b", after_index=2) == [(4, items[4].id)]
    assert await ledger.batch_unfinished("b") == [items[1], items[3]]
    assert await ledger.batch_unfinished("b", after_index=1) == [items[3]]
    listed, _ = await ledger.find(batch="b")
    assert [i.batch_index for i in listed] == sorted(
        (i.batch_index for i in items), key=lambda n: items[n or 0].id, reverse=True
    )


async def test_a_batch_that_was_never_accepted_goes_in_pieces_and_nothing_of_it_counts(
    ledger: Ledger,
) -> None:
    await ledger.add_batch(Batch("b", "noop", "auto", 1.0))
    items = [make(published=False, batch="b", batch_index=n) for n in range(5)]
    items.append(make(Status.CANCELLED, published=False, batch="b", batch_index=5))
    kept = make()
    await ledger.write([*items, kept], [Attempt(items[0].id, 1, None, "cpu", None, None, None)])
    assert [await ledger.drop_batch("b", 4) for _ in range(3)] == [4, 2, 0]
    assert await ledger.batch("b") is None
    assert await ledger.attempts(items[0].id) == []
    assert [i.id for i in (await ledger.find())[0]] == [kept.id]
    audit = await ledger.audit()
    assert audit.problems == ()
    assert audit.accepted == 1
    assert audit.by_status[Status.CANCELLED] == 0


@pytest.mark.parametrize("state", [BatchState.ACCEPTED, BatchState.CANCELLED])
async def test_a_batch_that_was_accepted_or_cancelled_is_not_dropped(
    ledger: Ledger, state: BatchState
) -> None:
    await ledger.add_batch(Batch("b", "noop", "auto", 1.0))
    item = make(batch="b", batch_index=0)
    await ledger.write([item])
    await ledger.set_batch_state("b", state)
    assert await ledger.drop_batch("b", 10) == 0
    assert await ledger.get(item.id) == item


async def test_a_batch_that_is_being_dropped_can_no_longer_be_accepted(ledger: Ledger) -> None:
    await ledger.add_batch(Batch("b", "noop", "auto", 1.0))
    await ledger.write([make(published=False, batch="b", batch_index=n) for n in range(3)])
    await ledger.drop_batch("b", 1)
    assert not await ledger.set_batch_state("b", BatchState.ACCEPTED)


async def test_what_comes_for_a_batch_that_was_dropped_is_taken_away_too(ledger: Ledger) -> None:
    sent = make(batch="gone", batch_index=0)
    late = make(published=False, batch="gone", batch_index=1)
    await ledger.write([sent, late])
    assert await ledger.drop_batch("gone", 10) == 1
    assert [i.id for i in (await ledger.find())[0]] == [sent.id]
    assert (await ledger.audit()).problems == ()


# --- callbacks --------------------------------------------------------------------------------


async def test_a_callback_is_due_from_the_outcome_until_it_is_finished(ledger: Ledger) -> None:
    row = make(callback="https://example.org/hook")
    await ledger.write([row, make(Status.SUCCEEDED)])
    assert await ledger.due_callbacks(10) == []
    record = await ledger.callback(row.id)
    assert record is not None and record.url == "https://example.org/hook"
    assert (record.attempts, record.finished) == (0, False)
    done = told(row.id, Status.SUCCEEDED, 1)  # a worker knows of no callback
    done.finished_at = 2.0
    await ledger.write([done])
    (due,) = await ledger.due_callbacks(10)
    assert (due.id, due.callback) == (row.id, row.callback)

    failed = replace(record, attempts=1, status_code=500, error="it said 500", updated_at=3.0)
    await ledger.record_callback(failed)
    assert await ledger.callback(row.id) == failed
    assert len(await ledger.due_callbacks(10)) == 1
    delivered = replace(failed, attempts=2, status_code=200, finished=True, updated_at=4.0)
    await ledger.record_callback(delivered)
    await ledger.record_callback(failed)  # told late
    assert await ledger.callback(row.id) == delivered
    assert await ledger.due_callbacks(10) == []


async def test_what_is_due_comes_oldest_first_and_not_what_something_just_happened_to(
    ledger: Ledger,
) -> None:
    rows = [make(Status.SUCCEEDED, callback="u", finished_at=float(n)) for n in (1, 2, 3, 90)]
    await ledger.write(rows)
    for row, at in zip(rows, (7.0, 5.0, 80.0, 6.0), strict=True):
        await ledger.record_callback(CallbackRecord(row.id, "u", updated_at=at))
    assert [i.id for i in await ledger.due_callbacks(10)] == [rows[n].id for n in (1, 3, 0, 2)]
    assert [i.id for i in await ledger.due_callbacks(10, before=50.0)] == [rows[1].id, rows[0].id]
    assert [i.id for i in await ledger.due_callbacks(1)] == [rows[1].id]


async def test_an_invocation_without_a_callback_has_no_record_of_one(ledger: Ledger) -> None:
    row = make(Status.SUCCEEDED)
    await ledger.write([row])
    assert await ledger.callback(row.id) is None


# --- leases -----------------------------------------------------------------------------------


async def test_one_holder_has_a_lease_until_it_runs_out_or_is_given_up(ledger: Ledger) -> None:
    assert await ledger.lease("feeder", "me", 60)
    assert await ledger.lease("feeder", "me", 60)
    assert not await ledger.lease("feeder", "you", 60)
    assert await ledger.lease("janitor", "you", 60)
    assert await ledger.lease("feeder", "me", 0)
    assert await ledger.lease("feeder", "you", 60)
    assert not await ledger.lease("feeder", "me", 60)


async def test_of_many_who_want_a_lease_at_once_one_gets_it(ledger_url: str) -> None:
    ledgers = await asyncio.gather(*(Ledger.open(ledger_url) for _ in range(4)))
    for _ in range(10):
        asked = (each.lease("feeder", f"{n}", 60) for n, each in enumerate(ledgers))
        got = await asyncio.gather(*asked)
        assert got.count(True) == 1
        holder = got.index(True)
        assert await ledgers[holder].lease("feeder", f"{holder}", 0)
    for ledger in ledgers:
        await ledger.close()


async def test_an_empty_batch_tells_whether_one_can_be_written(
    ledger: Ledger, place: Place
) -> None:
    assert (await ledger.write([])).terminal == ()
    async with place.broken():
        with pytest.raises(Unavailable, match="disk I/O error"):
            await ledger.write([])
    await ledger.write([])


# --- several who write at once ----------------------------------------------------------------


async def test_several_that_write_the_same_rows_at_once_lose_nothing_and_count_each_once(
    ledger_url: str,
) -> None:
    ids = [new_id() for _ in range(60)]
    keys = [f"k{n}" for n in range(20)]

    async def write(seed: int) -> None:
        chance = random.Random(seed)
        ledger = await Ledger.open(ledger_url)
        for _ in range(12):
            some = [
                told(
                    id,
                    chance.choice(list(Status)),
                    chance.randint(1, 3),
                    published=False,
                    idempotency_key=chance.choice([None, *keys]),
                )
                for id in chance.sample(ids, 30)
            ]
            attempts = [Attempt(i.id, 1, None, "cpu", None, None, None) for i in some[:5]]
            await ledger.write(some, attempts, published=chance.sample(ids, 20))
        await ledger.close()

    await asyncio.gather(*(write(seed) for seed in range(5)))
    ledger = await Ledger.open(ledger_url)
    audit = await ledger.audit()
    assert audit.problems == ()
    assert audit.accepted == len((await ledger.find(limit=1000))[0])
    assert await ledger.counts() == audit.by_status
    await ledger.close()


WRITER = """
import asyncio, random, sys
from runtime.ledger import Ledger
from runtime.model import Invocation, Message, Payload, Status

async def main(url, seed):
    chance = random.Random(int(seed))
    ledger = await Ledger.open(url)
    for _ in range(40):
        some = []
        for n in chance.sample(range(200), 50):
            attempt = chance.randint(1, 3)
            message = Message(f"{n:032x}", "noop", "cpu", Payload(), 1.0, attempt)
            some.append(Invocation(message, "auto", "v1", chance.choice(list(Status))))
        written = await ledger.write(some)
        assert not written.refused
        await ledger.retention.purge(None, 150, 20)
    await ledger.close()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_several_processes_that_write_and_purge_at_once_keep_one_tally(
    ledger_url: str,
) -> None:
    await (await Ledger.open(ledger_url)).close()
    command = [sys.executable, "-c", WRITER, ledger_url]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    writers = [
        await asyncio.create_subprocess_exec(*command, f"{seed}", env=environment)
        for seed in range(3)
    ]
    assert [await writer.wait() for writer in writers] == [0, 0, 0]
    ledger = await Ledger.open(ledger_url)
    audit = await ledger.audit()
    assert audit.problems == ()
    assert sum(audit.by_status.values()) <= 200
    assert await ledger.counts() == audit.by_status
    await ledger.close()


# --- opening ----------------------------------------------------------------------------------


async def test_a_ledger_that_is_opened_again_holds_what_it_held(ledger_url: str) -> None:
    invocation = make(Status.RUNNING)
    first = await Ledger.open(ledger_url)
    await first.write([invocation])
    await first.close()
    second = await Ledger.open(ledger_url)
    assert await all_unfinished(second) == [invocation]
    await second.close()


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("nonsense", "no database URL: write sqlite:///path"),
        ("postgresql://u:secret@host:port/db", "no database URL"),
        ("mysql://u:secret@host/db", "cannot live in 'mysql'"),
        ("postgresql+psycopg2://u:secret@host/db", "cannot live in 'postgresql\\+psycopg2'"),
    ],
)
async def test_an_address_no_ledger_can_have_is_refused(address: str, hint: str) -> None:
    with pytest.raises(ConfigurationError, match=hint) as caught:
        await Ledger.open(address)
    assert "secret" not in str(caught.value)
