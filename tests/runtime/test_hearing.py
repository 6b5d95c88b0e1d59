"""Listening to other workers for a while, and no longer than is needed."""

import asyncio
from dataclasses import dataclass, field
from typing import cast

import pytest

from runtime.bus import Bus
from runtime.hearing import ENOUGH, Hearings
from runtime.pool import Pool
from runtime.quarantine import Quarantine
from runtime.roster import told
from runtime.workers import LIVES
from tests.runtime.lives import life


@dataclass
class ListeningBus:
    patterns: set[str] = field(default_factory=set)

    async def subscribe(self, pattern: str) -> None:
        self.patterns.add(pattern)

    async def unsubscribe(self, pattern: str) -> None:
        self.patterns.discard(pattern)


@dataclass(eq=False)
class DoubtfulPool:
    """The pool of `noop` on the CPU, as far as hearings know one."""

    queue: str = "noop.cpu"
    device: str = "cpu"
    quarantine: Quarantine = field(default_factory=Quarantine)
    judged: int = 0
    knew: int = 0  # witnesses at the latest judgement

    @property
    def spec(self) -> "DoubtfulPool":
        return self

    @property
    def name(self) -> str:
        return self.queue.partition(".")[0]

    def judge(self) -> None:
        self.judged += 1
        self.knew = len(self.quarantine.heard)


class Rig:
    def __init__(self) -> None:
        self.bus = ListeningBus()
        self.now = 0.0
        self.pool = DoubtfulPool()
        self.hearings = Hearings(
            cast(Bus, self.bus), "own", pause=30, listen=5, clock=lambda: self.now
        )

    def begin(self, pool: DoubtfulPool | None = None) -> asyncio.Task[None] | None:
        hearing = self.hearings.open(cast(Pool, pool or self.pool))
        return asyncio.create_task(hearing) if hearing else None

    def say(self, worker: str, *names: str, function: str = "noop") -> None:
        lives = [life(name, worker=worker, function=function) for name in names]
        self.hearings.heard(f"{LIVES}{worker}", told(lives))


@pytest.fixture
async def rig() -> Rig:
    return Rig()


async def test_it_listens_and_the_pool_judges_by_what_it_hears_of_its_function(rig: Rig) -> None:
    hearing = rig.begin()
    assert hearing
    await asyncio.sleep(0)
    assert rig.bus.patterns == {f"{LIVES}*"}
    rig.say("one", "noop-cpu-1", "noop-cpu-2")
    rig.say("two", "noop-cpu-1")  # names are a worker's own
    rig.say("three", "other-cpu-1", function="other")
    rig.say("own", "noop-cpu-9")
    rig.hearings.heard(f"{LIVES}four", b"[{}]")
    assert (rig.pool.judged, rig.pool.knew) == (3, 3)
    hearing.cancel()


async def test_nobody_listens_who_is_in_no_doubt(rig: Rig) -> None:
    rig.say("one", "noop-cpu-1")
    assert rig.pool.judged == 0
    assert not rig.bus.patterns


async def test_enough_witnesses_end_it_and_the_next_is_a_while_later(rig: Rig) -> None:
    hearing = rig.begin()
    assert hearing
    await asyncio.sleep(0)
    assert rig.begin() is None, "two at once"
    rig.say("one", *(f"noop-cpu-{n}" for n in range(ENOUGH)))
    await asyncio.wait_for(hearing, 5)
    assert not rig.bus.patterns
    assert not rig.pool.quarantine.heard, "what was heard grows old"
    assert rig.begin() is None
    rig.now += 31
    again = rig.begin()
    assert again
    again.cancel()


async def test_two_pools_in_doubt_listen_until_the_last_is_done(rig: Rig) -> None:
    other = DoubtfulPool("other.cpu")
    hearings = [rig.begin(), rig.begin(other)]
    assert all(hearings)
    await asyncio.sleep(0)
    rig.say("one", *(f"other-cpu-{n}" for n in range(ENOUGH)), function="other")
    assert hearings[0] and hearings[1]
    await asyncio.wait_for(hearings[1], 5)
    assert rig.bus.patterns
    rig.say("one", *(f"noop-cpu-{n}" for n in range(ENOUGH)))
    await asyncio.wait_for(hearings[0], 5)
    assert not rig.bus.patterns
