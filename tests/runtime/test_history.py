"""Windows of the past, in each database that a ledger may lie in."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import Unavailable
from runtime.history import FRESH, MOST_BUCKETS, History, _cut
from runtime.ledger import Ledger, ScalingDecision
from runtime.rollup import WIDTHS, Bucket, Cell
from tests.places import Place
from tests.runtime.lives import FakeFleet, life

NOW = 1_800_000_000.0
ONE = Cell({"succeeded": 1})


class Clock:
    """What the time is, for those who ask it."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fleet() -> FakeFleet:
    return FakeFleet()


@pytest.fixture
def history(ledger: Ledger, fleet: FakeFleet, clock: Clock) -> History:
    return History(ledger, fleet, clock=clock)


def noop(width: int, at: float) -> Bucket:
    return Bucket(width, int(at), "noop", "cpu")


@pytest.mark.parametrize(
    ("seconds", "cut"),
    [
        (0.0, (5, 1)),
        (300.0, (5, 60)),
        (301.0, (5, 61)),
        (1200.0, (5, 240)),
        (1201.0, (60, 21)),
        (3600.0, (60, 60)),
        (18_000.0, (60, 300)),
        (18_001.0, (600, 31)),
        (86_400.0, (600, 144)),
        (7 * 86_400.0, (600, 300)),
    ],
)
def test_a_window_is_cut_into_no_more_than_a_chart_can_show(
    seconds: float, cut: tuple[int, int]
) -> None:
    assert _cut(seconds) == cut


@given(st.floats(allow_nan=False))
def test_a_window_always_has_at_least_one_bucket_and_never_too_many(seconds: float) -> None:
    width, count = _cut(seconds)
    assert width in WIDTHS
    assert 1 <= count <= MOST_BUCKETS


async def test_a_window_ends_with_the_bucket_that_is_now_and_begins_with_a_whole_one(
    ledger: Ledger, history: History, clock: Clock
) -> None:
    clock.now = NOW + 4.9
    inside = {noop(5, NOW): ONE, noop(5, NOW - 295): ONE + ONE}
    await ledger.pages.write(inside | {noop(5, NOW - 300): ONE, noop(5, NOW + 5): ONE})
    window = await history.window(300)
    assert (window.start, window.width, window.count) == (NOW - 295, 5, 60)
    assert window.cells == {("noop", "cpu"): [ONE + ONE, *([None] * 58), ONE]}


@pytest.mark.parametrize(("seconds", "width"), [(300, 5), (3600, 60), (86_400, 600)])
async def test_each_window_shows_the_rollups_of_its_width(
    ledger: Ledger, history: History, seconds: float, width: int
) -> None:
    cells = {
        Bucket(each, int(NOW // each) * each, "noop", "cpu"): Cell(ready=each) for each in WIDTHS
    }
    await ledger.gauges.write(cells)
    window = await history.window(seconds)
    assert window.start + window.width * window.count > NOW
    assert window.cells["noop", "cpu"][-1] == Cell(ready=width)


async def test_gauges_that_are_not_written_yet_are_in_the_window(
    ledger: Ledger, fleet: FakeFleet, clock: Clock
) -> None:
    held = {
        noop(5, NOW): Cell(ready=5),
        noop(60, NOW): Cell(ready=60),
        noop(5, NOW - 5000): Cell(ready=1),
        Bucket(5, int(NOW), "other", "gpu"): Cell(busy=1),
    }
    await ledger.pages.write({noop(5, NOW): ONE})
    window = await History(ledger, fleet, lambda: held, clock).window(10)
    assert window.cells == {
        ("noop", "cpu"): [None, ONE + Cell(ready=5)],
        ("other", "gpu"): [None, Cell(busy=1)],
    }


async def test_everybody_who_asks_within_a_second_gets_the_same_window(
    ledger: Ledger, history: History, clock: Clock
) -> None:
    first, second = await asyncio.gather(history.window(300), history.window(300))
    assert first is second
    await ledger.pages.write({noop(5, NOW): ONE})
    clock.now += FRESH - 0.01
    assert await history.window(300) is first
    assert await history.window(600) is not first
    clock.now += 0.02
    assert (await history.window(300)).cells["noop", "cpu"][-1] == ONE


async def test_a_caller_who_gives_up_takes_the_window_from_nobody(history: History) -> None:
    impatient = asyncio.create_task(history.window(300))
    patient = asyncio.create_task(history.window(300))
    await asyncio.sleep(0)
    impatient.cancel()
    assert (await patient).count == 60


async def test_a_ledger_that_cannot_be_read_is_asked_again_at_once(
    history: History, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise Unavailable("the ledger is away", 1)

    with monkeypatch.context() as patch:
        patch.setattr(ledger.pages, "read", away)
        with pytest.raises(Unavailable):
            await history.window(300)
    assert (await history.window(300)).count == 60


async def test_decisions_within_the_window_are_told_oldest_first(
    ledger: Ledger, history: History, clock: Clock
) -> None:
    def decision(at: float) -> ScalingDecision:
        return ScalingDecision(at, "noop", "cpu", 0, 1, "1 waits", 1)

    for at in (NOW - 4000, NOW - 299, NOW - 200, NOW):
        await ledger.record_decision(decision(at))
    window = await history.window(300)
    assert window.decisions == [decision(NOW - 200), decision(NOW)]  # the first bucket is -295
    await ledger.record_decision(decision(NOW + 1))
    clock.now += 2
    assert (await history.window(300)).decisions[-1] == decision(NOW + 1)
    assert (await history.window(5000)).decisions[0] == decision(NOW - 4000)


async def test_a_decision_that_was_numbered_before_but_committed_after_is_told(
    ledger: Ledger, history: History, clock: Clock, place: Place
) -> None:
    one = ScalingDecision(NOW, "noop", "cpu", 0, 1, "1 waits", 1)
    for _ in range(3):
        await ledger.record_decision(one)
    query = "SELECT number FROM decisions ORDER BY number LIMIT 1 OFFSET 1"
    ((second,),) = await asyncio.to_thread(place.ask, query)
    await place.do(f"DELETE FROM decisions WHERE number = {second}")
    assert len((await history.window(300)).decisions) == 2
    await place.do(
        "INSERT INTO decisions (number, at, function, device, before, after, reason, backlog)"
        f" VALUES ({second}, {NOW}, 'noop', 'cpu', 0, 1, '1 waits', 1)"
    )
    clock.now += 2
    assert (await history.window(300)).decisions == [one] * 3


async def test_replicas_are_those_of_now_and_of_before_newest_first(
    ledger: Ledger, history: History, fleet: FakeFleet
) -> None:
    ended = life("ended", state="ended", ended_at=NOW - 50, spawned_at=NOW - 90)
    lost = life("lost", spawned_at=NOW - 80)
    known = life("known", spawned_at=NOW - 70)
    await ledger.replicas.keep([ended, lost, known], now=NOW - 40)
    fleet.living = [
        replace(known, served=99),
        life("new", spawned_at=NOW - 10),
        life("over", state="ended", ended_at=NOW - 60, spawned_at=NOW - 61),
    ]
    found = await history.replicas(NOW - 55)
    assert [(each.name, each.state) for each in found] == [
        ("new", "ready"),
        ("known", "ready"),
        ("lost", "ended"),
        ("ended", "ended"),
    ]
    assert found[1].served == 99
