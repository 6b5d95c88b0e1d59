"""One instant for a turn of the loop."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from loadtest.turn import Turn


async def turns(busy: float) -> tuple[list[float], float]:
    """The instants of what came in one turn, with work in between, and that of a later one."""
    loop = asyncio.get_running_loop()
    turn = Turn(loop)
    found: list[float] = []
    done = asyncio.Event()

    def came() -> None:
        found.append(turn.began())
        time.sleep(busy)

    for _ in range(3):
        loop.call_soon(came)
    loop.call_soon(done.set)
    await done.wait()
    await asyncio.sleep(0.001)
    return found, turn.began()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_what_comes_in_one_turn_came_at_one_instant_and_what_comes_later_did_not(
    run: Callable[[Coroutine[Any, Any, tuple[list[float], float]]], tuple[list[float], float]],
) -> None:
    (first, second, third), later = run(turns(busy=0.002))
    assert first == second == third
    assert later >= first + 3 * 0.002
