"""What a gateway says of its queues' backlog, over a bus and workers that a test sets."""

import asyncio
from typing import Any

import pytest

from autoscaler import backlog as module
from autoscaler.backlog import BusBacklogs
from runtime.errors import NotFound, Unavailable
from runtime.function import FunctionSpec
from runtime.model import Depth, PoolState, ReplicaCounts
from runtime.workers import Workers, announcement
from tests.console.stage import spec

ADD = "add.cpu"


class SetBus:
    """A `Bus` that says of queues what a test sets, and hears nobody."""

    def __init__(self) -> None:
        self.waiting = 0  # as the server counts now
        self.told = Depth()  # as its statistics have it
        self.error: Exception | None = None
        self.silent = False

    async def ready(self, queue: str) -> int:
        if self.error:
            raise self.error
        if self.silent:
            await asyncio.Event().wait()
        return self.waiting

    async def depth(self, queue: str) -> Depth:
        return self.told


class Place:
    """A gateway's view: its bus, the workers it knows, and its functions."""

    def __init__(self) -> None:
        self.bus = SetBus()
        bus: Any = self.bus
        self.workers = Workers(bus, "cpu,gpu", lambda: [ADD])
        self.functions: dict[str, FunctionSpec] = {"add": spec("add", "cpu", "gpu")}
        self.backlogs = BusBacklogs(bus, self.workers, lambda: self.functions)

    def announce(self, in_hand: int, running: int = 1) -> None:
        state = PoolState(ReplicaCounts(busy=running), most=1, in_hand=in_hand)
        self.workers.heard("worker.one", announcement({("add", "cpu"): state}))


@pytest.fixture
def place() -> Place:
    return Place()


def test_every_device_of_every_function_has_a_queue(place: Place) -> None:
    assert list(place.backlogs.queues()) == ["add.cpu", "add.gpu"]
    has = place.backlogs.has
    assert has("add.cpu") and has("add.gpu")
    assert not any(map(has, ("add", "add.tpu", "sub.cpu", "", ".cpu", "add.cpu.cpu")))


@pytest.mark.parametrize(
    ("ready", "statistics", "in_hand", "backlog"),
    [
        (0, Depth(), 0, 0),
        (3, Depth(), 0, 3),  # just published: statistics do not know of it
        (0, Depth(ready=3), 2, 2),  # just delivered
        (1, Depth(unacknowledged=4), 0, 5),  # a consumer that does not announce itself
        (1, Depth(unacknowledged=1), 4, 5),
    ],
)
async def test_ready_ones_are_todays_and_unacknowledged_ones_are_the_more_that_is_known(
    place: Place, ready: int, statistics: Depth, in_hand: int, backlog: int
) -> None:
    place.bus.waiting, place.bus.told = ready, statistics
    place.announce(in_hand)
    assert await place.backlogs.read(ADD) == backlog


async def test_a_worker_that_said_goodbye_holds_nothing(place: Place) -> None:
    place.announce(2)
    place.workers.heard("worker.one", announcement({}))
    assert await place.backlogs.read(ADD) == 0
    assert place.backlogs.asleep(ADD)


async def test_what_was_seen_before_does_not_hide_that_the_broker_is_away(place: Place) -> None:
    place.announce(2)
    assert await place.backlogs.read(ADD) == 2
    place.bus.error = Unavailable("RabbitMQ: RabbitMQ is away", 1)
    with pytest.raises(Unavailable, match="RabbitMQ is away"):
        await place.backlogs.read(ADD)


async def test_a_queue_that_somebody_deleted_is_an_error(place: Place) -> None:
    place.bus.error = KeyError(ADD)
    with pytest.raises(NotFound, match=r"the broker has no queue add\.cpu: .*`lumbre declare`"):
        await place.backlogs.read(ADD)


async def test_a_broker_that_does_not_answer_is_an_error_and_no_hang(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.02)
    place.bus.silent = True
    with pytest.raises(Unavailable, match=r"did not say within 0\.02 s how full add\.cpu is"):
        await place.backlogs.read(ADD)


def test_a_glimpse_counts_what_workers_announce(place: Place) -> None:
    assert place.backlogs.glimpses() == {"add.cpu": 0, "add.gpu": 0}
    place.announce(2)
    assert place.backlogs.glimpses() == {"add.cpu": 2, "add.gpu": 0}
    assert not place.backlogs.asleep("add.cpu")
    assert place.backlogs.asleep("add.gpu")
