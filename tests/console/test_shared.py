"""Answers that many wait for are made once."""

import asyncio

import pytest

from console.shared import Shared


class Maker:
    """Makes numbers, counts how often, and waits for a signal if it was given one."""

    def __init__(self) -> None:
        self.made = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self) -> int:
        self.made += 1
        number = self.made
        await self.gate.wait()
        if number == 13:
            raise ValueError("thirteen")
        return number


async def test_those_who_ask_at_once_get_one_answer() -> None:
    shared, make = Shared[int](60.0), Maker()
    assert await asyncio.gather(*(shared.get("a", make) for _ in range(50))) == [1] * 50
    assert make.made == 1


async def test_each_key_has_an_answer_of_its_own() -> None:
    shared, make = Shared[int](60.0), Maker()
    assert [await shared.get(key, make) for key in "aba"] == [1, 2, 1]


async def test_a_stale_answer_is_made_anew() -> None:
    shared, make = Shared[int](-1.0), Maker()
    assert [await shared.get("a", make) for _ in range(3)] == [1, 2, 3]


async def test_a_failure_is_told_and_not_kept() -> None:
    shared, make = Shared[int](60.0), Maker()
    make.made = 12
    with pytest.raises(ValueError, match="thirteen"):
        await shared.get("a", make)
    assert await shared.get("a", make) == 14


async def test_one_who_goes_away_does_not_take_the_answer_from_the_others() -> None:
    shared, make = Shared[int](60.0), Maker()
    make.gate.clear()
    first = asyncio.create_task(shared.get("a", make))
    second = asyncio.create_task(shared.get("a", make))
    await asyncio.sleep(0)
    first.cancel()
    make.gate.set()
    assert await second == 1
