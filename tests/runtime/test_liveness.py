"""Whether a broker loop turns, told by a bus that does what a test says."""

import asyncio
from dataclasses import dataclass, field
from typing import cast

import pytest

from runtime.bus import Bus, Consumption
from runtime.errors import Unavailable
from runtime.liveness import STALE, Liveness, not_consuming

OPEN = Consumption(open=True, mending=False, hungry=True, taken=0)
QUEUE = "matmul.gpu"


@dataclass
class ScriptedBus:
    """A bus as a role sees it: what it says of itself is what a test sets."""

    connected: bool = True
    mending: bool = True
    received: int = 1
    notices_silence: bool = True
    waiting: int = 0  # ready messages; below 0, the queue is gone, or the broker
    going: Consumption = OPEN
    answers: asyncio.Event = field(default_factory=asyncio.Event)

    def consumption(self, queue: str) -> Consumption:
        return self.going

    async def ready(self, queue: str) -> int:
        await self.answers.wait()
        if self.waiting == -1:
            raise KeyError(queue)
        if self.waiting == -2:
            raise Unavailable("RabbitMQ is away", 1)
        return self.waiting


class Rig:
    def __init__(self) -> None:
        self.now = 100.0
        self.bus = ScriptedBus()
        self.bus.answers.set()
        self.liveness = Liveness(
            cast(Bus, self.bus), lambda: [QUEUE], every=0.005, clock=lambda: self.now
        )

    async def turns(self) -> bool:
        """Whether a look counts as a turn."""
        self.now += 1
        before = self.now
        await self.liveness.look()
        self.now += 1
        return self.liveness.age < self.now - before + 0.5


@pytest.fixture
async def rig() -> Rig:
    return Rig()


async def test_a_consumer_with_nothing_to_take_turns(rig: Rig) -> None:
    assert await rig.turns()
    assert rig.liveness.fault() is None


@pytest.mark.parametrize(
    "away",
    [
        {"connected": False},
        {"waiting": -1},
        {"waiting": -2},
        {"going": Consumption(False, True, False, 0)},
    ],
)
async def test_what_the_broker_lacks_and_is_being_mended_counts_as_a_turn(
    rig: Rig, away: dict[str, object]
) -> None:
    """Liveness must not restart workers because the broker is away."""
    for name, value in away.items():
        setattr(rig.bus, name, value)
    assert await rig.turns()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"connected": False, "mending": False}, "nobody makes another"),
        ({"going": Consumption(False, False, False, 0)}, "is not consumed, and nobody mends that"),
        ({"waiting": 3}, "has 3 messages ready, and this process is given none"),
    ],
)
async def test_what_only_a_restart_mends_is_a_fault_after_a_while(
    rig: Rig, wrong: dict[str, object], said: str
) -> None:
    assert await rig.turns()
    for name, value in wrong.items():
        setattr(rig.bus, name, value)
    assert not await rig.turns()
    assert rig.liveness.fault() is None, "a moment is no fault"
    rig.now += STALE
    fault = rig.liveness.fault()
    assert fault and said in fault


@pytest.mark.parametrize(
    "going", [Consumption(True, False, False, 5), Consumption(True, False, True, 6)]
)
async def test_one_that_has_its_hands_full_or_was_just_given_some_turns(
    rig: Rig, going: Consumption
) -> None:
    """The first cannot take what is ready; the second takes while it is looked at."""
    rig.bus.waiting = 9
    rig.bus.going = going
    if going.hungry:
        kept, given = rig.bus.ready, iter((7,))

        async def ready(queue: str) -> int:
            rig.bus.going = Consumption(True, False, True, next(given))
            return await kept(queue)

        rig.bus.ready = ready  # type: ignore[method-assign]
    assert await rig.turns()


async def test_that_deliveries_came_is_noted_with_its_time(rig: Rig) -> None:
    assert rig.liveness.consumed_at is None
    await rig.turns()
    assert rig.liveness.consumed_at is None
    rig.bus.going = Consumption(True, False, True, 1)
    await rig.turns()
    first = rig.liveness.consumed_at
    assert first
    await rig.turns()
    assert rig.liveness.consumed_at == first


async def looked_at_while_it_hangs(rig: Rig, seconds: float) -> float:
    """How old the last turn is after a broker has not answered for so long."""
    assert await rig.turns()
    rig.bus.answers.clear()
    looking = asyncio.create_task(rig.liveness.look())
    await asyncio.sleep(0)
    for _ in range(5):
        rig.now += seconds / 5
        await asyncio.sleep(0.01)
    age = rig.liveness.age
    rig.bus.answers.set()
    await looking
    return age


async def test_a_connection_on_which_nothing_comes_is_left_to_its_heartbeats(rig: Rig) -> None:
    assert await looked_at_while_it_hangs(rig, 40) < STALE


async def test_without_heartbeats_silence_is_a_fault(rig: Rig) -> None:
    rig.bus.notices_silence = False
    assert await looked_at_while_it_hangs(rig, 40) > STALE


async def test_a_broker_that_beats_and_never_answers_is_a_fault(rig: Rig) -> None:
    assert await rig.turns()
    rig.bus.answers.clear()
    looking = asyncio.create_task(rig.liveness.look())
    await asyncio.sleep(0)
    rig.bus.received += 8  # a heartbeat
    rig.now += STALE
    await asyncio.sleep(0.02)
    fault = rig.liveness.fault()
    assert fault and "does not answer" in fault
    rig.bus.answers.set()
    await looking
    assert rig.liveness.fault() is None


async def test_why_nothing_is_taken_is_told(rig: Rig) -> None:
    bus = cast(Bus, rig.bus)
    assert not_consuming(bus, [QUEUE]) is None
    rig.bus.going = Consumption(False, True, False, 0)
    assert not_consuming(bus, [QUEUE]) == "queue=matmul.gpu is not consumed"
    rig.bus.connected = False
    assert not_consuming(bus, [QUEUE]) == "the broker is away"
