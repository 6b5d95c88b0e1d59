"""Who is told when a queue becomes active, over backlogs that a test sets."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler import activity as module
from autoscaler.activity import Activity, Trigger, read_trigger
from runtime.errors import InvalidInput, NotFound, Unavailable
from tests.autoscaler.backlogs import SetBacklogs

QUEUE = "add.cpu"
TRIGGER = Trigger(QUEUE, 2.0)
AWAY = Unavailable("the broker is away", 2)
NEVER = 3600.0  # seconds


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is told again, and nothing looks by itself, unless a test says so."""
    monkeypatch.setattr(module, "TICK", NEVER)
    monkeypatch.setattr(module, "REPEAT", NEVER)
    monkeypatch.setattr(module, "REPEAT_ASLEEP", NEVER)
    monkeypatch.setattr(module, "LOOK_EVERY", 0.005)


@pytest.fixture
def backlogs() -> SetBacklogs:
    return SetBacklogs(add__cpu=0)


@pytest.fixture
async def activity(backlogs: SetBacklogs) -> AsyncIterator[Activity]:
    activity = Activity(backlogs)
    activity.start()
    yield activity
    await activity.close()


class Ear:
    """Somebody who watches, and what was told."""

    def __init__(self, activity: Activity, trigger: Trigger = TRIGGER) -> None:
        self.told: list[bool] = []
        self._heard = asyncio.Condition()
        self.task = asyncio.create_task(self._listen(activity, trigger))

    async def _listen(self, activity: Activity, trigger: Trigger) -> None:
        async with aclosing(activity.watch(trigger)) as told:
            async for active in told:
                async with self._heard:
                    self.told.append(active)
                    self._heard.notify_all()

    async def heard(self, *told: bool) -> None:
        """Return once just this was told, since the beginning."""
        async with asyncio.timeout(10), self._heard:
            await self._heard.wait_for(lambda: len(self.told) >= len(told))
        assert self.told == [*told]

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def turns(backlogs: SetBacklogs, reads: int) -> None:
    """Return once the backlog was read so many times more."""
    wanted = backlogs.reads + reads
    async with asyncio.timeout(10):
        while backlogs.reads < wanted:
            await asyncio.sleep(0.001)


# ── what a trigger says ──────────────────────────────────────────────────────────────────────────


def test_a_trigger_is_what_its_metadata_says_and_no_field_of_kedas_own() -> None:
    assert read_trigger(
        {
            "scalerAddress": "lumbre-gateway.lumbre:6000",
            "queueName": "matmul.gpu",
            "value": "2.5",
            "activationValue": "3",
        }
    ) == Trigger("matmul.gpu", 2.5, 3.0)
    assert read_trigger({"queueName": "add.cpu", "value": "1"}).activation == 0.0
    assert Trigger("image_filter.cpu", 1).metric == "lumbre-image_filter-cpu"


@pytest.mark.parametrize(
    ("metadata", "complaint"),
    [
        ({"value": "1"}, "queueName: is missing: it names a function's queue"),
        ({"queueName": QUEUE}, 'value: is missing: it takes a number as text, such as "5"'),
        ({"queueName": QUEUE, "value": "five"}, "value: is 'five': it takes a number"),
        ({"queueName": QUEUE, "value": "nan"}, "value: is 'nan': it takes a number"),
        ({"queueName": QUEUE, "value": "inf"}, "value: is 'inf': it takes a number"),
        ({"queueName": QUEUE, "value": "0"}, "value: is 0: messages per replica must be more"),
        (
            {"queueName": QUEUE, "value": "1", "activationValue": "-1"},
            "activationValue: is -1: it must be 0 or more",
        ),
        (
            {"queueName": QUEUE, "value": "1", "activationValue": ""},
            "activationValue: is '': it takes a number",
        ),
    ],
)
def test_bad_metadata_is_refused_by_its_field(metadata: dict[str, str], complaint: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_trigger(metadata)
    assert str(refused.value).startswith(complaint)


# ── asked ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_queue_is_active_strictly_above_its_activation_value(
    activity: Activity, backlogs: SetBacklogs
) -> None:
    trigger = Trigger(QUEUE, 1.0, activation=3.0)
    for backlog, active in ((0, False), (3, False), (4, True)):
        backlogs.counts[QUEUE] = backlog
        assert await activity.is_active(trigger) is active


async def test_a_backlog_that_cannot_be_read_is_an_error(
    activity: Activity, backlogs: SetBacklogs
) -> None:
    backlogs.counts[QUEUE] = AWAY
    with pytest.raises(Unavailable, match="the broker is away"):
        await activity.backlog(TRIGGER)
    with pytest.raises(Unavailable, match="the broker is away"):
        await activity.is_active(TRIGGER)


async def test_no_functions_queue_is_refused_with_those_there_are(activity: Activity) -> None:
    complaint = "no function here has a queue sub.cpu: there are add.cpu"
    with pytest.raises(NotFound, match=complaint):
        await activity.backlog(Trigger("sub.cpu", 1))
    with pytest.raises(NotFound, match=complaint):
        await anext(activity.watch(Trigger("sub.cpu", 1)))
    assert activity.count == 0


# ── told ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("backlog", "active"), [(0, False), (1, True)])
async def test_who_watches_is_told_first_how_it_is(
    activity: Activity, backlogs: SetBacklogs, backlog: int, active: bool
) -> None:
    backlogs.counts[QUEUE] = backlog
    ear = Ear(activity)
    await ear.heard(active)
    await ear.leave()
    assert activity.count == 0


async def test_a_wake_is_told_once_its_message_is_there(
    activity: Activity, backlogs: SetBacklogs
) -> None:
    ear = Ear(activity)
    await ear.heard(False)
    activity.woken(QUEUE)  # before the publish, as gateways do it
    await turns(backlogs, 3)
    assert ear.told == [False]
    backlogs.counts[QUEUE] = 1
    await ear.heard(False, True)
    activity.woken(QUEUE)  # the next message, while replicas start: it was told
    await turns(backlogs, 1)
    await ear.leave()
    assert ear.told == [False, True]


async def test_a_wake_without_a_message_is_not_looked_after_for_ever(
    activity: Activity, backlogs: SetBacklogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COMING", 0.02)
    ear = Ear(activity)
    await ear.heard(False)
    activity.woken(QUEUE)
    await turns(backlogs, 1)
    await asyncio.sleep(0.05)
    reads = backlogs.reads
    await asyncio.sleep(0.05)
    assert backlogs.reads == reads
    await ear.leave()


async def test_a_wake_of_another_queue_is_not_looked_at(
    activity: Activity, backlogs: SetBacklogs
) -> None:
    ear = Ear(activity)
    await ear.heard(False)
    reads = backlogs.reads
    activity.woken("sub.cpu")
    await asyncio.sleep(0.02)
    assert backlogs.reads == reads
    await ear.leave()


async def test_what_stays_active_is_told_again_and_what_rests_is_not(
    activity: Activity, backlogs: SetBacklogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TICK", 0.005)
    monkeypatch.setattr(module, "REPEAT_ASLEEP", 0.01)
    ear = Ear(activity)
    await ear.heard(False)
    activity.woken(QUEUE)
    await turns(backlogs, 5)
    assert ear.told == [False]
    backlogs.counts[QUEUE] = 1
    async with asyncio.timeout(10):
        while len(ear.told) < 4:
            await asyncio.sleep(0.001)
    await ear.leave()
    assert ear.told == [False, *(True for _ in ear.told[1:])]


async def test_it_is_told_again_less_often_while_there_are_replicas(
    activity: Activity, backlogs: SetBacklogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TICK", 0.001)
    monkeypatch.setattr(module, "REPEAT_ASLEEP", 0.001)
    backlogs.awake.add(QUEUE)
    backlogs.counts[QUEUE] = 1
    ear = Ear(activity)
    await ear.heard(True)
    activity.woken(QUEUE)
    await turns(backlogs, 1)
    await ear.leave()
    assert ear.told == [True]


async def test_what_no_publish_tells_of_is_seen_and_so_is_its_end(
    backlogs: SetBacklogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TICK", 0.01)
    activity = Activity(backlogs)
    activity.start()
    ear = Ear(activity)
    await ear.heard(False)
    backlogs.counts[QUEUE] = 1  # a retry whose delay is over
    await ear.heard(False, True)
    backlogs.counts[QUEUE] = 0
    await ear.heard(False, True, False)
    await activity.close()
    await ear.task


async def test_what_was_seen_is_read_before_it_is_told(
    backlogs: SetBacklogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TICK", 0.005)
    backlogs.seen = {QUEUE: 7}  # it was, some seconds ago
    activity = Activity(backlogs)
    activity.start()
    ear = Ear(activity)
    await turns(backlogs, 5)
    assert ear.told == [False]
    await activity.close()
    await ear.task


async def test_nothing_is_told_while_the_backlog_cannot_be_read(
    backlogs: SetBacklogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TICK", 0.005)
    backlogs.counts[QUEUE] = AWAY
    activity = Activity(backlogs)
    activity.start()
    ear = Ear(activity)
    await turns(backlogs, 3)
    assert ear.told == []
    backlogs.counts[QUEUE] = 2
    await ear.heard(True)
    await activity.close()
    await ear.task


async def test_an_unreadable_backlog_is_not_read_without_a_pause(
    activity: Activity, backlogs: SetBacklogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    backlogs.counts[QUEUE] = 1
    ear = Ear(activity)
    await ear.heard(True)
    monkeypatch.setattr(module, "REPEAT_ASLEEP", 0.0)  # it is due to be told again
    backlogs.counts[QUEUE] = AWAY
    activity.woken(QUEUE)
    await turns(backlogs, 1)
    reads = backlogs.reads
    await asyncio.sleep(0.05)
    assert backlogs.reads == reads
    await ear.leave()


async def test_a_thousand_who_watch_take_no_thread_and_all_are_told(
    activity: Activity, backlogs: SetBacklogs
) -> None:
    threads = threading.active_count()
    ears = [Ear(activity) for _ in range(1000)]
    for ear in ears:
        await ear.heard(False)
    assert activity.count == 1000
    assert threading.active_count() == threads
    backlogs.counts[QUEUE] = 1
    activity.woken(QUEUE)
    for ear in ears:
        await ear.heard(False, True)
    await activity.close()
    await asyncio.gather(*(ear.task for ear in ears))
    assert activity.count == 0


async def test_a_watch_that_begins_after_the_end_ends(activity: Activity) -> None:
    await activity.close()
    assert [told async for told in activity.watch(TRIGGER)] == []


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=12), st.integers(0, 3))
def test_what_is_told_last_is_always_how_it_is_in_the_end(
    changes: list[tuple[int, bool]], activation: int
) -> None:
    async def story() -> list[bool]:
        backlogs = SetBacklogs(add__cpu=0)
        activity = Activity(backlogs)
        activity.start()
        ear = Ear(activity, Trigger(QUEUE, 1.0, activation))
        for backlog, wakes in changes:
            if wakes:
                activity.woken(QUEUE)
            backlogs.counts[QUEUE] = backlog
            await asyncio.sleep(0)
        last = changes[-1][0] if changes else 0
        async with asyncio.timeout(5):
            while not ear.told or ear.told[-1] != (last > activation):
                await asyncio.sleep(0.001)
        await activity.close()
        await ear.task
        return ear.told

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "TICK", 0.002)
        told = asyncio.run(story())
    assert all(told[n] != told[n - 1] for n in range(1, len(told)))  # nothing was due again
