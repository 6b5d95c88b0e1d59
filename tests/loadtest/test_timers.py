"""Callbacks at their instants."""

import asyncio
import itertools
import time

import pytest

from loadtest import timers as module
from loadtest.timers import AT_ONCE, Timers


@pytest.fixture(params=["exact", "of the loop"])
def rough(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the system's timers, and without."""
    if request.param == "of the loop":
        monkeypatch.setattr(module, "_timer_file", lambda: -1)


@pytest.mark.usefixtures("rough")
async def test_callbacks_come_in_the_order_of_their_instants_and_never_early() -> None:
    timers, done = Timers(), asyncio.Event()
    called: list[tuple[float, float]] = []
    began = time.monotonic()

    def note(at: float) -> None:
        called.append((at, time.monotonic()))
        if len(called) == 6:
            done.set()

    for after in (0.03, 0.01, 0.02, -1.0, 0.01, 0.0):
        instant = began + after
        timers.at(instant, lambda at=instant: note(at))  # type: ignore[misc]
    await asyncio.wait_for(done.wait(), 10)
    timers.close()
    instants = [at for at, _ in called]
    assert instants == sorted(instants)
    slack = 0.0 if timers.exact else 0.002  # the loop's clock counts milliseconds
    assert all(came >= at - slack for at, came in called)


@pytest.mark.usefixtures("rough")
async def test_a_callback_may_set_the_next() -> None:
    timers, done = Timers(), asyncio.Event()
    left = 200

    def again() -> None:
        nonlocal left
        left -= 1
        if left:
            timers.at(time.monotonic(), again)
        else:
            done.set()

    timers.at(time.monotonic() + 0.001, again)
    await asyncio.wait_for(done.wait(), 10)
    timers.close()


async def test_many_at_once_let_the_loop_do_other_things() -> None:
    timers, done = Timers(), asyncio.Event()
    turns: list[int] = []
    count = 0

    def one() -> None:
        nonlocal count
        count += 1
        if count == 10 * AT_ONCE:
            done.set()

    def turn() -> None:
        turns.append(count)
        if not done.is_set():
            asyncio.get_running_loop().call_soon(turn)

    now = time.monotonic()
    for _ in range(10 * AT_ONCE):
        timers.at(now, one)
    turn()
    await asyncio.wait_for(done.wait(), 10)
    timers.close()
    assert max(b - a for a, b in itertools.pairwise(turns)) <= AT_ONCE


async def test_closed_timers_call_nobody() -> None:
    timers = Timers()
    called: list[int] = []
    timers.at(time.monotonic() + 0.01, lambda: called.append(1))
    timers.close()
    timers.close()
    await asyncio.sleep(0.03)
    assert not called
