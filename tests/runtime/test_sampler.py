"""The sampler, on a fleet that a test makes and real ledgers."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

import pytest

from runtime import sampler as module
from runtime.errors import Unavailable
from runtime.function import describe, function
from runtime.ledger import Ledger
from runtime.model import Depth, PoolState, ReplicaCounts
from runtime.rollup import WIDTHS, Bucket, Cell
from runtime.sampler import HELD, TELL_EVERY, Sampler
from tests.places import Place
from tests.runtime.lives import FakeFleet, life


@function(devices=("cpu", "gpu"))
def noop() -> None:
    """Nothing."""


SPEC = describe(noop, file=__file__, attribute="noop")
NOW = 1_800_000_000
EVER = 2**60


class Clock:
    """What the time is, for those who ask it."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fleet() -> FakeFleet:
    return FakeFleet()


@pytest.fixture
def sampler(ledger: Ledger, fleet: FakeFleet, clock: Clock) -> Sampler:
    return Sampler(ledger, fleet, lambda: [SPEC], clock)


async def gauges(ledger: Ledger, width: int = 5) -> dict[int, Cell]:
    """What is written of noop.cpu, by seconds since NOW."""
    found = await ledger.pages.read(width, 0, EVER)
    return {
        bucket.at - NOW: Cell.of(text)
        for bucket, _, text in found
        if (bucket.function, bucket.device) == ("noop", "cpu")
    }


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_the_most_there_was_is_kept_in_every_width(
    ledger: Ledger, sampler: Sampler, fleet: FakeFleet, clock: Clock
) -> None:
    for ready, busy in ((3, 1), (9, 2), (4, 7)):
        fleet.depths = {"noop.cpu": Depth(ready, unacknowledged=1, dead=2)}
        counts = ReplicaCounts(starting=1, ready=5, busy=busy, draining=6)
        fleet.states = {"cpu": PoolState(counts, most=20)}
        sampler.look()
        clock.now += 1
    await sampler.write()
    most = Cell(ready=9, unacknowledged=1, dead=2, starting=1, idle=5, busy=7, draining=6)
    for width in WIDTHS:
        assert await gauges(ledger, width) == {0: most}


async def test_each_bucket_has_its_own_most(
    ledger: Ledger, sampler: Sampler, fleet: FakeFleet, clock: Clock
) -> None:
    for second in range(12):
        fleet.depths = {"noop.cpu": Depth(ready=12 - second)}
        sampler.look()
        if second == 6:
            await sampler.write()
        clock.now += 1
    await sampler.write()
    found = await gauges(ledger)
    assert {at: cell.ready for at, cell in found.items()} == {0: 12, 5: 7, 10: 2}
    assert [cell.ready for cell in (await gauges(ledger, 60)).values()] == [12]


async def test_where_there_is_nothing_nothing_is_written(
    ledger: Ledger, sampler: Sampler, fleet: FakeFleet
) -> None:
    fleet.states = {"cpu": PoolState(ReplicaCounts(), most=2)}
    sampler.look()
    await sampler.write()
    assert await gauges(ledger) == {}
    assert sampler.latest() == {}


async def test_what_is_not_written_yet_can_be_had(sampler: Sampler, fleet: FakeFleet) -> None:
    fleet.depths = {"noop.gpu": Depth(ready=3)}
    sampler.look()
    assert sampler.latest() == {
        Bucket(width, NOW // width * width, "noop", "gpu"): Cell(ready=3) for width in WIDTHS
    }


async def test_what_was_not_written_is_written_when_the_ledger_is_back(
    ledger: Ledger, sampler: Sampler, fleet: FakeFleet, clock: Clock, place: Place
) -> None:
    await place.do("ALTER TABLE rollups RENAME TO elsewhere")
    try:
        for ready in (5, 4, 3):
            fleet.depths = {"noop.cpu": Depth(ready)}
            sampler.look()
            with pytest.raises(Unavailable):
                await sampler.write()
            clock.now += 5
    finally:
        await place.do("ALTER TABLE elsewhere RENAME TO rollups")
    await sampler.write()
    found = await gauges(ledger)
    assert {at: cell.ready for at, cell in found.items()} == {0: 5, 5: 4, 10: 3}


async def test_what_can_never_be_written_is_held_for_a_while_only(
    sampler: Sampler, fleet: FakeFleet, clock: Clock
) -> None:
    fleet.depths = {"noop.cpu": Depth(ready=1)}
    sampler.look()
    fleet.depths = {}
    clock.now += HELD + max(WIDTHS)
    sampler.look()
    assert sampler.latest() == {}


async def test_of_buckets_that_are_over_and_written_nothing_is_held(
    sampler: Sampler, fleet: FakeFleet, clock: Clock
) -> None:
    fleet.depths = {"noop.cpu": Depth(ready=1)}
    sampler.look()
    clock.now += 5
    await sampler.write()
    assert {bucket.width for bucket in sampler.latest()} == {60, 600}


async def test_two_gateways_that_look_at_the_same_tell_the_same(
    ledger: Ledger, fleet: FakeFleet, clock: Clock, place: Place
) -> None:
    other = await Ledger.open(place.url)
    fleet.depths = {"noop.cpu": Depth(ready=4)}
    for each in (ledger, other):
        sampler = Sampler(each, fleet, lambda: [SPEC], clock)
        sampler.look()
        await sampler.write()
    pages = await ledger.pages.read(5, 0, EVER)
    cells = [Cell.of(text) for _, _, text in pages]
    assert len(cells) == 2
    assert sum(cells, Cell()) == Cell(ready=4)
    await other.close()


async def test_replicas_are_written_when_they_change_and_now_and_then_while_they_live(
    ledger: Ledger, sampler: Sampler, fleet: FakeFleet, clock: Clock, place: Place
) -> None:
    async def seen_at() -> float:
        ((at,),) = await asyncio.to_thread(place.ask, "SELECT seen_at - 1800000000 FROM replicas")
        return float(at)

    one = life(spawned_at=NOW - 10.0)
    fleet.living = [one]
    await sampler.write()
    assert await seen_at() == 0
    clock.now += 5
    await sampler.write()
    assert await seen_at() == 0
    fleet.living = [replace(one, served=2)]
    await sampler.write()
    assert await seen_at() == 5
    clock.now += TELL_EVERY
    await sampler.write()
    assert await seen_at() == 5 + TELL_EVERY
    fleet.living = [replace(one, served=2, state="ended", ended_at=clock.now)]
    for _ in range(3):
        clock.now += TELL_EVERY
        await sampler.write()
    assert await seen_at() == 5 + TELL_EVERY
    (found,) = await ledger.replicas.since(0.0, clock.now)
    assert (found.state, found.served) == ("ended", 2)


async def test_it_looks_and_writes_by_itself_and_once_more_when_it_is_closed(
    ledger: Ledger, sampler: Sampler, fleet: FakeFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(module, "WRITE_EVERY", 0.01)
    fleet.depths = {"noop.cpu": Depth(ready=1)}
    sampler.start()
    async with asyncio.timeout(20):
        while await gauges(ledger) != {0: Cell(ready=1)}:
            await asyncio.sleep(0.01)
    monkeypatch.setattr(module, "WRITE_EVERY", 600.0)
    fleet.depths = {"noop.cpu": Depth(ready=8)}
    await eventually(lambda: any(cell.ready == 8 for cell in sampler.latest().values()))
    await sampler.close()
    assert await gauges(ledger) == {0: Cell(ready=8)}


async def test_a_ledger_that_is_away_and_a_fleet_that_fails_are_told_of_once(
    ledger: Ledger,
    sampler: Sampler,
    fleet: FakeFleet,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 0.001)
    monkeypatch.setattr(module, "WRITE_EVERY", 0.001)
    caplog.set_level(logging.INFO)
    tries = {"look": 0, "write": 0}

    def fail(*_: object) -> Depth:
        tries["look"] += 1
        raise KeyError("noop.cpu")

    async def away(*_: object) -> None:
        tries["write"] += 1
        raise Unavailable("the ledger is away", 1)

    with monkeypatch.context() as patch:
        patch.setattr(fleet, "depth", fail)
        patch.setattr(ledger.replicas, "keep", away)
        sampler.start()
        await eventually(lambda: min(tries.values()) > 5)
    await eventually(lambda: len(caplog.messages) == 4)
    assert sorted(caplog.messages) == [
        "sampler: it can look again",
        "sampler: it can write again",
        "sampler: it cannot look: 'noop.cpu'",
        "sampler: it cannot write: the ledger is away",
    ]
    await sampler.close()


async def test_closing_waits_for_no_ledger_that_does_not_answer(
    ledger: Ledger, sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(module, "LAST_WRITE", 0.01)
    monkeypatch.setattr(ledger.replicas, "keep", hang)
    sampler.start()
    await sampler.close()
