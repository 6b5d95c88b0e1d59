"""The outcomes of a batch: each of them once, whatever ends in whichever order."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime import batch_results as module
from runtime.batch_results import BatchResults, _Told
from runtime.batch_rows import ItemOutcome
from runtime.errors import Unavailable
from runtime.ledger import Batch, BatchState, Ledger
from runtime.model import Failure, Part, Status
from tests.places import Place
from tests.runtime.batching import Desk, desk_of, until

PROPERTY = settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
async def desk(ledger: Ledger) -> AsyncIterator[Desk]:
    async with desk_of(ledger) as desk:
        yield desk


class Reader:
    """Somebody who reads along, from now on."""

    def __init__(self, outcomes: AsyncIterator[list[ItemOutcome]]) -> None:
        self.read: list[ItemOutcome] = []
        self.over = asyncio.create_task(self._read(outcomes))

    async def _read(self, outcomes: AsyncIterator[list[ItemOutcome]]) -> None:
        async for some in outcomes:
            assert some
            self.read += some

    @property
    def indices(self) -> list[int]:
        return [outcome.index for outcome in self.read]

    async def has(self, count: int) -> bool:
        return len(self.read) >= count


async def now(results: AsyncIterator[list[ItemOutcome]]) -> list[int]:
    return [outcome.index async for some in results for outcome in some]


async def test_outcomes_are_told_as_they_come_and_end_with_the_last(desk: Desk) -> None:
    batch = await desk.send([{"n": n} for n in range(10)])
    rows = await desk.items(batch)
    reader = Reader(BatchResults(desk.ledger, batch.id).as_they_end())
    await desk.end([rows[7], rows[3]])
    await until(lambda: reader.has(2))
    assert reader.indices == [7, 3]
    await desk.end([rows[n] for n in (9, 0, 1)])
    await until(lambda: reader.has(5))
    assert not reader.over.done()
    await desk.end([rows[n] for n in (2, 4, 5, 6, 8)])
    await reader.over
    assert sorted(reader.indices) == list(range(10))
    assert [o.result.data for o in reader.read if o.result] == [
        str(index).encode() for index in reader.indices
    ]


async def test_in_order_an_outcome_waits_for_all_before_it(desk: Desk) -> None:
    batch = await desk.send([{"n": n} for n in range(6)])
    rows = await desk.items(batch)
    reader = Reader(BatchResults(desk.ledger, batch.id).in_order())
    await desk.end([rows[n] for n in (0, 1, 4)])
    await until(lambda: reader.has(2))
    assert reader.indices == [0, 1]
    await desk.end([rows[n] for n in (2, 3)])
    await until(lambda: reader.has(5))
    await desk.end([rows[5]])
    await reader.over
    assert reader.indices == list(range(6))


async def test_what_there_is_now_is_told_without_waiting(desk: Desk) -> None:
    batch = await desk.send([{"n": n} for n in range(6)])
    rows = await desk.items(batch)
    results = BatchResults(desk.ledger, batch.id)
    assert await now(results.as_they_end(wait=False)) == []
    await desk.end([rows[n] for n in (4, 1)])
    assert await now(results.as_they_end(wait=False)) == [4, 1]
    assert await now(results.in_order(wait=False)) == [1, 4]
    assert await now(results.as_they_end(1, wait=False)) == [4]
    assert await now(results.in_order(1, wait=False)) == [4]


async def test_one_who_comes_late_or_again_is_told_all(desk: Desk) -> None:
    batch = await desk.send([{"n": n} for n in range(6)])
    await desk.end(reversed(await desk.items(batch)))
    results = BatchResults(desk.ledger, batch.id)
    for _ in range(2):
        assert await now(results.as_they_end()) == [5, 4, 3, 2, 1, 0]
        assert await now(results.in_order()) == [0, 1, 2, 3, 4, 5]
        assert await now(results.in_order(3)) == [4, 5]


async def test_every_end_is_told_with_its_error(desk: Desk) -> None:
    batch = await desk.send([{"n": n} for n in range(5)])
    rows = await desk.items(batch)
    ends = [Status.SUCCEEDED, Status.FAILED, Status.TIMED_OUT, Status.CANCELLED, Status.DEAD]
    for row, status in zip(rows, ends, strict=True):
        row.error = None if status is Status.SUCCEEDED else Failure("Type", f"was {status}")
        await desk.end([row], status)
    reader = Reader(BatchResults(desk.ledger, batch.id).in_order())
    await reader.over
    assert [outcome.status for outcome in reader.read] == ends
    assert [o.error.message for o in reader.read if o.error] == [f"was {s}" for s in ends[1:]]


async def test_outcomes_whose_record_was_purged_are_not_waited_for(desk: Desk) -> None:
    batch = await desk.send([{"n": n} for n in range(4)])
    rows = await desk.items(batch)
    await desk.end(rows)
    await desk.ledger.retention.purge_among([rows[0].id, rows[2].id])
    assert await now(BatchResults(desk.ledger, batch.id).as_they_end()) == [1, 3]
    assert await now(BatchResults(desk.ledger, batch.id).in_order()) == [1, 3]


async def test_nothing_is_over_while_a_batch_comes_in(desk: Desk) -> None:
    batch = Batch("coming", "square", "auto", time.time())
    await desk.ledger.add_batch(batch)
    reader = Reader(BatchResults(desk.ledger, batch.id).as_they_end())
    ordered = Reader(BatchResults(desk.ledger, batch.id).in_order())
    await desk.ledger.set_batch_state(batch.id, BatchState.CANCELLED)
    await asyncio.gather(reader.over, ordered.over)
    assert reader.read == ordered.read == []


@pytest.mark.parametrize("how", ["as_they_end", "in_order"])
async def test_a_reader_is_told_that_not_all_came(desk: Desk, how: str) -> None:
    batch = await desk.send([{"n": 1}])
    draining = False
    results = BatchResults(desk.ledger, batch.id, lambda: draining)
    reader = Reader(getattr(results, how)())
    await asyncio.sleep(0)
    draining = True
    with pytest.raises(Unavailable, match="shutting down"):
        await reader.over
    gone = Reader(getattr(BatchResults(desk.ledger, "none"), how)())
    with pytest.raises(Unavailable, match="never accepted"):
        await gone.over


@PROPERTY
@given(st.permutations(range(12)), st.lists(st.integers(1, 4), min_size=12, max_size=12))
async def test_none_is_told_twice_and_none_is_missing_in_whatever_order_they_end(
    place: Place, order: list[int], together: list[int]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PAGE", 3)
        patch.setattr(module, "LEAST", 2)
        patch.setattr(module, "MOST", 2)
        patch.setattr(module, "FIRST_PAUSE", 0.001)
        patch.setattr(module, "LAST_PAUSE", 0.002)
        patch.setattr(module, "SHARE", 0)
        async with place.emptied() as ledger, desk_of(ledger) as desk:
            batch = await desk.send([{"n": n} for n in range(12)])
            rows = await desk.items(batch)
            results = BatchResults(ledger, batch.id)
            readers = [
                Reader(results.as_they_end()),
                Reader(results.in_order()),
                Reader(results.as_they_end(4)),
            ]
            for count in together:
                some, order = order[:count], order[count:]
                await desk.end([rows[n] for n in some])
                await asyncio.sleep(0.001)
            await asyncio.gather(*(reader.over for reader in readers))
            assert sorted(readers[0].indices) == list(range(12))
            assert readers[1].indices == list(range(12))
            assert sorted(readers[2].indices) == list(range(5, 12))


@given(st.sets(st.integers(0, 300)), st.integers(-1, 300))
def test_what_was_told_is_remembered_in_a_bit_each(indices: set[int], after: int) -> None:
    told = _Told(after)
    for index in indices - set(range(after + 1)):
        assert index not in told
        told.add(index)
    known = indices | set(range(after + 1))
    assert {index for index in range(310) if index in told} == known
    assert told.first_missing == min(set(range(310)) - known)
    assert len(told._bits) <= 300 // 8 + 1


def test_of_large_results_fewer_are_read_at_once() -> None:
    def fitting(size: int) -> int:
        result = Part("result", "application/json", size, b"7" * size)
        return module._fitting([ItemOutcome(0, "i", Status.SUCCEEDED, 0.0, None, result)] * 10)

    assert fitting(10) == module.MOST
    assert fitting(20_000) * 20_000 <= module.AT_ONCE_BYTES < (fitting(20_000) + 1) * 20_001
    assert fitting(256 * 1024) == module.LEAST
    assert module._fitting([ItemOutcome(0, "i", Status.FAILED, 0.0, None, None)]) == module.MOST
