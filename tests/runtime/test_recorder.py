"""The recorder, writing to real ledgers in each database that they may lie in."""

import asyncio
import logging
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event

from runtime import recorder as module
from runtime import sqlite
from runtime.errors import Conflict, Unavailable
from runtime.ledger import Attempt, Ledger
from runtime.model import JSON, TERMINAL, Invocation, Message, Part, Payload, Status, new_id
from runtime.recorder import Recorder
from tests.places import Place, SqlitePlace

ROOT = Path(__file__).parents[2]


def make(status: Status = Status.QUEUED, **fields: Any) -> Invocation:
    """An invocation of nothing in particular."""
    message = Message(fields.pop("id", None) or new_id(), "noop", "cpu", Payload(), created_at=1.0)
    return Invocation(message, requested_device="auto", version="v1", status=status, **fields)


@pytest.fixture
async def recorder(ledger: Ledger) -> AsyncIterator[Recorder]:
    async with running(Recorder(ledger)) as recorder:
        yield recorder


@asynccontextmanager
async def running(recorder: Recorder) -> AsyncIterator[Recorder]:
    await recorder.start()
    try:
        yield recorder
    finally:
        await recorder.close()


@contextmanager
def listening(name: str, listener: Callable[..., Any]) -> Iterator[None]:
    """Hear of an event of every SQLAlchemy engine."""
    event.listen(Engine, name, listener)
    try:
        yield
    finally:
        event.remove(Engine, name, listener)


@contextmanager
def counted_commits() -> Iterator[list[object]]:
    commits: list[object] = []
    with listening("commit", commits.append):
        yield commits


@contextmanager
def statements() -> Iterator[list[str]]:
    said: list[str] = []

    def hear(_c: object, _k: object, statement: str, *_: object) -> None:
        said.append(statement)

    with listening("before_cursor_execute", hear):
        yield said


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def status_of(ledger: Ledger, invocation: Invocation) -> Status | None:
    stored = await ledger.get(invocation.id)
    return None if stored is None else stored.status


# --- what is given is written -----------------------------------------------------------------


async def test_an_accepted_invocation_is_committed_when_accept_returns(
    recorder: Recorder, place: Place
) -> None:
    invocation = make()
    await recorder.accept(invocation)
    assert place.ids() == {invocation.id}


async def test_a_noted_invocation_is_written_without_anybody_waiting(
    ledger: Ledger, place: Place
) -> None:
    stored: list[Invocation] = []
    async with running(Recorder(ledger, stored.extend)) as recorder:
        invocation = make(Status.SUCCEEDED)
        recorder.note(invocation)
        await eventually(lambda: stored == [invocation])
        assert place.ids() == {invocation.id}


async def test_an_invocation_that_begins_and_ends_between_two_writes_is_written_once(
    recorder: Recorder, ledger: Ledger
) -> None:
    with counted_commits() as commits:
        invocation = make()
        accepted = asyncio.ensure_future(recorder.accept(invocation))
        recorder.note(invocation)
        invocation.status = Status.RUNNING
        recorder.note(invocation)
        invocation.status = Status.SUCCEEDED
        recorder.note(invocation)
        await recorder.flush()
    await accepted
    assert len(commits) == 1
    assert await ledger.get(invocation.id) == invocation
    assert (await ledger.audit()).ignored == 0


async def test_a_thousand_acceptances_at_once_take_few_transactions(
    recorder: Recorder, ledger: Ledger
) -> None:
    with counted_commits() as commits:
        await asyncio.gather(*(recorder.accept(make()) for _ in range(1000)))
    assert len(commits) <= 3
    assert (await ledger.audit()).accepted == 1000


async def test_acceptances_one_after_another_share_transactions(
    recorder: Recorder, ledger: Ledger
) -> None:
    async def caller() -> None:
        for _ in range(10):
            await recorder.accept(make())

    with counted_commits() as commits:
        await asyncio.gather(*(caller() for _ in range(50)))
    assert len(commits) <= 50
    assert (await ledger.audit()).accepted == 500


async def test_what_does_not_fit_one_transaction_takes_more(
    recorder: Recorder, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 10)
    with counted_commits() as commits:
        for _ in range(35):
            recorder.note(make())
        await recorder.flush()
    assert len(commits) == 4

    monkeypatch.setattr(module, "MAX_BYTES", 10_000)
    big = Part("result", JSON, 6000, b'"' + 5998 * b"x" + b'"')
    with counted_commits() as commits:
        for _ in range(3):
            recorder.note(make(Status.SUCCEEDED, result=big))
        recorder.note(make(Status.SUCCEEDED, log="x" * 20_000))
        await recorder.flush()
    assert len(commits) == 4
    assert (await ledger.audit()).accepted == 39


async def test_flush_returns_while_others_keep_noting(recorder: Recorder, ledger: Ledger) -> None:
    first = make()
    recorder.note(first)
    flushed = asyncio.create_task(recorder.flush())
    while not flushed.done():
        recorder.note(make())
        await asyncio.sleep(0)
    assert await status_of(ledger, first) == Status.QUEUED


async def test_flush_waits_for_what_changed_while_it_was_being_written(
    recorder: Recorder, ledger: Ledger
) -> None:
    writing = asyncio.Event()
    invocation = make(Status.RUNNING)
    with listening("begin", lambda _: writing.set()):
        recorder.note(invocation)
        first = asyncio.create_task(recorder.flush())
        await writing.wait()
        invocation.status = Status.SUCCEEDED
        recorder.note(invocation)
        await recorder.flush()
    assert first.done()
    assert await status_of(ledger, invocation) == Status.SUCCEEDED


async def test_flush_with_nothing_to_write_returns(recorder: Recorder) -> None:
    with counted_commits() as commits:
        await recorder.flush()
    assert commits == []


async def test_attempts_are_written_with_the_rest(recorder: Recorder, ledger: Ledger) -> None:
    attempt = Attempt("i", 1, "noop.cpu-1", "cpu", 1.0, 2.0, None)
    recorder.attempt(attempt)
    await recorder.flush()
    assert await ledger.attempts("i") == [attempt]


async def test_what_was_given_before_the_start_is_written_after_it(ledger: Ledger) -> None:
    recorder = Recorder(ledger)
    noted, accepted = make(), make()
    recorder.note(noted)
    waiting = recorder.accept(accepted)
    async with running(recorder):
        await waiting
        await recorder.flush()
    assert await status_of(ledger, noted) == await status_of(ledger, accepted) == Status.QUEUED


async def test_the_input_of_a_known_row_is_not_sent_again(
    recorder: Recorder, ledger: Ledger
) -> None:
    mine, found = make(), make()
    await ledger.write([found])
    recorder.adopt([found.id])
    await recorder.accept(mine)
    with statements() as said:
        for invocation in (mine, found):
            invocation.status = Status.SUCCEEDED
            recorder.note(invocation)
        await recorder.flush()
    assert not any("INSERT INTO invocations" in statement for statement in said)
    assert await status_of(ledger, mine) == await status_of(ledger, found) == Status.SUCCEEDED


async def test_an_invocation_is_known_to_be_stored_from_its_first_commit_to_its_last(
    recorder: Recorder, ledger: Ledger
) -> None:
    invocation = make()
    recorder.note(invocation)
    assert not recorder.is_stored(invocation.id)
    await recorder.flush()
    assert recorder.is_stored(invocation.id)
    invocation.status = Status.SUCCEEDED
    recorder.note(invocation)
    await recorder.flush()
    assert not recorder.is_stored(invocation.id)


async def test_a_row_that_was_there_all_along_is_updated(
    recorder: Recorder, ledger: Ledger
) -> None:
    invocation = make()
    await ledger.write([invocation])
    invocation.status = Status.DEAD
    recorder.note(invocation)  # never adopted
    await recorder.flush()
    assert await status_of(ledger, invocation) == Status.DEAD
    assert (await ledger.audit()).holds


async def test_what_was_published_is_marked_with_the_next_batch(
    recorder: Recorder, ledger: Ledger, place: Place
) -> None:
    first, second = make(published=False), make(published=False)
    await recorder.accept(first)
    await recorder.accept(second)
    with counted_commits() as commits:
        recorder.published(first.id)
        await recorder.flush()
    assert len(commits) == 1
    assert await ledger.unpublished(99.0, 10) == [second]
    async with place.broken():
        recorder.published(second.id)
        with pytest.raises(Unavailable):
            await recorder.flush()
    await eventually(lambda: recorder.healthy)
    await recorder.flush()
    assert await ledger.unpublished(99.0, 10) == []


async def test_what_was_published_is_marked_without_anybody_waiting(ledger: Ledger) -> None:
    row = make(published=False)
    async with running(Recorder(ledger)) as recorder:
        await recorder.accept(row)
        recorder.published(row.id)
    assert await ledger.unpublished(99.0, 10) == []


async def test_of_two_reports_of_one_invocation_the_newer_is_written(
    recorder: Recorder, ledger: Ledger
) -> None:
    whole = make(Status.RUNNING, idempotency_key="k")
    outcome = make(Status.SUCCEEDED, id=whole.id)
    late = make(Status.RUNNING, id=whole.id)
    for report in (whole, outcome, late):
        recorder.note(report)
    await recorder.flush()
    stored = await ledger.get(whole.id)
    assert stored is not None
    assert (stored.status, stored.idempotency_key) == (Status.SUCCEEDED, "k")


async def test_a_report_that_comes_while_an_outcome_waits_does_not_replace_it(
    recorder: Recorder, ledger: Ledger, place: Place
) -> None:
    outcome = make(Status.SUCCEEDED)
    async with place.broken():
        recorder.note(outcome)
        with pytest.raises(Unavailable):
            await recorder.flush()
        recorder.note(make(Status.RUNNING, id=outcome.id))
    await eventually(lambda: recorder.healthy)
    await recorder.flush()
    assert await status_of(ledger, outcome) == Status.SUCCEEDED


async def test_what_another_process_has_ended_is_not_remembered_as_going_on(
    recorder: Recorder, ledger: Ledger
) -> None:
    await ledger.write([ended := make(Status.SUCCEEDED)])
    recorder.adopt([ended.id])
    recorder.note(make(Status.RUNNING, id=ended.id))
    await recorder.flush()
    assert not recorder.is_stored(ended.id)
    assert await status_of(ledger, ended) == Status.SUCCEEDED


# --- on_stored --------------------------------------------------------------------------------


async def test_on_stored_hears_of_terminal_rows_once_they_are_committed(
    ledger: Ledger, place: Place
) -> None:
    heard: list[Invocation] = []

    def on_stored(invocations: Sequence[Invocation]) -> None:
        assert place.ids().issuperset(invocation.id for invocation in invocations)
        heard.extend(invocations)

    waiting, done = make(), make(Status.FAILED)
    async with running(Recorder(ledger, on_stored)) as recorder:
        recorder.note(waiting)
        recorder.note(done)
        await recorder.flush()
        assert heard == [done]
        waiting.status = Status.CANCELLED
        recorder.note(waiting)
        await recorder.flush()
        assert heard == [done, waiting]


async def test_on_stored_does_not_hear_of_what_ended_after_it_was_read(ledger: Ledger) -> None:
    heard: list[Invocation] = []
    writing = asyncio.Event()
    invocation = make(Status.RUNNING)
    async with running(Recorder(ledger, heard.extend)) as recorder:
        with listening("begin", lambda _: writing.set()):
            accepting = asyncio.ensure_future(recorder.accept(invocation))
            await writing.wait()
        invocation.status = Status.SUCCEEDED
        await accepting
        assert heard == []
        recorder.note(invocation)
        await recorder.flush()
        assert heard == [invocation]


async def test_an_on_stored_that_raises_does_not_stop_the_recorder(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    def on_stored(_: Sequence[Invocation]) -> None:
        raise ValueError("not today")

    async with running(Recorder(ledger, on_stored)) as recorder:
        for _ in range(2):
            recorder.note(make(Status.SUCCEEDED))
            await recorder.flush()
    assert (await ledger.audit()).accepted == 2
    assert caplog.text.count("ValueError: not today") == 2


# --- when writing fails -----------------------------------------------------------------------


async def test_a_failing_ledger_refuses_acceptances_and_keeps_outcomes(
    recorder: Recorder, ledger: Ledger, place: Place
) -> None:
    finished, refused, both = make(Status.SUCCEEDED), make(), make()
    attempt = Attempt(finished.id, 1, None, "cpu", None, None, None)
    async with place.broken():
        recorder.note(finished)
        recorder.attempt(attempt)
        recorder.note(both)
        answers = await asyncio.gather(
            recorder.accept(refused), recorder.accept(both), return_exceptions=True
        )
        for answer in answers:
            assert isinstance(answer, Unavailable)
            assert answer.retry_after > 0
            assert "disk I/O error" in str(answer)
        assert not recorder.healthy
        with pytest.raises(Unavailable):
            await recorder.accept(make())
        with pytest.raises(Unavailable):
            await recorder.flush()
        assert (await ledger.find())[0] == []
    await eventually(lambda: recorder.healthy)
    await recorder.flush()
    assert await status_of(ledger, finished) == Status.SUCCEEDED
    assert await status_of(ledger, both) == Status.QUEUED
    assert await ledger.attempts(finished.id) == [attempt]
    assert await ledger.get(refused.id) is None
    assert (await ledger.audit()).holds


async def test_a_ledger_that_keeps_failing_is_logged_once(
    ledger: Ledger,
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "FIRST_BACKOFF", 0.001)
    failures: list[object] = []
    async with running(Recorder(ledger)) as recorder:
        for episode in (1, 2):
            async with place.broken():
                with listening("rollback", failures.append):
                    recorder.note(make())
                    await eventually(lambda: len(failures) >= 3)
            await eventually(lambda: recorder.healthy)
            assert len([r for r in caplog.records if r.levelno == logging.ERROR]) == episode
            failures.clear()


@pytest.mark.parametrize(
    ("limit", "relief", "reason"),
    [
        ("PRAGMA query_only = ON", "PRAGMA query_only = OFF", "readonly database"),
        (
            "PRAGMA max_page_count = 1",
            "PRAGMA max_page_count = 1000000",
            "database or disk is full",
        ),
    ],
)
async def test_a_full_or_read_only_disk_is_survived(
    sqlite_place: SqlitePlace, limit: str, relief: str, reason: str
) -> None:
    ledger = await Ledger.open(sqlite_place.url)

    async def set_limit(pragma: str) -> None:
        async with ledger._database.writer.connect() as connection:
            raw = await connection.get_raw_connection()
            assert raw.driver_connection is not None
            await raw.driver_connection.execute(pragma)

    async with running(Recorder(ledger)) as recorder:
        await set_limit(limit)
        finished = make(Status.SUCCEEDED, log="x" * 100_000)
        recorder.note(finished)
        with pytest.raises(Unavailable, match=reason):
            await recorder.flush()
        assert not recorder.healthy
        await set_limit(relief)
        await eventually(lambda: recorder.healthy)
        await recorder.flush()
        assert await ledger.get(finished.id) == finished
        assert (await ledger.audit()).holds
    await ledger.close()


async def test_an_idle_recorder_finds_out_that_the_ledger_works_again(
    recorder: Recorder, place: Place
) -> None:
    async with place.broken():
        with pytest.raises(Unavailable):
            await recorder.accept(make())
        assert not recorder.healthy
    await eventually(lambda: recorder.healthy)


async def test_what_ends_while_its_write_fails_is_written_as_it_ended(
    recorder: Recorder, ledger: Ledger, place: Place
) -> None:
    invocation = make(Status.RUNNING)
    async with place.broken():
        recorder.note(invocation)
        with pytest.raises(Unavailable):
            await recorder.flush()
        invocation.status = Status.SUCCEEDED
        recorder.note(invocation)
    await eventually(lambda: recorder.healthy)
    await recorder.flush()
    assert await status_of(ledger, invocation) == Status.SUCCEEDED


async def test_an_error_nobody_foresaw_loses_no_outcome(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def write(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    invocation = make(Status.SUCCEEDED)
    async with running(Recorder(ledger)) as recorder:
        with monkeypatch.context() as patch:
            patch.setattr(ledger, "write", write)
            recorder.note(invocation)
            with pytest.raises(Unavailable, match="a bug"):
                await recorder.flush()
        await eventually(lambda: recorder.healthy)
        await recorder.flush()
    assert await ledger.get(invocation.id) == invocation
    assert "Traceback" in caplog.text


async def test_an_outcome_is_kept_though_somebody_deleted_its_row(
    recorder: Recorder, ledger: Ledger, place: Place
) -> None:
    invocation = make()
    await recorder.accept(invocation)
    await place.do("DELETE FROM invocations")
    invocation.status = Status.SUCCEEDED
    recorder.note(invocation)
    await recorder.flush()
    assert await ledger.get(invocation.id) == invocation
    assert not (await ledger.audit()).holds  # two were accepted, and one is held


async def test_a_taken_idempotency_key_is_a_conflict_for_that_one_alone(
    recorder: Recorder, ledger: Ledger
) -> None:
    first, second, other = make(idempotency_key="k"), make(idempotency_key="k"), make()
    await recorder.accept(first)
    answers = await asyncio.gather(
        recorder.accept(second), recorder.accept(other), return_exceptions=True
    )
    assert isinstance(answers[0], Conflict)
    assert answers[1] is None
    assert await ledger.get(second.id) is None


async def test_an_outcome_is_kept_though_its_idempotency_key_is_taken(
    recorder: Recorder, ledger: Ledger
) -> None:
    first, second = make(idempotency_key="k"), make(Status.SUCCEEDED, idempotency_key="k")
    await recorder.accept(first)
    recorder.note(second)
    await recorder.flush()
    stored = await ledger.get(second.id)
    assert stored is not None
    assert stored.status == Status.SUCCEEDED
    assert stored.idempotency_key is None


async def test_giving_up_the_wait_does_not_take_the_invocation_back(
    recorder: Recorder, ledger: Ledger
) -> None:
    invocation = make()
    accepting = asyncio.ensure_future(recorder.accept(invocation))
    accepting.cancel()
    await recorder.flush()
    assert await status_of(ledger, invocation) == Status.QUEUED


# --- the end ----------------------------------------------------------------------------------


async def test_closing_writes_what_is_left(ledger: Ledger) -> None:
    recorder = Recorder(ledger)
    await recorder.start()
    noted, accepted = make(Status.SUCCEEDED), make()
    recorder.note(noted)
    accepting = recorder.accept(accepted)
    await recorder.close()
    await accepting
    assert await status_of(ledger, noted) == Status.SUCCEEDED
    with pytest.raises(Unavailable, match="stopping"):
        await recorder.accept(make())
    with pytest.raises(Unavailable, match="stopping"):
        await recorder.flush()


async def test_closing_over_a_broken_ledger_ends_and_says_what_is_lost(
    ledger: Ledger, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(ledger)
    await recorder.start()
    async with place.broken():
        recorder.note(make(Status.SUCCEEDED))
        await recorder.close(grace=0.05)
    assert "outcomes=1 attempts=0 not recorded" in caplog.text


async def test_closing_ends_while_another_process_holds_the_lock(
    sqlite_place: SqlitePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "PRAGMAS", ("PRAGMA busy_timeout = 100",))
    ledger = await Ledger.open(sqlite_place.url)
    recorder = Recorder(ledger)
    await recorder.start()
    with closing(sqlite3.connect(sqlite_place.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = recorder.accept(make())
        await recorder.close(grace=0.01)
        with pytest.raises(Unavailable, match="stopping"):
            await waiting
        other.execute("COMMIT")
    await ledger.close()


async def test_a_recorder_that_never_started_closes(ledger: Ledger) -> None:
    recorder = Recorder(ledger)
    waiting = recorder.accept(make())
    await recorder.close()
    with pytest.raises(Unavailable, match="stopping"):
        await waiting


# --- always -----------------------------------------------------------------------------------

steps = st.lists(
    st.tuples(
        st.sampled_from(["accept", "note", "flush", "break", "mend", "yield"]),
        st.integers(0, 7),
        st.sampled_from(list(Status)),
    ),
    max_size=40,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps)
async def test_accepted_means_stored_and_refused_means_not_and_every_outcome_is_kept(
    place: Place, plan: list[tuple[str, int, Status]]
) -> None:
    async with place.emptied() as ledger:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "FIRST_BACKOFF", 0.001)
            patch.setattr(module, "LAST_BACKOFF", 0.001)
            patch.setattr(module, "MAX_ROWS", 2)
            await place.make_breakable()
            await place.breaks(False)
            await follow(plan, ledger, place)


async def follow(plan: list[tuple[str, int, Status]], ledger: Ledger, place: Place) -> None:
    invocations = [make() for _ in range(8)]
    noted: set[str] = set()
    waiting: dict[str, asyncio.Future[None]] = {}
    async with running(Recorder(ledger)) as recorder:
        for step, n, status in plan:
            invocation = invocations[n]
            if step == "accept" and invocation.id not in waiting.keys() | noted:
                waiting[invocation.id] = asyncio.ensure_future(recorder.accept(invocation))
            elif step == "note" and not invocation.terminal:
                if (w := waiting.get(invocation.id)) is None or (w.done() and not w.exception()):
                    if (invocation.status, status) == (Status.RUNNING, Status.QUEUED):
                        invocation.message.attempt += 1
                    invocation.status = status
                    recorder.note(invocation)
                    noted.add(invocation.id)
            elif step == "flush":
                await asyncio.gather(recorder.flush(), return_exceptions=True)
            elif step == "break":
                await place.breaks(True)
            elif step == "mend":
                await place.breaks(False)
            elif step == "yield":
                await asyncio.sleep(0)
        await place.breaks(False)
        answers = await asyncio.gather(*waiting.values(), return_exceptions=True)
        await eventually(lambda: recorder.healthy)
        await recorder.flush()
    accepted = {id for id, a in zip(waiting, answers, strict=True) if a is None}
    refused = {id for id, a in zip(waiting, answers, strict=True) if a is not None}
    for invocation in invocations:
        expected = invocation.id in noted | accepted
        assert await status_of(ledger, invocation) == (invocation.status if expected else None)
    assert noted.isdisjoint(refused)
    audit = await ledger.audit()
    assert audit.problems == ()
    assert audit.ignored == 0


VICTIM = """
import asyncio, sys
from runtime.ledger import Ledger
from runtime.model import Invocation, Message, Payload, Status, new_id
from runtime.recorder import Recorder

def finished(invocations):
    for invocation in invocations:
        print("finished", invocation.id, flush=True)

async def caller(recorder):
    while True:
        message = Message(new_id(), "noop", "cpu", Payload(), created_at=1.0)
        invocation = Invocation(message, "auto", "v1")
        await recorder.accept(invocation)
        print("accepted", invocation.id, flush=True)
        invocation.status = Status.SUCCEEDED
        recorder.note(invocation)

async def main():
    recorder = Recorder(await Ledger.open(sys.argv[1]), finished)
    await recorder.start()
    await asyncio.gather(*(caller(recorder) for _ in range(16)))

asyncio.run(main())
"""


async def test_whatever_was_accepted_before_a_kill_is_in_the_ledger(ledger_url: str) -> None:
    said: list[list[str]] = []
    with subprocess.Popen(
        [sys.executable, "-c", VICTIM, ledger_url],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as victim:
        assert victim.stdout is not None
        for line in victim.stdout:
            if line.endswith("\n"):  # else it died in the middle of it
                said.append(line.split())
            if len(said) == 500:
                victim.send_signal(signal.SIGKILL)
    assert victim.returncode == -signal.SIGKILL
    ledger = await Ledger.open(ledger_url)
    accepted = {id for verb, id in said if verb == "accepted"}
    finished = {id for verb, id in said if verb == "finished"}
    stored = {i.id: i.status for i in (await ledger.find(limit=10**6))[0]}
    assert len(accepted) > 100
    assert finished
    assert accepted <= stored.keys()
    assert all(stored[id] == Status.SUCCEEDED for id in finished)
    unfinished = [i.id async for chunk in ledger.unfinished() for i in chunk]
    assert unfinished == sorted(id for id, status in stored.items() if status not in TERMINAL)
    audit = await ledger.audit()
    assert audit.problems == ()
    assert audit.accepted == len(stored)
    await ledger.close()
