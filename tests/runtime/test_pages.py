"""Rollups in the ledger, in each database that it may lie in."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from runtime.errors import Unavailable
from runtime.ledger import Batch, Ledger
from runtime.model import TERMINAL, Invocation, Message, Payload, Status, new_id
from runtime.pages import KEPT, Pages
from runtime.rollup import WIDTHS, Bucket, Cell, bin_of
from tests.places import Place

NOW = 1_800_000_000.0
EVER = 2**60
Told = tuple[int, Status, float]  # which invocation, how it ended, and how long ago
PROPERTY = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def make(status: Status = Status.SUCCEEDED, **fields: Any) -> Invocation:
    """An invocation of nothing in particular, that took a second."""
    named = {k: fields.pop(k) for k in ("id", "function", "device") if k in fields}
    given: dict[str, Any] = {"id": new_id(), "function": "noop", "device": "cpu"}
    ended_at = fields.pop("finished_at", NOW)
    message = Message(payload=Payload(), created_at=ended_at - 1.0, **(given | named))
    timings = {"queue": 0.5, "start": 0.0, "run": 0.5}
    known: dict[str, Any] = {"finished_at": ended_at, "timings": timings} | fields
    return Invocation(message, requested_device="auto", version="v1", status=status, **known)


@dataclass
class Clock:
    """What the time is, for those who ask it."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Recorders:
    """Some processes that write one ledger, each with pages of its own."""

    place: Place
    clock: Clock = field(default_factory=Clock)
    open: dict[int, Ledger] = field(default_factory=dict)

    async def ledger(self, number: int) -> Ledger:
        if number not in self.open:
            ledger = self.open[number] = await Ledger.open(self.place.url)
            ledger.pages = Pages(ledger._database, self.clock)
        return self.open[number]

    async def live(self, number: int, what: str, told: list[Told], ids: list[str]) -> None:
        """One step of one of them."""
        ledger = await self.ledger(number)
        if what == "restart":
            await self.restart(number)
            return
        if what == "wait":
            self.clock.now += 700.0
        batch = [
            make(status, id=ids[n], finished_at=self.clock.now - ago) for n, status, ago in told
        ]
        if what not in ("refuse", "lose"):
            await ledger.write(batch)
            return
        with losing(ledger, committed=what == "lose"):
            try:
                await ledger.write(batch)
            except Unavailable:
                await ledger.write(batch)  # as the recorder does: nothing is given up

    async def restart(self, number: int) -> None:
        if ledger := self.open.pop(number, None):
            await ledger.close()

    async def close(self) -> None:
        for number in list(self.open):
            await self.restart(number)


@contextmanager
def losing(ledger: Ledger, *, committed: bool) -> Iterator[None]:
    """The connection breaks at the end of the next transaction: after its commit, or before."""
    database = ledger._database
    transact = database._transact
    gone = DBAPIError("COMMIT", None, Exception("gone"), connection_invalidated=True)
    left = [1]

    async def break_off(work: Callable[[Any], Awaitable[Any]]) -> Any:
        async def work_and_fail(connection: Any) -> Any:
            await work(connection)
            raise gone

        if not left:
            return await transact(work)
        left.pop()
        await transact(work if committed else work_and_fail)
        raise gone

    with patch.object(database, "_transact", break_off):
        yield


async def counts(ledger: Ledger, width: int) -> Counter[str]:
    """How many ended with each status, by the pages of one width."""
    found: Counter[str] = Counter()
    for _, _, text in await ledger.pages.read(width, -EVER, EVER):
        found.update(Cell.of(text).statuses)
    return found


async def cells(ledger: Ledger, width: int = 5) -> dict[Bucket, Cell]:
    """What the pages of one width come to."""
    found: dict[Bucket, Cell] = {}
    for bucket, _, text in await ledger.pages.read(width, -EVER, EVER):
        found[bucket] = found.get(bucket, Cell()) + Cell.of(text)
    return found


outcomes = st.lists(
    st.tuples(
        st.integers(0, 8),
        st.sampled_from(list(Status)),
        st.sampled_from([0.0, 3.0, 5.0, 61.0, 700.0, 5000.0]),
    ),
    min_size=1,
    max_size=5,
)
steps = st.tuples(
    st.integers(0, 1),  # which recorder
    st.sampled_from(["write", "refuse", "lose", "lose", "restart", "wait"]),
    outcomes,
)


@PROPERTY
@given(st.lists(steps, min_size=3, max_size=12))
async def test_each_outcome_always_counts_exactly_once_in_every_width(
    place: Place, history: list[tuple[int, str, list[Told]]]
) -> None:
    ids = [new_id() for _ in range(9)]
    async with place.emptied():
        recorders = Recorders(place)
        try:
            for number, what, told in history:
                await recorders.live(number, what, told, ids)
            await check(await recorders.ledger(0))
        finally:
            await recorders.close()


async def check(ledger: Ledger) -> None:
    """The pages of each width say what the audit's two witnesses say."""
    audit = await ledger.audit()
    assert audit.holds
    ended = {s.value: count for s, count in audit.by_status.items() if s in TERMINAL and count}
    for width in WIDTHS:
        assert await counts(ledger, width) == ended


@pytest.mark.parametrize("committed", [False, True])
async def test_what_follows_a_failed_write_never_takes_anything_back(
    ledger: Ledger, committed: bool
) -> None:
    await ledger.write([make()])
    done = make()
    with losing(ledger, committed=committed):
        try:
            await ledger.write([done])
        except Unavailable:
            await ledger.write([done])
    await ledger.write([make()])
    for width in WIDTHS:
        assert await counts(ledger, width) == {"succeeded": 3}


async def test_what_ended_counts_where_it_ended_with_its_times(ledger: Ledger) -> None:
    done = make(finished_at=NOW + 7, function="matmul", device="gpu", cold=True)
    await ledger.write([done, make(Status.RUNNING), make(Status.QUEUED)])
    for width in WIDTHS:
        at = int((NOW + 7) // width * width)
        half = {bin_of(0.5): 1}
        assert await cells(ledger, width) == {
            Bucket(width, at, "matmul", "gpu"): Cell(
                {"succeeded": 1}, total={bin_of(1.0): 1}, run=half, queue=half, cold=1
            )
        }


async def test_the_outcome_that_is_ignored_is_not_counted(ledger: Ledger) -> None:
    done = make(id="once")
    await ledger.write([done])
    await ledger.write([make(Status.FAILED, id="once"), make(Status.DEAD)])
    assert await counts(ledger, 5) == {"succeeded": 1, "dead": 1}


async def test_a_process_writes_one_row_a_bucket_however_often_it_writes(ledger: Ledger) -> None:
    ledger.pages = Pages(ledger._database, Clock())
    for n in range(5):
        await ledger.write([make(finished_at=NOW + n / 10) for _ in range(3)])
    assert len(await ledger.pages.read(5, 0, EVER)) == 1
    assert await counts(ledger, 5) == {"succeeded": 15}


async def test_a_bucket_that_left_memory_is_not_written_over(ledger: Ledger) -> None:
    clock = Clock()
    ledger.pages = Pages(ledger._database, clock)
    await ledger.write([make()])
    clock.now += 100 * KEPT
    await ledger.write([make(finished_at=clock.now)])
    assert {bucket.at for bucket in ledger.pages._held} == {
        int(clock.now // width * width) for width in WIDTHS
    }
    await ledger.write([make()])
    first = Bucket(5, int(NOW), "noop", "cpu")
    assert (await cells(ledger))[first].statuses == {"succeeded": 2}


async def test_what_comes_late_in_many_pieces_shares_a_row(ledger: Ledger) -> None:
    clock = Clock(NOW + 10_000)
    ledger.pages = Pages(ledger._database, clock)
    for _ in range(5):
        await ledger.write([make()])
        clock.now += 1
    assert len(await ledger.pages.read(5, 0, EVER)) == 1


@pytest.mark.parametrize("committed", [False, True])
async def test_gauges_written_again_after_a_failure_are_the_most_there_were(
    ledger: Ledger, committed: bool
) -> None:
    bucket = Bucket(5, int(NOW), "noop", "cpu")
    with losing(ledger, committed=committed):
        try:
            await ledger.pages.write({bucket: Cell(ready=7, busy=2)})
        except Unavailable:
            await ledger.pages.write({bucket: Cell(ready=7, busy=2)})
    await ledger.pages.write({bucket: Cell(ready=3, busy=4)})
    await ledger.write([make()])
    cell = (await cells(ledger))[bucket]
    assert (cell.ready, cell.busy, cell.statuses) == (7, 4, {"succeeded": 1})


async def test_two_functions_whose_names_are_stored_alike_keep_out_nothing(
    ledger: Ledger,
) -> None:
    await ledger.write([make(function="a\ud800"), make(function="a\udfff"), make()])
    assert await counts(ledger, 5) == {"succeeded": 3}


async def test_reading_gives_the_buckets_that_begin_within(ledger: Ledger) -> None:
    await ledger.write([make(finished_at=NOW + n) for n in (0, 5, 10)])
    found = await ledger.pages.read(5, int(NOW), int(NOW) + 10)
    assert sorted(bucket.at - NOW for bucket, _, _ in found) == [0, 5]
    assert await ledger.pages.read(60, int(NOW) + 60, EVER) == []


async def test_a_batch_that_is_dropped_was_counted_all_the_same(ledger: Ledger) -> None:
    await ledger.add_batch(Batch("b", "noop", "auto", NOW))
    await ledger.write([make(Status.CANCELLED, batch="b", batch_index=0)])
    assert await ledger.drop_batch("b", 10) == 1
    assert await counts(ledger, 5) == {"cancelled": 1}
