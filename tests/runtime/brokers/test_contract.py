"""What every broker promises, tested through the protocol alone.

Nothing here knows which broker it runs over: a test waits for what is to come true, with a
deadline, since a server may take its time.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
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

DEADLINE = 10.0  # seconds; what has not come true by then will not
TURNS = 8  # of the loop; enough for all that needs no waiting
HIGH, NORMAL = 9, 0

T = TypeVar("T")
OpenBroker = Callable[[], Awaitable[Broker]]
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


async def receive(consumer: Consumer) -> Delivery:
    return await asyncio.wait_for(anext(consumer), DEADLINE)


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


async def depth_is(broker: Broker, queue: str, ready: int, leased: int, dead: int = 0) -> None:
    await eventually(lambda: broker.depth(queue), Depth(ready, leased, dead))


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
    consumer = await broker.consume(queue, 1)
    assert (await receive(consumer)).message == sent


async def test_a_waiting_consumer_is_woken_by_a_publish(
    broker: Broker, queue: str, function: str
) -> None:
    consumer = await broker.consume(queue, 1)
    waiting = asyncio.create_task(receive(consumer))
    await depth_is(broker, queue, 0, 0)
    assert not waiting.done()
    (sent,) = await publish(broker, function, 1)
    assert (await waiting).message == sent


async def test_depth_follows_a_message_from_ready_to_leased_to_gone(
    broker: Broker, queue: str, function: str
) -> None:
    await publish(broker, function, 3)
    await depth_is(broker, queue, 3, 0)
    consumer = await broker.consume(queue, 1)
    delivery = await receive(consumer)
    await depth_is(broker, queue, 2, 1)
    consumer.prefetch = 0
    delivery.ack()
    await depth_is(broker, queue, 2, 0)


async def test_messages_come_in_the_order_they_were_published(
    broker: Broker, queue: str, function: str
) -> None:
    sent = await publish(broker, function, 20)
    consumer = await broker.consume(queue, 20)
    assert [(await receive(consumer)).message for _ in sent] == sent


async def test_a_higher_priority_goes_first_and_each_is_in_order(
    broker: Broker, queue: str, function: str
) -> None:
    normal = await publish(broker, function, 2, priority=NORMAL)
    high = await publish(broker, function, 2, priority=HIGH)
    normal += await publish(broker, function, 1, priority=NORMAL)
    high += await publish(broker, function, 1, priority=HIGH)
    await depth_is(broker, queue, 6, 0)
    consumer = await broker.consume(queue, 1)
    got = []
    for _ in range(6):
        delivery = await receive(consumer)
        got.append(delivery.message)
        delivery.ack()
    assert got == high + normal


async def test_queues_do_not_mix(broker: Broker, queue: str, function: str) -> None:
    other = queue_name(function, "gpu")
    await broker.declare([QueueSpec(other)])
    elsewhere = message(function, "gpu")
    await broker.publish(other, replace(elsewhere))
    (here,) = await publish(broker, function, 1)
    assert (await receive(await broker.consume(queue, 5))).message == here
    assert (await receive(await broker.consume(other, 5))).message == elsewhere


async def test_declaring_again_keeps_the_messages(
    broker: Broker, queue: str, function: str
) -> None:
    (sent,) = await publish(broker, function, 1)
    await broker.declare([QueueSpec(queue, delivery_limit=3)])
    assert (await receive(await broker.consume(queue, 1))).message == sent


async def test_a_queue_that_was_never_declared_is_a_key_error(
    broker: Broker, function: str
) -> None:
    nowhere = queue_name(function, "gpu")
    with pytest.raises(KeyError):
        await broker.publish(nowhere, message(function, "gpu"))
    with pytest.raises(KeyError):
        await broker.consume(nowhere, 1)
    with pytest.raises(KeyError):
        await broker.depth(nowhere)
    with pytest.raises(KeyError):
        await broker.remove(nowhere, "0" * 32)
    with pytest.raises(KeyError):
        await broker.purge(nowhere)


# --- giving back


async def test_a_message_given_back_comes_before_the_others(
    broker: Broker, queue: str, function: str
) -> None:
    sent = await publish(broker, function, 3)
    consumer = await broker.consume(queue, 1)
    (await receive(consumer)).requeue(counted=False)
    got = []
    for _ in sent:
        delivery = await receive(consumer)
        got.append(delivery.message)
        delivery.ack()
    assert got == sent


@pytest.mark.parametrize("close", [True, False])
async def test_a_message_given_back_goes_to_another_consumer_that_waits(
    broker: Broker, queue: str, function: str, close: bool
) -> None:
    (sent,) = await publish(broker, function, 1)
    holder, other = await broker.consume(queue, 1), await broker.consume(queue, 1)
    delivery = await receive(holder)
    waiting = asyncio.create_task(receive(other))
    await depth_is(broker, queue, 0, 1)
    if close:
        await holder.close()
    delivery.requeue()
    assert (await waiting).message == replace(sent, attempt=2)


async def test_a_counted_return_raises_the_attempt_by_one_and_another_does_not(
    broker: Broker, queue: str, function: str
) -> None:
    await publish(broker, function, 1)
    consumer = await broker.consume(queue, 1)
    first = await receive(consumer)
    first.requeue()
    second = await receive(consumer)
    second.requeue(counted=False)
    third = await receive(consumer)
    assert [d.message.attempt for d in (first, second, third)] == [1, 2, 2]


async def test_a_message_given_back_too_often_becomes_a_dead_letter_that_says_so(
    broker: Broker, queue: str, function: str
) -> None:
    (sent,) = await publish(broker, function, 1)
    consumer = await broker.consume(queue, 1)
    for _ in range(4):  # the limit is 3: the fourth return is one too many
        (await receive(consumer)).requeue()
    await depth_is(broker, queue, 0, 0, dead=1)
    (letter,) = await broker.dead_letters(function)
    assert letter.message.id == sent.id
    assert "3" in letter.reason


async def test_a_message_given_back_as_often_as_allowed_is_delivered_again(
    broker: Broker, queue: str, function: str
) -> None:
    await publish(broker, function, 1)
    consumer = await broker.consume(queue, 1)
    for _ in range(3):
        (await receive(consumer)).requeue()
    assert (await receive(consumer)).message.attempt == 4


async def test_uncounted_returns_do_not_make_a_dead_letter(
    broker: Broker, queue: str, function: str
) -> None:
    await publish(broker, function, 1)
    consumer = await broker.consume(queue, 1)
    for _ in range(10):
        (await receive(consumer)).requeue(counted=False)
    assert (await receive(consumer)).message.attempt == 1
    assert not await broker.dead_letters(function)


# --- delays


async def test_a_delayed_message_comes_when_due_and_behind_the_others(
    broker: Broker, queue: str, function: str
) -> None:
    delay = 1.0  # seconds; the shortest step a delay queue on a server has
    first, second = await publish(broker, function, 2)
    consumer = await broker.consume(queue, 1)
    held = await receive(consumer)
    since = time.monotonic()
    held.requeue(delay=delay)
    other = await receive(consumer)
    other.ack()
    again = await receive(consumer)
    assert time.monotonic() - since >= delay * 0.95
    assert other.message == second
    assert again.message == replace(first, attempt=2)


async def test_a_delayed_message_counts_as_ready_and_can_be_removed(
    broker: Broker, queue: str, function: str
) -> None:
    (sent,) = await publish(broker, function, 1)
    (await receive(await broker.consume(queue, 1))).requeue(delay=3600)
    await depth_is(broker, queue, 1, 0)
    assert await broker.remove(queue, sent.id)
    await depth_is(broker, queue, 0, 0)
    assert not await broker.remove(queue, sent.id)


# --- prefetch


async def test_a_consumer_holds_no_more_than_its_prefetch(
    broker: Broker, queue: str, function: str
) -> None:
    sent = await publish(broker, function, 3)
    consumer = await broker.consume(queue, 2)
    first, _ = await receive(consumer), await receive(consumer)
    third = asyncio.create_task(receive(consumer))
    await depth_is(broker, queue, 1, 2)
    assert not third.done()
    first.ack()
    assert (await third).message == sent[2]


async def test_raising_the_prefetch_wakes_a_waiting_consumer(
    broker: Broker, queue: str, function: str
) -> None:
    (sent,) = await publish(broker, function, 1)
    paused = await broker.consume(queue, 0)
    waiting = asyncio.create_task(receive(paused))
    await depth_is(broker, queue, 1, 0)
    assert not waiting.done()
    paused.prefetch = 1
    assert (await waiting).message == sent


async def test_lowering_the_prefetch_pauses_until_enough_is_settled(
    broker: Broker, queue: str, function: str
) -> None:
    sent = await publish(broker, function, 3)
    consumer = await broker.consume(queue, 2)
    held = [await receive(consumer), await receive(consumer)]
    consumer.prefetch = 1
    waiting = asyncio.create_task(receive(consumer))
    held[0].ack()
    await depth_is(broker, queue, 1, 1)
    assert not waiting.done()
    held[1].ack()
    assert (await waiting).message == sent[2]


async def test_waiting_consumers_take_turns(broker: Broker, queue: str, function: str) -> None:
    got: list[list[Message]] = [[], []]

    async def collect(consumer: Consumer, into: list[Message]) -> None:
        async for delivery in consumer:
            into.append(delivery.message)

    tasks = [asyncio.create_task(collect(await broker.consume(queue, 50), into)) for into in got]
    await depth_is(broker, queue, 0, 0)
    sent = await publish(broker, function, 20)
    await depth_is(broker, queue, 0, 20)

    async def received() -> int:
        return len(got[0]) + len(got[1])

    await eventually(received, 20)
    assert [len(into) for into in got] == [10, 10]
    assert sorted(m.id for into in got for m in into) == [m.id for m in sent]
    for task in tasks:
        task.cancel()


# --- closing and cancelling


async def test_closing_a_consumer_ends_its_iteration_though_it_waits(
    broker: Broker, queue: str, function: str
) -> None:
    consumer = await broker.consume(queue, 1)

    async def count() -> int:
        return len([delivery async for delivery in consumer])

    waiting = asyncio.create_task(count())
    await depth_is(broker, queue, 0, 0)
    await consumer.close()
    assert await asyncio.wait_for(waiting, DEADLINE) == 0
    await publish(broker, function, 1)
    with pytest.raises(StopAsyncIteration):
        await anext(consumer)
    await depth_is(broker, queue, 1, 0)


@pytest.mark.parametrize(
    ("how", "ready", "dead"), [("ack", 0, 0), ("requeue", 1, 0), ("reject", 0, 1)]
)
async def test_what_a_closed_consumer_holds_stays_leased_until_it_is_settled(
    broker: Broker, queue: str, function: str, how: str, ready: int, dead: int
) -> None:
    await publish(broker, function, 1)
    consumer = await broker.consume(queue, 1)
    delivery = await receive(consumer)
    await consumer.close()
    await depth_is(broker, queue, 0, 1)
    SETTLEMENTS[how](delivery)
    await depth_is(broker, queue, ready, 0, dead)


async def test_a_cancelled_wait_loses_no_message(broker: Broker, queue: str, function: str) -> None:
    consumer = await broker.consume(queue, 1)
    waiting = asyncio.create_task(receive(consumer))
    await depth_is(broker, queue, 0, 0)
    (sent,) = await publish(broker, function, 1)
    waiting.cancel()  # it may have been handed the message already
    with suppress(asyncio.CancelledError):
        (await waiting).requeue(counted=False)
    assert (await receive(consumer)).message == sent


async def test_a_closed_broker_ends_iterations_and_takes_nothing(
    broker: Broker, queue: str, function: str
) -> None:
    consumer = await broker.consume(queue, 1)
    waiting = asyncio.create_task(anext(consumer))
    await depth_is(broker, queue, 0, 0)
    await broker.close()
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(waiting, DEADLINE)
    with pytest.raises(Unavailable):
        await broker.publish(queue, message(function))
    with pytest.raises(Unavailable):
        await broker.consume(queue, 1)


# --- settling


@pytest.mark.parametrize("second", SETTLEMENTS)
@pytest.mark.parametrize("first", SETTLEMENTS)
async def test_settling_again_changes_nothing(
    broker: Broker, queue: str, function: str, first: str, second: str
) -> None:
    await publish(broker, function, 1)
    consumer = await broker.consume(queue, 1)
    delivery = await receive(consumer)
    consumer.prefetch = 0
    SETTLEMENTS[first](delivery)
    after = Depth(ready=int("requeue" in first), dead=int(first == "reject"))
    await eventually(lambda: broker.depth(queue), after)
    SETTLEMENTS[second](delivery)
    (witness,) = await publish(broker, function, 1, priority=NORMAL)
    await eventually(lambda: broker.depth(queue), replace(after, ready=after.ready + 1))
    assert await broker.remove(queue, witness.id)


async def test_a_lease_that_is_over_cannot_settle_the_next_one(
    broker: Broker, queue: str, function: str
) -> None:
    await publish(broker, function, 1)
    consumer = await broker.consume(queue, 1)
    stale = await receive(consumer)
    stale.requeue(counted=False)
    current = await receive(consumer)
    stale.ack()
    stale.reject("stale")
    await depth_is(broker, queue, 0, 1)
    current.requeue(counted=False)
    assert (await receive(consumer)).message.id == stale.message.id


# --- dead letters


async def test_a_rejected_message_is_a_dead_letter_with_its_reason(
    broker: Broker, queue: str, function: str
) -> None:
    (sent,) = await publish(broker, function, 1)
    before = time.time()
    (await receive(await broker.consume(queue, 1))).reject("killed by signal 11 three times")
    await depth_is(broker, queue, 0, 0, dead=1)
    (letter,) = await broker.dead_letters(function)
    assert (letter.message, letter.queue) == (sent, queue)
    assert letter.reason == "killed by signal 11 three times"
    assert before - 1 <= letter.at <= time.time() + 1


async def test_dead_letters_of_both_devices_are_listed_oldest_first(
    broker: Broker, queue: str, function: str
) -> None:
    other = queue_name(function, "gpu")
    await broker.declare([QueueSpec(other)])
    sent = await publish(broker, function, 3)
    elsewhere = message(function, "gpu")
    await broker.publish(other, replace(elsewhere))
    here = await broker.consume(queue, 1)
    (await receive(here)).reject("1")
    (await receive(await broker.consume(other, 1))).reject("2")
    await depth_is(broker, other, 0, 0, dead=1)
    (await receive(here)).reject("3")
    (await receive(here)).reject("4")
    await depth_is(broker, queue, 0, 0, dead=3)
    letters = await broker.dead_letters(function)
    assert [x.message.id for x in letters] == [sent[0].id, elsewhere.id, sent[1].id, sent[2].id]
    assert [x.reason for x in await broker.dead_letters(function, limit=2)] == ["1", "2"]
    assert await broker.dead_letters("another_function") == []


@pytest.mark.parametrize("new", [True, False])
async def test_a_replayed_message_goes_to_the_tail_of_its_queue_and_the_letter_goes(
    broker: Broker, queue: str, function: str, new: bool
) -> None:
    (lost,) = await publish(broker, function, 1)
    consumer = await broker.consume(queue, 1)
    (await receive(consumer)).reject("no good")
    await depth_is(broker, queue, 0, 0, dead=1)
    (waiting,) = await publish(broker, function, 1)
    again = replace(lost, id=new_id()) if new else replace(lost)
    assert await broker.replay(function, lost.id, replace(again))
    await depth_is(broker, queue, 2, 0, dead=0)
    assert await broker.dead_letters(function) == []
    first = await receive(consumer)
    first.ack()
    assert (first.message, (await receive(consumer)).message) == (waiting, again)


async def test_a_replayed_message_may_be_given_back_as_often_as_a_new_one(
    broker: Broker, queue: str, function: str
) -> None:
    (lost,) = await publish(broker, function, 1)
    consumer = await broker.consume(queue, 1)
    for _ in range(4):
        (await receive(consumer)).requeue()
    await depth_is(broker, queue, 0, 0, dead=1)
    assert await broker.replay(function, lost.id, replace(lost))
    for _ in range(3):
        (await receive(consumer)).requeue()
    assert (await receive(consumer)).message.attempt == 4


async def test_a_discarded_dead_letter_is_gone(broker: Broker, queue: str, function: str) -> None:
    sent = await publish(broker, function, 2)
    consumer = await broker.consume(queue, 2)
    for _ in sent:
        (await receive(consumer)).reject("no good")
    await depth_is(broker, queue, 0, 0, dead=2)
    assert await broker.discard(function, sent[0].id)
    assert [x.message for x in await broker.dead_letters(function)] == [sent[1]]
    await depth_is(broker, queue, 0, 0, dead=1)


async def test_there_is_nothing_to_replay_or_discard_where_there_is_no_such_letter(
    broker: Broker, queue: str, function: str
) -> None:
    (waiting,) = await publish(broker, function, 1)
    assert not await broker.replay(function, waiting.id, message(function))
    assert not await broker.discard(function, waiting.id)
    await depth_is(broker, queue, 1, 0)


# --- taking messages out


async def test_a_removed_message_is_never_delivered(
    broker: Broker, queue: str, function: str
) -> None:
    sent = await publish(broker, function, 3)
    assert await broker.remove(queue, sent[1].id)
    await depth_is(broker, queue, 2, 0)
    consumer = await broker.consume(queue, 3)
    assert [(await receive(consumer)).message for _ in range(2)] == [sent[0], sent[2]]


async def test_only_a_waiting_message_can_be_removed(
    broker: Broker, queue: str, function: str
) -> None:
    (sent,) = await publish(broker, function, 1)
    delivery = await receive(await broker.consume(queue, 1))
    assert not await broker.remove(queue, sent.id)
    assert not await broker.remove(queue, new_id())
    await depth_is(broker, queue, 0, 1)
    delivery.ack()
    assert not await broker.remove(queue, sent.id)


async def test_a_purge_drops_all_that_waits_and_nothing_that_is_leased(
    broker: Broker, queue: str, function: str
) -> None:
    await publish(broker, function, 4)
    consumer = await broker.consume(queue, 2)
    later, leased = await receive(consumer), await receive(consumer)
    consumer.prefetch = 0
    later.requeue(delay=3600)
    await depth_is(broker, queue, 3, 1)
    assert await broker.purge(queue) == 3
    await depth_is(broker, queue, 0, 1)
    leased.requeue()
    consumer.prefetch = 1
    assert (await receive(consumer)).message == replace(leased.message, attempt=2)
    assert await broker.purge(queue) == 0


# --- any sequence of operations


@dataclass
class Taker:
    """A consumer as the model sees it: what it may hold, what it holds, and whether it asks."""

    consumer: Consumer
    eager: bool  # asks again as soon as it has got something
    held: list[Delivery] = field(default_factory=list)
    asking: asyncio.Task[Delivery] | None = None

    @property
    def hungry(self) -> bool:
        return self.asking is not None and len(self.held) < self.consumer.prefetch


class Promises(RuleBasedStateMachine):
    """A broker beside a model of one queue: where each message is, and what may come next.

    After each step every ask that can be answered must be, the delivered message must be one whose
    turn it is, and the broker's depth must be the model's.
    """

    LIMIT = 1
    opener: OpenBroker
    patience: float  # seconds until what the broker does by itself must be done

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.function = f"f{uuid4().hex[:16]}"
        self.queue = queue_name(self.function, "cpu")
        self.broker = self.run(self.open())
        self.takers: list[Taker] = []
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

    # what happens after each step

    def step(self, work: Coroutine[Any, Any, T]) -> T:
        async def do() -> T:
            result = await work
            await self.answer_asks()
            return result

        return self.run(do())

    async def answer_asks(self) -> None:
        while self.next_up() and any(t.hungry for t in self.takers):
            await eventually(self.answered, True, self.patience)
            for taker in self.takers:
                if taker.asking and taker.asking.done():
                    self.take(taker)
        await eventually(lambda: self.broker.depth(self.queue), self.depth(), self.patience)
        assert not await self.answered(), "a delivery that was nobody's turn, or beyond a prefetch"

    async def answer(self, ask: asyncio.Task[Delivery]) -> Delivery:
        async def done() -> bool:
            return ask.done()

        await eventually(done, True, self.patience)
        return ask.result()

    async def answered(self) -> bool:
        return any(t.asking is not None and t.asking.done() for t in self.takers)

    def depth(self) -> Depth:
        ready, leased = len(self.at("ready", "delayed")), len(self.at("leased"))
        return Depth(ready, leased, len(self.at("dead")))

    def take(self, taker: Taker) -> None:
        assert taker.asking is not None
        delivery, taker.asking = taker.asking.result(), None
        got = delivery.message
        assert len(taker.held) < taker.consumer.prefetch
        assert self.place[got.id] == "ready", "not two live leases, and nothing that had left"
        assert got.id in self.next_up()
        assert got == self.messages[got.id]
        self.leave_line(got.id)
        self.place[got.id] = "leased"
        taker.held.append(delivery)
        self.handed_out.append((delivery, replace(got)))
        if taker.eager:
            taker.asking = begin(taker.consumer)

    # what may happen

    @initialize()
    def begin_with_some_messages_and_a_consumer(self) -> None:
        for priority in (NORMAL, HIGH, NORMAL, HIGH, NORMAL):
            self.publish(priority)
        self.consume(2, eager=True)

    @rule(priority=st.sampled_from([NORMAL, HIGH]))
    def publish(self, priority: int) -> None:
        sent = message(self.function, priority=priority)
        self.join_line(sent)
        self.step(self.broker.publish(self.queue, replace(sent)))

    @precondition(lambda self: len(self.takers) < 3)
    @rule(prefetch=st.integers(0, 3), eager=st.booleans())
    def consume(self, prefetch: int, eager: bool) -> None:
        async def start() -> None:
            taker = Taker(await self.broker.consume(self.queue, prefetch), eager)
            taker.asking = begin(taker.consumer) if eager else None
            self.takers.append(taker)

        self.step(start())

    @precondition(lambda self: any(t.asking is None for t in self.takers))
    @rule(n=st.integers(0, 9))
    def ask(self, n: int) -> None:
        taker = pick([t for t in self.takers if t.asking is None], n)

        async def start() -> None:
            taker.asking = begin(taker.consumer)

        self.step(start())

    @precondition(lambda self: any(t.asking for t in self.takers))
    @rule(n=st.integers(0, 9))
    def cancel_an_ask(self, n: int) -> None:
        taker = pick([t for t in self.takers if t.asking], n)

        async def cancel() -> None:
            assert taker.asking is not None
            taker.asking.cancel()
            await asyncio.wait([taker.asking])
            assert taker.asking.cancelled()
            taker.asking = None

        self.step(cancel())

    @precondition(lambda self: self.takers)
    @rule(n=st.integers(0, 9), prefetch=st.integers(0, 3))
    def set_prefetch(self, n: int, prefetch: int) -> None:
        async def change() -> None:
            pick(self.takers, n).consumer.prefetch = prefetch

        self.step(change())

    @precondition(lambda self: self.takers)
    @rule(n=st.integers(0, 9))
    def close_a_consumer(self, n: int) -> None:
        taker = pick(self.takers, n)
        self.takers.remove(taker)
        self.closed += taker.held

        async def close() -> None:
            await taker.consumer.close()
            with pytest.raises(StopAsyncIteration):
                await self.answer(taker.asking or begin(taker.consumer))

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
        if waits:
            self.leave_line(invocation)
            self.place[invocation] = "removed"
        assert self.step(self.broker.remove(self.queue, invocation)) is waits

    @precondition(lambda self: len(self.at("ready", "delayed")) > 3)
    @rule()
    def purge(self) -> None:
        waiting = self.at("ready", "delayed")
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
            if taker.asking:
                taker.asking.cancel()
                await asyncio.wait([taker.asking])
            await taker.consumer.close()
        for delivery in [d for taker in self.takers for d in taker.held] + self.closed:
            delivery.requeue(counted=False)
        left = self.at("ready", "leased")
        last = await self.broker.consume(self.queue, 1)
        while left:
            delivery = await self.answer(begin(last))
            left.remove(delivery.message.id)
            delivery.ack()
        wanted = Depth(len(self.at("delayed")), 0, len(self.at("dead")))
        await eventually(lambda: self.broker.depth(self.queue), wanted, self.patience)


def begin(consumer: Consumer) -> asyncio.Task[Delivery]:
    return asyncio.ensure_future(consumer.__anext__())


def pick(choices: list[T], n: int) -> T:
    return choices[n % len(choices)]


def test_no_sequence_of_operations_breaks_a_promise(
    open_broker: OpenBroker, patience: float
) -> None:
    class OverThisBroker(Promises):
        opener = staticmethod(open_broker)

    OverThisBroker.patience = patience
    run_state_machine_as_test(
        OverThisBroker,
        settings=settings(
            max_examples=80,
            stateful_step_count=40,
            deadline=None,
            phases=set(Phase) - {Phase.explain},  # it takes longer than this test may
        ),
    )
