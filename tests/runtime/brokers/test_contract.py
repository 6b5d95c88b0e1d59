"""What every broker promises, tested through the protocol alone.

Nothing here knows which broker it runs over: a test waits for what is to come true, with a
deadline, since a server may take its time.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar
from uuid import uuid4

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from runtime.brokers import Broker, Consumer, Delivery, QueueSpec
from runtime.errors import Unavailable
from runtime.model import Depth, Device, Message, Part, Payload, new_id, queue_name
from tests.runtime.brokers.conftest import OpenBroker, Traits
from tests.support import Inbox

DEADLINE = 10.0  # seconds; what has not come true by then will not
TURNS = 8  # of the loop; enough for all that needs no waiting
HIGH, NORMAL = 9, 0

T = TypeVar("T")
Settle = Callable[[Delivery], None]

SETTLEMENTS: dict[str, Settle] = {
    "ack": lambda d: d.ack(),
    "requeue": lambda d: d.requeue(),
    "requeue uncounted": lambda d: d.requeue(counted=False),
    "requeue later": lambda d: d.requeue(delay=3600),
    "reject": lambda d: d.reject("no good"),
}


def message(function: str, device: Device = "cpu", **more: Any) -> Message:
    return Message(new_id(), function, device, Payload(), created_at=1_700_000_000.0, **more)


async def turns() -> None:
    """Let every task run until it waits for something outside this process."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def eventually(
    look: Callable[[], Awaitable[T]], wanted: T, patience: float = DEADLINE
) -> None:
    """Wait until looking gives what is wanted; fail with what it gave instead.

    Whatever can happen without waiting has happened when this returns.
    """
    await turns()
    deadline = time.monotonic() + patience
    while (seen := await look()) != wanted:
        assert time.monotonic() < deadline, f"still {seen}, not {wanted}"
        await asyncio.sleep(0.01)


class DepthIs(Protocol):
    """Wait until a queue holds so much, as far as the broker can tell."""

    async def __call__(
        self, queue: str, ready: int, leased: int, dead: int = 0, delayed: int = 0
    ) -> None: ...


def visible(traits: Traits, ready: int, leased: int, dead: int, delayed: int) -> Depth:
    """The depth that a broker with these traits shows."""
    return Depth(ready + delayed, leased, dead) if traits.exact_depth else Depth(ready, 0, dead)


async def depth(broker: Broker, traits: Traits, queue: str) -> Depth:
    shown = await broker.depth(queue)
    return shown if traits.exact_depth else replace(shown, unacknowledged=0)


@pytest.fixture
def depth_is(broker: Broker, traits: Traits) -> DepthIs:
    async def wait(queue: str, ready: int, leased: int, dead: int = 0, delayed: int = 0) -> None:
        wanted = visible(traits, ready, leased, dead, delayed)
        await eventually(lambda: depth(broker, traits, queue), wanted)

    return wait


@pytest.fixture
async def queue(broker: Broker, function: str) -> str:
    name = queue_name(function, "cpu")
    await broker.declare([QueueSpec(name, delivery_limit=3)])
    return name


async def publish(broker: Broker, function: str, count: int, **more: Any) -> list[Message]:
    messages = [message(function, **more) for _ in range(count)]
    for each in messages:
        await broker.publish(queue_name(function, "cpu"), replace(each))
    return messages


# --- publish, deliver, acknowledge


async def test_a_message_arrives_as_it_was_published(
    broker: Broker, queue: str, function: str
) -> None:
    picture = Part("image", "image/png", 3, data=b"\x89PN")
    sent = message(function, attempt=2, priority=HIGH, traceparent="00-ab-cd-01")
    sent.payload = Payload(b'{"n": 7}', (picture,))
    await broker.publish(queue, replace(sent))
    inbox = await Inbox.open(broker, queue, 1)
    assert (await inbox.receive()).message == sent


async def test_a_waiting_consumer_gets_what_is_published(
    broker: Broker, queue: str, function: str
) -> None:
    inbox = await Inbox.open(broker, queue, 1)
    await turns()
    assert not inbox.arrived()
    (sent,) = await publish(broker, function, 1)
    assert (await inbox.receive()).message == sent


async def test_depth_follows_a_message_from_ready_to_leased_to_gone(
    broker: Broker, queue: str, function: str, depth_is: DepthIs
) -> None:
    await publish(broker, function, 3)
    await depth_is(queue, 3, 0)
    inbox = await Inbox.open(broker, queue, 1)
    delivery = await inbox.receive()
    await depth_is(queue, 2, 1)
    inbox.prefetch = 0
    delivery.ack()
    await depth_is(queue, 2, 0)


async def test_messages_come_in_the_order_they_were_published(
    broker: Broker, queue: str, function: str
) -> None:
    sent = await publish(broker, function, 20)
    inbox = await Inbox.open(broker, queue, 20)
    assert [(await inbox.receive()).message for _ in sent] == sent


async def test_a_higher_priority_goes_first_and_each_is_in_order(
    broker: Broker, queue: str, function: str, traits: Traits, depth_is: DepthIs
) -> None:
    sent = []
    for priority in (NORMAL, NORMAL, HIGH, HIGH, NORMAL, HIGH):
        sent += await publish(broker, function, 1, priority=priority)
    await depth_is(queue, 6, 0)
    inbox = await Inbox.open(broker, queue, 1)
    got = []
    for _ in sent:
        delivery = await inbox.receive()
        got.append(delivery.message)
        delivery.ack()
    assert got == (sorted(sent, key=lambda m: -m.priority) if traits.priorities else sent)


async def test_queues_do_not_mix(broker: Broker, queue: str, function: str) -> None:
    other = queue_name(function, "gpu")
    await broker.declare([QueueSpec(other)])
    elsewhere = message(function, "gpu")
    await broker.publish(other, replace(elsewhere))
    (here,) = await publish(broker, function, 1)
    assert (await (await Inbox.open(broker, queue, 5)).receive()).message == here
    assert (await (await Inbox.open(broker, other, 5)).receive()).message == elsewhere


async def test_declaring_again_keeps_the_messages(
    broker: Broker, queue: str, function: str
) -> None:
    (sent,) = await publish(broker, function, 1)
    await broker.declare([QueueSpec(queue, delivery_limit=3)])
    assert (await (await Inbox.open(broker, queue, 1)).receive()).message == sent


async def test_an_id_that_is_in_the_queue_is_refused(
    broker: Broker, queue: str, function: str, traits: Traits, depth_is: DepthIs
) -> None:
    if not traits.remembers_ids:
        pytest.skip("this broker leaves it to its callers to publish an id once")
    (sent,) = await publish(broker, function, 1)
    with pytest.raises(ValueError, match=sent.id):
        await broker.publish(queue, replace(sent))
    await depth_is(queue, 1, 0)


async def test_a_queue_that_was_never_declared_is_a_key_error(
    broker: Broker, function: str
) -> None:
    nowhere = queue_name(function, "gpu")
    with pytest.raises(KeyError):
        await broker.publish(nowhere, message(function, "gpu"))
    with pytest.raises(KeyError):
        await broker.consume(nowhere, 1, lambda _: None)
    with pytest.raises(KeyError):
        await broker.depth(nowhere)
    with pytest.raises(KeyError):
        await broker.remove(nowhere, "0" * 32)
    with pytest.raises(KeyError):
        await broker.purge(nowhere)


# --- giving back


async def test_a_message_given_back_comes_before_the_others(
    broker: Broker, queue: str, function: str, traits: Traits
) -> None:
    sent = await publish(broker, function, 3)
    inbox = await Inbox.open(broker, queue, 1)
    (await inbox.receive()).requeue(counted=False)
    got = []
    for _ in sent:
        delivery = await inbox.receive()
        got.append(delivery.message)
        delivery.ack()
    if not traits.head_of_queue:
        got.sort(key=sent.index)
    assert got == sent


@pytest.mark.parametrize("close", [True, False])
async def test_a_message_given_back_goes_to_another_consumer_that_waits(
    broker: Broker, queue: str, function: str, depth_is: DepthIs, close: bool
) -> None:
    (sent,) = await publish(broker, function, 1)
    holder = await Inbox.open(broker, queue, 1)
    delivery = await holder.receive()
    other = await Inbox.open(broker, queue, 1)
    await depth_is(queue, 0, 1)
    if close:
        await holder.close()
    else:
        holder.prefetch = 0
    delivery.requeue()
    assert (await other.receive()).message == replace(sent, attempt=2)


async def test_a_counted_return_raises_the_attempt_by_one_and_another_does_not(
    broker: Broker, queue: str, function: str
) -> None:
    await publish(broker, function, 1)
    inbox = await Inbox.open(broker, queue, 1)
    first = await inbox.receive()
    first.requeue()
    second = await inbox.receive()
    second.requeue(counted=False)
    third = await inbox.receive()
    assert [d.message.attempt for d in (first, second, third)] == [1, 2, 2]


async def test_a_message_given_back_too_often_becomes_a_dead_letter_that_says_so(
    broker: Broker, queue: str, function: str, depth_is: DepthIs
) -> None:
    (sent,) = await publish(broker, function, 1)
    inbox = await Inbox.open(broker, queue, 1)
    for _ in range(4):  # the limit is 3: the fourth return is one too many
        (await inbox.receive()).requeue()
    await depth_is(queue, 0, 0, dead=1)
    (letter,) = await broker.dead_letters(function)
    assert letter.message.id == sent.id
    assert "3" in letter.reason


async def test_a_message_given_back_as_often_as_allowed_is_delivered_again(
    broker: Broker, queue: str, function: str
) -> None:
    await publish(broker, function, 1)
    inbox = await Inbox.open(broker, queue, 1)
    for _ in range(3):
        (await inbox.receive()).requeue()
    assert (await inbox.receive()).message.attempt == 4


async def test_uncounted_returns_do_not_make_a_dead_letter(
    broker: Broker, queue: str, function: str
) -> None:
    await publish(broker, function, 1)
    inbox = await Inbox.open(broker, queue, 1)
    for _ in range(10):
        (await inbox.receive()).requeue(counted=False)
    assert (await inbox.receive()).message.attempt == 1
    assert not await broker.dead_letters(function)


# --- delays


async def test_a_delayed_message_comes_when_due_and_behind_the_others(
    broker: Broker, queue: str, function: str
) -> None:
    delay = 1.0  # seconds; the shortest step a delay queue on a server has
    first, second = await publish(broker, function, 2)
    inbox = await Inbox.open(broker, queue, 1)
    held = await inbox.receive()
    since = time.monotonic()
    held.requeue(delay=delay)
    other = await inbox.receive()
    other.ack()
    again = await inbox.receive()
    assert time.monotonic() - since >= delay * 0.95
    assert other.message == second
    assert again.message == replace(first, attempt=2)


async def test_a_delayed_message_counts_as_ready_and_can_be_removed(
    broker: Broker, queue: str, function: str, traits: Traits, depth_is: DepthIs
) -> None:
    (sent,) = await publish(broker, function, 1)
    (await (await Inbox.open(broker, queue, 1)).receive()).requeue(delay=3600)
    await depth_is(queue, 0, 0, delayed=1)
    removed = await broker.remove(queue, sent.id)
    assert removed or not traits.removes
    await depth_is(queue, 0, 0, delayed=0 if removed else 1)
    assert not removed or not await broker.remove(queue, sent.id)


# --- prefetch


async def test_a_consumer_holds_no_more_than_its_prefetch(
    broker: Broker, queue: str, function: str, depth_is: DepthIs
) -> None:
    sent = await publish(broker, function, 3)
    inbox = await Inbox.open(broker, queue, 2)
    first, _ = await inbox.receive(), await inbox.receive()
    await depth_is(queue, 1, 2)
    assert not inbox.arrived()
    first.ack()
    assert (await inbox.receive()).message == sent[2]


async def test_a_paused_consumer_gets_nothing_until_its_prefetch_is_raised(
    broker: Broker, queue: str, function: str, depth_is: DepthIs
) -> None:
    (sent,) = await publish(broker, function, 1)
    inbox = await Inbox.open(broker, queue, 0)
    await depth_is(queue, 1, 0)
    assert not inbox.arrived()
    inbox.prefetch = 1
    assert (await inbox.receive()).message == sent


async def test_lowering_the_prefetch_pauses_until_enough_is_settled(
    broker: Broker, queue: str, function: str, depth_is: DepthIs
) -> None:
    sent = await publish(broker, function, 3)
    inbox = await Inbox.open(broker, queue, 2)
    held = [await inbox.receive(), await inbox.receive()]
    inbox.prefetch = 1
    held[0].ack()
    await depth_is(queue, 1, 1)
    assert not inbox.arrived()
    held[1].ack()
    assert (await inbox.receive()).message == sent[2]


async def test_nothing_is_delivered_from_inside_a_call(
    broker: Broker, queue: str, function: str
) -> None:
    inbox = await Inbox.open(broker, queue, 0)
    await publish(broker, function, 2)
    inbox.prefetch = 1
    assert not inbox.arrived()
    delivery = await inbox.receive()
    delivery.requeue(counted=False)
    assert not inbox.arrived()
    (await inbox.receive()).ack()
    assert not inbox.arrived()
    await inbox.receive()


async def test_waiting_consumers_take_turns(
    broker: Broker, queue: str, function: str, depth_is: DepthIs
) -> None:
    inboxes = [await Inbox.open(broker, queue, 50) for _ in range(2)]
    sent = await publish(broker, function, 20)
    await depth_is(queue, 0, 20)

    async def arrived() -> list[int]:
        return [inbox.arrived() for inbox in inboxes]

    await eventually(arrived, [10, 10])
    got = [(await inbox.receive()).message.id for inbox in inboxes for _ in range(10)]
    assert sorted(got) == [m.id for m in sent]


# --- closing and cancelling


async def test_a_closed_consumer_gets_nothing_more(
    broker: Broker, queue: str, function: str, depth_is: DepthIs
) -> None:
    inbox = await Inbox.open(broker, queue, 1)
    await inbox.close()
    await publish(broker, function, 1)
    await depth_is(queue, 1, 0)
    assert not inbox.arrived()


@pytest.mark.parametrize(
    ("how", "ready", "dead"), [("ack", 0, 0), ("requeue", 1, 0), ("reject", 0, 1)]
)
async def test_what_a_closed_consumer_holds_stays_leased_until_it_is_settled(
    broker: Broker, queue: str, function: str, depth_is: DepthIs, how: str, ready: int, dead: int
) -> None:
    await publish(broker, function, 1)
    inbox = await Inbox.open(broker, queue, 1)
    delivery = await inbox.receive()
    await inbox.close()
    await depth_is(queue, 0, 1)
    SETTLEMENTS[how](delivery)
    await depth_is(queue, ready, 0, dead)


@pytest.mark.parametrize("close", [True, False])
async def test_a_message_that_came_just_before_its_consumer_stopped_is_not_lost(
    broker: Broker, queue: str, function: str, close: bool
) -> None:
    stopped = await Inbox.open(broker, queue, 1)
    (sent,) = await publish(broker, function, 1)
    stopped.prefetch = 0  # it may have the message already
    if close:
        await stopped.close()
    other = await Inbox.open(broker, queue, 1)

    async def arrived() -> int:
        return stopped.arrived() + other.arrived()

    await eventually(arrived, 1)
    if stopped.arrived():
        (await stopped.receive()).requeue(counted=False)
    assert (await other.receive()).message == sent


async def test_a_closed_broker_delivers_and_takes_nothing(
    broker: Broker, queue: str, function: str
) -> None:
    inbox = await Inbox.open(broker, queue, 1)
    await broker.close()
    with pytest.raises(Unavailable):
        await broker.publish(queue, message(function))
    with pytest.raises(Unavailable):
        await broker.consume(queue, 1, lambda _: None)
    assert not inbox.arrived()


# --- settling


@pytest.mark.parametrize("second", SETTLEMENTS)
@pytest.mark.parametrize("first", SETTLEMENTS)
async def test_settling_again_changes_nothing(
    broker: Broker,
    queue: str,
    function: str,
    traits: Traits,
    depth_is: DepthIs,
    first: str,
    second: str,
) -> None:
    await publish(broker, function, 1)
    inbox = await Inbox.open(broker, queue, 1)
    delivery = await inbox.receive()
    inbox.prefetch = 0
    SETTLEMENTS[first](delivery)
    back = int(first in ("requeue", "requeue uncounted"))
    dead, delayed = int(first == "reject"), int(first == "requeue later")
    await depth_is(queue, back, 0, dead, delayed)
    SETTLEMENTS[second](delivery)
    (witness,) = await publish(broker, function, 1, priority=NORMAL)
    await depth_is(queue, back + 1, 0, dead, delayed)
    assert await broker.remove(queue, witness.id) or not traits.removes


async def test_a_lease_that_is_over_cannot_settle_the_next_one(
    broker: Broker, queue: str, function: str, depth_is: DepthIs
) -> None:
    await publish(broker, function, 1)
    inbox = await Inbox.open(broker, queue, 1)
    stale = await inbox.receive()
    stale.requeue(counted=False)
    current = await inbox.receive()
    stale.ack()
    stale.reject("stale")
    await depth_is(queue, 0, 1)
    current.requeue(counted=False)
    assert (await inbox.receive()).message.id == stale.message.id


# --- dead letters


async def test_a_rejected_message_is_a_dead_letter_with_its_reason(
    broker: Broker, queue: str, function: str, depth_is: DepthIs
) -> None:
    (sent,) = await publish(broker, function, 1)
    before = time.time()
    (await (await Inbox.open(broker, queue, 1)).receive()).reject("killed by signal 11 three times")
    await depth_is(queue, 0, 0, dead=1)
    (letter,) = await broker.dead_letters(function)
    assert (letter.message, letter.queue) == (sent, queue)
    assert letter.reason == "killed by signal 11 three times"
    assert before - 1 <= letter.at <= time.time() + 1


async def test_dead_letters_of_both_devices_are_listed_oldest_first(
    broker: Broker, queue: str, function: str, depth_is: DepthIs, traits: Traits
) -> None:
    other = queue_name(function, "gpu")
    await broker.declare([QueueSpec(other)])
    sent = await publish(broker, function, 3)
    elsewhere = message(function, "gpu")
    await broker.publish(other, replace(elsewhere))
    here = await Inbox.open(broker, queue, 1)
    (await here.receive()).reject("1")
    (await (await Inbox.open(broker, other, 1)).receive()).reject("2")
    await depth_is(other, 0, 0, dead=1 if traits.dead_by_device else 2)
    (await here.receive()).reject("3")
    (await here.receive()).reject("4")
    await depth_is(queue, 0, 0, dead=3 if traits.dead_by_device else 4)
    letters = await broker.dead_letters(function)
    assert [x.message.id for x in letters] == [sent[0].id, elsewhere.id, sent[1].id, sent[2].id]
    assert [x.reason for x in await broker.dead_letters(function, limit=2)] == ["1", "2"]
    assert await broker.dead_letters("another_function") == []


@pytest.mark.parametrize("new", [True, False])
async def test_a_replayed_message_goes_to_the_tail_of_its_queue_and_the_letter_goes(
    broker: Broker, queue: str, function: str, depth_is: DepthIs, new: bool
) -> None:
    (lost,) = await publish(broker, function, 1)
    inbox = await Inbox.open(broker, queue, 1)
    lease = await inbox.receive()
    inbox.prefetch = 0
    lease.reject("no good")
    await depth_is(queue, 0, 0, dead=1)
    (waiting,) = await publish(broker, function, 1)
    again = replace(lost, id=new_id()) if new else replace(lost)
    assert await broker.replay(function, lost.id, replace(again))
    await depth_is(queue, 2, 0, dead=0)
    assert await broker.dead_letters(function) == []
    inbox.prefetch = 1
    first = await inbox.receive()
    first.ack()
    assert (first.message, (await inbox.receive()).message) == (waiting, again)


async def test_a_replayed_message_may_be_given_back_as_often_as_a_new_one(
    broker: Broker, queue: str, function: str, depth_is: DepthIs
) -> None:
    (lost,) = await publish(broker, function, 1)
    inbox = await Inbox.open(broker, queue, 1)
    for _ in range(4):
        (await inbox.receive()).requeue()
    await depth_is(queue, 0, 0, dead=1)
    assert await broker.replay(function, lost.id, replace(lost))
    for _ in range(3):
        (await inbox.receive()).requeue()
    assert (await inbox.receive()).message.attempt == 4


async def test_a_discarded_dead_letter_is_gone(
    broker: Broker, queue: str, function: str, depth_is: DepthIs
) -> None:
    sent = await publish(broker, function, 2)
    inbox = await Inbox.open(broker, queue, 2)
    for _ in sent:
        (await inbox.receive()).reject("no good")
    await depth_is(queue, 0, 0, dead=2)
    assert await broker.discard(function, sent[0].id)
    assert [x.message for x in await broker.dead_letters(function)] == [sent[1]]
    await depth_is(queue, 0, 0, dead=1)


async def test_there_is_nothing_to_replay_or_discard_where_there_is_no_such_letter(
    broker: Broker, queue: str, function: str, depth_is: DepthIs
) -> None:
    (waiting,) = await publish(broker, function, 1)
    assert not await broker.replay(function, waiting.id, message(function))
    assert not await broker.discard(function, waiting.id)
    await depth_is(queue, 1, 0)


# --- taking messages out


async def test_a_removed_message_is_never_delivered(
    broker: Broker, queue: str, function: str, traits: Traits, depth_is: DepthIs
) -> None:
    sent = await publish(broker, function, 3)
    removed = await broker.remove(queue, sent[1].id)
    assert removed or not traits.removes
    left = [sent[0], sent[2]] if removed else sent
    await depth_is(queue, len(left), 0)
    inbox = await Inbox.open(broker, queue, 3)
    assert [(await inbox.receive()).message for _ in left] == left


async def test_only_a_waiting_message_can_be_removed(
    broker: Broker, queue: str, function: str, depth_is: DepthIs
) -> None:
    (sent,) = await publish(broker, function, 1)
    delivery = await (await Inbox.open(broker, queue, 1)).receive()
    assert not await broker.remove(queue, sent.id)
    assert not await broker.remove(queue, new_id())
    await depth_is(queue, 0, 1)
    delivery.ack()
    assert not await broker.remove(queue, sent.id)


async def test_a_purge_drops_all_that_waits_and_nothing_that_is_leased(
    broker: Broker, queue: str, function: str, traits: Traits, depth_is: DepthIs
) -> None:
    await publish(broker, function, 4)
    inbox = await Inbox.open(broker, queue, 2)
    later, leased = await inbox.receive(), await inbox.receive()
    inbox.prefetch = 0
    later.requeue(delay=3600)
    await depth_is(queue, 2, 1, delayed=1)
    assert await broker.purge(queue) == (3 if traits.exact_depth else 2)
    await depth_is(queue, 0, 1)
    leased.requeue()
    inbox.prefetch = 1
    assert (await inbox.receive()).message == replace(leased.message, attempt=2)
    assert await broker.purge(queue) == 0


# --- any sequence of operations


@dataclass(eq=False)
class Taker:
    """A consumer as the model sees it: what it may hold, and what it holds."""

    consumer: Consumer = field(init=False)
    held: list[Delivery] = field(default_factory=list)
    closed: bool = False

    @property
    def has_room(self) -> bool:
        return not self.closed and len(self.held) < self.consumer.prefetch


@dataclass(frozen=True)
class Arrival:
    """A delivery when it came: to whom, and how much it might hold then."""

    taker: Taker
    delivery: Delivery
    prefetch: int


class Promises(RuleBasedStateMachine):
    """A broker beside a model of one queue: where each message is, and what may come next.

    After each step whoever has room must have got what there is, each delivered message must be one
    whose turn it was, and the broker's depth must be the model's.
    """

    LIMIT = 1
    opener: OpenBroker
    traits: Traits

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.function = f"f{uuid4().hex[:16]}"
        self.queue = queue_name(self.function, "cpu")
        self.broker = self.run(self.open())
        self.takers: list[Taker] = []
        self.arrivals: list[Arrival] = []  # not yet compared with the model
        self.closed: list[Delivery] = []  # still leased to consumers that were closed
        self.messages: dict[str, Message] = {}  # as each must be delivered next
        self.returns: dict[str, int] = {}
        self.place: dict[str, str] = {}  # ready, delayed, leased, dead, or how it left
        self.returned: dict[int, set[str]] = {HIGH: set(), NORMAL: set()}  # at the head
        self.line: dict[int, list[str]] = {HIGH: [], NORMAL: []}
        self.handed_out: list[tuple[Delivery, Message]] = []  # every delivery there ever was
        self.over: list[Delivery] = []

    async def open(self) -> Broker:
        broker = await self.opener()
        await broker.declare([QueueSpec(self.queue, delivery_limit=self.LIMIT)])
        return broker

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    # what the model says

    def at(self, *places: str) -> list[str]:
        return [i for i, place in self.place.items() if place in places]

    def next_up(self) -> set[str]:
        """Any of those given back, of the highest priority there is; else the oldest."""
        if not self.traits.priorities or not self.traits.head_of_queue:
            return set(self.at("ready"))
        for priority in (HIGH, NORMAL):
            if self.returned[priority]:
                return self.returned[priority]
            if self.line[priority]:
                return {self.line[priority][0]}
        return set()

    def leave_line(self, invocation: str) -> None:
        priority = self.messages[invocation].priority
        self.returned[priority].discard(invocation)
        if invocation in self.line[priority]:
            self.line[priority].remove(invocation)

    def join_line(self, sent: Message) -> None:
        self.messages[sent.id] = sent
        self.returns[sent.id] = 0
        self.place[sent.id] = "ready"
        self.line[sent.priority].append(sent.id)

    def depth(self) -> Depth:
        counts = (len(self.at(place)) for place in ("ready", "leased", "dead", "delayed"))
        return visible(self.traits, *counts)

    # what happens after each step

    def step(self, work: Coroutine[Any, Any, T]) -> T:
        async def do() -> T:
            result = await work
            await self.catch_up()
            return result

        return self.run(do())

    async def catch_up(self) -> None:
        """Take in what has come, and wait for what must still come."""
        await turns()
        self.take_arrivals()
        while self.next_up() and any(t.has_room for t in self.takers):
            await self.come_true(self.has_arrivals, True)
            self.take_arrivals()
        await self.come_true(self.shown, self.depth())
        assert not self.arrivals, "a delivery that was nobody's turn, or beyond a prefetch"

    async def come_true(self, look: Callable[[], Awaitable[T]], wanted: T) -> None:
        await eventually(look, wanted, self.traits.patience)

    async def has_arrivals(self) -> bool:
        return bool(self.arrivals)

    async def shown(self) -> Depth:
        return await depth(self.broker, self.traits, self.queue)

    def take_arrivals(self) -> None:
        arrived, self.arrivals = self.arrivals, []
        for arrival in arrived:
            self.take(arrival)

    def take(self, arrival: Arrival) -> None:
        taker, got = arrival.taker, arrival.delivery.message
        assert not taker.closed, "a delivery after close() returned"
        assert len(taker.held) < arrival.prefetch
        assert self.place[got.id] == "ready", "not two live leases, and nothing that had left"
        assert got.id in self.next_up()
        assert got == self.messages[got.id]
        self.leave_line(got.id)
        self.place[got.id] = "leased"
        taker.held.append(arrival.delivery)
        self.handed_out.append((arrival.delivery, replace(got)))

    async def open_taker(self, prefetch: int) -> Taker:
        taker = Taker()

        def on_delivery(delivery: Delivery) -> None:
            self.arrivals.append(Arrival(taker, delivery, taker.consumer.prefetch))

        taker.consumer = await self.broker.consume(self.queue, 0, on_delivery)
        taker.consumer.prefetch = prefetch
        self.takers.append(taker)
        return taker

    # what may happen

    @initialize()
    def begin_with_some_messages_and_a_consumer(self) -> None:
        for priority in (NORMAL, HIGH, NORMAL, HIGH, NORMAL):
            self.publish(priority)
        self.consume(2)

    @rule(priority=st.sampled_from([NORMAL, HIGH]))
    def publish(self, priority: int) -> None:
        self.step(self.put(priority))

    async def put(self, priority: int) -> None:
        sent = message(self.function, priority=priority)
        self.join_line(sent)
        await self.broker.publish(self.queue, replace(sent))

    @precondition(lambda self: len(self.takers) < 3)
    @rule(prefetch=st.integers(0, 3))
    def consume(self, prefetch: int) -> None:
        self.step(self.open_taker(prefetch))

    @precondition(lambda self: self.takers)
    @rule(n=st.integers(0, 9), prefetch=st.integers(0, 3), just_published=st.booleans())
    def set_prefetch(self, n: int, prefetch: int, just_published: bool) -> None:
        async def change() -> None:
            if just_published:
                await self.put(NORMAL)
            pick(self.takers, n).consumer.prefetch = prefetch

        self.step(change())

    @precondition(lambda self: self.takers)
    @rule(n=st.integers(0, 9), just_published=st.booleans())
    def close_a_consumer(self, n: int, just_published: bool) -> None:
        taker = pick(self.takers, n)

        async def close() -> None:
            if just_published:
                await self.put(NORMAL)
            await taker.consumer.close()
            self.take_arrivals()
            taker.closed = True
            self.takers.remove(taker)
            self.closed += taker.held

        self.step(close())

    @precondition(lambda self: self.at("leased"))
    @rule(n=st.integers(0, 9), how=st.sampled_from(list(SETTLEMENTS)))
    def settle(self, n: int, how: str) -> None:
        holders = [taker.held for taker in self.takers] + [self.closed]
        delivery = pick([d for held in holders for d in held], n)
        for held in holders:
            held[:] = [d for d in held if d is not delivery]
        self.over.append(delivery)
        self.expect(delivery.message, how)

        async def act() -> None:
            SETTLEMENTS[how](delivery)

        self.step(act())

    def expect(self, settled: Message, how: str) -> None:
        invocation = settled.id
        self.returns[invocation] += how in ("requeue", "requeue later")
        if how == "ack":
            self.place[invocation] = "acknowledged"
        elif how == "reject" or self.returns[invocation] > self.LIMIT:
            self.place[invocation] = "dead"
        elif how == "requeue later":
            self.place[invocation] = "delayed"
        else:
            self.place[invocation] = "ready"
            self.returned[settled.priority].add(invocation)
        if self.place[invocation] != "dead" and "uncounted" not in how:
            self.messages[invocation] = replace(settled, attempt=settled.attempt + 1)

    @precondition(lambda self: self.over)
    @rule(n=st.integers(0, 99), how=st.sampled_from(list(SETTLEMENTS)))
    def settle_again(self, n: int, how: str) -> None:
        async def act() -> None:
            SETTLEMENTS[how](pick(self.over, n))

        self.step(act())

    @precondition(lambda self: self.messages)
    @rule(n=st.integers(0, 99))
    def remove(self, n: int) -> None:
        invocation = pick(list(self.messages), n)
        waits = self.place[invocation] in ("ready", "delayed")

        async def act() -> None:
            removed = await self.broker.remove(self.queue, invocation)
            assert removed is waits if self.traits.removes else waits or not removed
            if removed:
                self.leave_line(invocation)
                self.place[invocation] = "removed"

        self.step(act())

    @precondition(lambda self: len(self.at("ready", "delayed")) > 3)
    @rule()
    def purge(self) -> None:
        waiting = self.at("ready", "delayed") if self.traits.exact_depth else self.at("ready")
        for invocation in waiting:
            self.leave_line(invocation)
            self.place[invocation] = "purged"
        assert self.step(self.broker.purge(self.queue)) == len(waiting)

    @precondition(lambda self: self.at("dead"))
    @rule(n=st.integers(0, 9), new=st.booleans())
    def replay(self, n: int, new: bool) -> None:
        lost = self.messages[pick(self.at("dead"), n)]
        self.place[lost.id] = "replayed"
        again = replace(lost, id=new_id() if new else lost.id, attempt=1)
        self.join_line(again)
        assert self.step(self.broker.replay(self.function, lost.id, replace(again)))

    @precondition(lambda self: self.at("dead"))
    @rule(n=st.integers(0, 9))
    def discard(self, n: int) -> None:
        invocation = pick(self.at("dead"), n)
        self.place[invocation] = "discarded"
        assert self.step(self.broker.discard(self.function, invocation))

    # what always holds

    @invariant()
    def a_delivery_keeps_showing_what_was_delivered(self) -> None:
        assert all(delivery.message == shown for delivery, shown in self.handed_out)

    @invariant()
    def the_dead_letters_are_those_of_the_model(self) -> None:
        letters = self.run(self.listed())
        assert sorted(x.id for x in letters) == sorted(self.at("dead"))
        assert all(x == self.messages[x.id] for x in letters)

    async def listed(self) -> list[Message]:
        return [x.message for x in await self.broker.dead_letters(self.function, limit=10_000)]

    def teardown(self) -> None:
        try:
            self.run(self.drain())
        finally:
            self.run(self.broker.close())
            self.runner.close()

    async def drain(self) -> None:
        """Whatever is not gone can still be had: nothing that was accepted is lost."""
        for taker in self.takers:
            await taker.consumer.close()
        for delivery in [d for taker in self.takers for d in taker.held] + self.closed:
            delivery.requeue(counted=False)
        left = self.at("ready", "leased")
        inbox = await Inbox.open(self.broker, self.queue, 1)
        while left:
            delivery = await inbox.receive()
            left.remove(delivery.message.id)
            delivery.ack()
        wanted = visible(self.traits, 0, 0, len(self.at("dead")), len(self.at("delayed")))
        await self.come_true(self.shown, wanted)


def pick(choices: list[T], n: int) -> T:
    return choices[n % len(choices)]


def test_no_sequence_of_operations_breaks_a_promise(
    open_broker: OpenBroker, traits: Traits
) -> None:
    class OverThisBroker(Promises):
        opener = staticmethod(open_broker)

    OverThisBroker.traits = traits
    run_state_machine_as_test(
        OverThisBroker,
        settings=settings(
            max_examples=10 if traits.patience else 80,
            stateful_step_count=20 if traits.patience else 40,
            deadline=None,
            phases=set(Phase) - {Phase.explain},  # it takes longer than this test may
        ),
    )
