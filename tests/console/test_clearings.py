"""Orders about many dead letters."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from types import SimpleNamespace
from typing import cast

import pytest

from console import clearings
from console.clearings import KEPT, MOST_OVER, NAMED, Clearings
from console.sources import Sources
from runtime.clearance import Cleared
from runtime.errors import Conflict, NotFound, Overloaded


class Desk:
    """A clearance that replays as many parts as it is let to."""

    def __init__(self, parts: int = 1, each: int = 2, fault: Exception | None = None) -> None:
        self.parts, self.each, self.fault = parts, each, fault
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked: list[tuple[str, str, list[str] | None]] = []

    async def _told(self) -> AsyncIterator[list[Cleared]]:
        for part in range(self.parts):
            await self.gate.wait()
            yield [Cleared(f"{part}-{n}", f"new-{part}-{n}") for n in range(self.each)]
        if self.fault:
            raise self.fault

    def replay(
        self, function: str, ids: Iterable[str], asked: str | None
    ) -> AsyncIterator[list[Cleared]]:
        self.asked.append(("replay", function, list(ids)))
        return self._told()

    def replay_all(self, function: str, asked: str | None) -> AsyncIterator[list[Cleared]]:
        self.asked.append(("replay", function, None))
        return self._told()

    def discard(self, function: str, ids: Iterable[str]) -> AsyncIterator[list[Cleared]]:
        self.asked.append(("discard", function, list(ids)))
        return self._kept()

    async def _kept(self) -> AsyncIterator[list[Cleared]]:
        yield [Cleared("a", None, "there is no such letter"), Cleared("b")]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def orders(desk: Desk, clock: Clock | None = None) -> Clearings:
    async def function(name: str) -> None:
        if name == "gone":
            raise NotFound("there is no function 'gone'")

    sources = SimpleNamespace(clearance=desk, admission=SimpleNamespace(function=function))
    return Clearings(cast(Sources, sources), clock or Clock())


async def test_letters_of_several_functions_are_one_order() -> None:
    desk = Desk()
    told = await orders(desk).some("replayed", {"f": ["1", "2"], "g": ["3"]})
    assert desk.asked == [("replay", "f", ["1", "2"]), ("replay", "g", ["3"])]
    assert (told.done, told.kept, told.asked) == (4, 0, 3)
    assert told.made["0-1"] == "new-0-1"
    assert told.ended_at == 1000.0


async def test_what_stays_is_told_with_its_reason() -> None:
    told = await orders(Desk()).some("discarded", {"f": ["a", "b"]})
    assert (told.done, told.kept) == (1, 1)
    assert told.faults == {"a": "there is no such letter"}


async def test_an_order_that_takes_long_goes_on_and_tells_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clearings, "PATIENCE", 0.01)
    desk = Desk(parts=3)
    desk.gate.clear()
    all_orders = orders(desk)
    told = await all_orders.all("replayed", "f")
    assert told.ended_at is None
    assert all_orders.told() == [told]
    with pytest.raises(Conflict):
        await all_orders.all("replayed", "f")
    desk.gate.set()
    while told.ended_at is None:
        await asyncio.sleep(0)
    assert told.done == 6
    again = await all_orders.all("replayed", "f")
    assert again.number != told.number


async def test_an_order_that_is_stopped_finishes_what_it_has_in_hand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clearings, "PATIENCE", 0.01)
    desk = Desk(parts=100)
    desk.gate.clear()
    all_orders = orders(desk)
    told = await all_orders.all("replayed", "f")
    assert all_orders.stop(told.number) is told
    assert all_orders.stop(4711) is None
    desk.gate.set()
    while told.ended_at is None:
        await asyncio.sleep(0)
    assert told.done == 2
    assert told.stopped == "it was stopped"


async def test_why_it_went_no_further_is_told() -> None:
    told = await orders(Desk(fault=Overloaded("the queue is full", 30))).all("replayed", "f")
    assert (told.done, told.stopped) == (2, "the queue is full")


async def test_a_function_that_is_gone_is_told_at_once() -> None:
    with pytest.raises(NotFound):
        await orders(Desk()).all("replayed", "gone")


async def test_only_some_letters_are_named_and_all_are_counted() -> None:
    told = await orders(Desk(each=NAMED + 20)).all("replayed", "f")
    assert told.done == NAMED + 20
    assert len(told.made) == NAMED


async def test_orders_that_are_over_are_forgotten_the_oldest_first() -> None:
    clock = Clock()
    all_orders = orders(Desk(), clock)
    made = [await all_orders.all("replayed", f"f{n}") for n in range(MOST_OVER + 2)]
    assert all_orders.told() == made[:1:-1]
    clock.now += KEPT + 1
    assert all_orders.told() == []
