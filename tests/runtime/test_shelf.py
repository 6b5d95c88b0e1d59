"""What is read again of rollups, and what is not, in each database that a ledger may lie in."""

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.errors import Unavailable
from runtime.ledger import Ledger
from runtime.pages import Pages
from runtime.rollup import Bucket, Cell, bucket_start
from runtime.shelf import LATE, WHOLE, Shelf
from tests.places import Place

NOW = 1_800_000_000
ONE = Cell({"succeeded": 1})


@dataclass
class Spy:
    """Pages of a ledger, and which of them were asked for."""

    pages: Pages
    asked: list[tuple[int, int]] = field(default_factory=list)
    away: bool = False

    async def read(self, width: int, start: int, until: int) -> list[tuple[Bucket, str, str]]:
        if self.away:
            raise Unavailable("the ledger is away", 1)
        self.asked.append((start - NOW, until - NOW))
        return await self.pages.read(width, start, until)


@pytest.fixture
def spy(ledger: Ledger) -> Spy:
    return Spy(ledger.pages)


@pytest.fixture
def shelf(spy: Spy) -> Shelf:
    return Shelf(spy, 5)  # type: ignore[arg-type]


def at(seconds: int, function: str = "noop") -> Bucket:
    return Bucket(5, NOW + seconds, function, "cpu")


def told(shelf: Shelf, count: int = 4) -> dict[str, list[int | None]]:
    """How many succeeded in the last buckets, by function."""
    found = shelf.cells(NOW + 5 - 5 * count, count)
    return {
        function: [None if cell is None else cell.statuses["succeeded"] for cell in cells]
        for (function, _), cells in found.items()
    }


async def test_buckets_of_every_writer_add_up_and_empty_ones_are_none(
    ledger: Ledger, shelf: Shelf
) -> None:
    await ledger.pages.write({at(0): ONE, at(-10): ONE, at(-5, "other"): ONE})
    await ledger.gauges.write({at(0): ONE + Cell(ready=3)})
    await shelf.refresh(NOW - 15, NOW + 5, NOW)
    assert told(shelf) == {"noop": [None, 1, None, 2], "other": [None, None, 1, None]}
    assert shelf.cells(NOW, 1)["noop", "cpu"] == [Cell({"succeeded": 2}, ready=3)]


async def test_only_the_latest_buckets_are_read_again(
    ledger: Ledger, spy: Spy, shelf: Shelf
) -> None:
    await shelf.refresh(NOW - 295, NOW + 5, NOW)
    await ledger.pages.write({at(0): ONE})
    await shelf.refresh(NOW - 295, NOW + 5, NOW + 1)
    assert spy.asked == [(-295, 5), (bucket_start(1 - LATE, 5), 5)]
    assert told(shelf, 1) == {"noop": [1]}


async def test_what_came_while_nobody_looked_is_read_then(ledger: Ledger, shelf: Shelf) -> None:
    await shelf.refresh(NOW - 295, NOW + 5, NOW)
    await ledger.pages.write({at(5): ONE, at(25): ONE})
    await shelf.refresh(NOW - 265, NOW + 30, NOW + 28)
    assert [cell is not None for cell in shelf.cells(NOW, 6)["noop", "cpu"]] == [
        False,
        True,
        False,
        False,
        False,
        True,
    ]


async def test_what_comes_late_is_found_when_all_is_read_again(
    ledger: Ledger, spy: Spy, shelf: Shelf
) -> None:
    await shelf.refresh(NOW - 295, NOW + 5, NOW)
    await ledger.pages.write({at(-200): ONE})
    await shelf.refresh(NOW - 295, NOW + 5, NOW + WHOLE - 1)
    assert told(shelf, 60) == {}
    await shelf.refresh(NOW - 295, NOW + 5, NOW + WHOLE)
    assert told(shelf, 60)["noop"].count(1) == 1


async def test_a_longer_window_reads_what_a_shorter_one_did_not(
    ledger: Ledger, shelf: Shelf
) -> None:
    await ledger.pages.write({at(-500): ONE, at(0): ONE})
    await shelf.refresh(NOW - 295, NOW + 5, NOW)
    assert told(shelf, 60)["noop"].count(1) == 1
    await shelf.refresh(NOW - 595, NOW + 5, NOW)
    assert told(shelf, 120)["noop"].count(1) == 2


async def test_a_ledger_that_was_away_is_read_from_where_it_was(
    ledger: Ledger, spy: Spy, shelf: Shelf
) -> None:
    spy.away = True
    with pytest.raises(Unavailable):
        await shelf.refresh(NOW - 15, NOW + 5, NOW)
    await ledger.pages.write({at(-15): ONE})
    spy.away = False
    await shelf.refresh(NOW - 15, NOW + 5, NOW + 1)
    assert told(shelf) == {"noop": [1, None, None, None]}


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),  # seconds until it happens
            st.integers(0, int(LATE) - 5),  # how late it is told
            st.sampled_from(["noop", "other"]),
        ),
        max_size=15,
    )
)
async def test_what_is_on_the_shelf_is_always_what_reading_all_of_it_gives(
    place: Place, events: list[tuple[int, int, str]]
) -> None:
    async with place.emptied() as ledger:
        kept = Shelf(ledger.pages, 5)
        now = NOW
        for wait, late, function in events:
            now += wait
            bucket = Bucket(5, bucket_start(now - late, 5), function, "cpu")
            await ledger.pages.write({bucket: ONE})
            until = bucket_start(now, 5) + 5
            fresh = Shelf(ledger.pages, 5)
            for shelf in (kept, fresh):
                await shelf.refresh(until - 50, until, now)
            assert kept.cells(until - 50, 10) == fresh.cells(until - 50, 10)


async def test_several_may_refresh_it_at_once(ledger: Ledger, shelf: Shelf) -> None:
    await ledger.pages.write({at(-5 * n): ONE for n in range(100)})
    await asyncio.gather(*(shelf.refresh(NOW - 5 * n, NOW + 5, NOW) for n in (99, 10, 50, 99)))
    await shelf.refresh(NOW - 495, NOW + 5, NOW)
    assert told(shelf, 100) == {"noop": [1] * 100}
