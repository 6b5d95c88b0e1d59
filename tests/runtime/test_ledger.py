"""The ledger, in each database that it may lie in."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.errors import BadRequest, ConfigurationError
from runtime.ledger import (
    Attempt,
    Ledger,
    ScalingDecision,
)
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
