"""What is particular to the broker in memory; the rest is in test_contract.py."""

import asyncio
import gc
import sys
import tracemalloc
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextvars import Context
from dataclasses import dataclass
from types import FrameType
from typing import Any, TypeVar, TypeVarTuple

import pytest

from runtime.brokers import Broker, Delivery, QueueSpec
from runtime.brokers.memory import MemoryBroker
from runtime.errors import Unavailable
from runtime.model import Depth, Message, Payload, new_id
from tests.support import Inbox

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
QUEUE = "matmul.cpu"
NOTHING = Payload()


def message(**more: Any) -> Message:
    return Message(more.pop("id", None) or new_id(), "matmul", "cpu", NOTHING, 0.0, **more)


async def opened(on_activation: Callable[[str], None] | None = None) -> MemoryBroker:
    broker = MemoryBroker(on_activation)
    await broker.declare([QueueSpec(QUEUE)])
    return broker


def fill(broker: MemoryBroker, count: int, **more: Any) -> list[Message]:
    messages = [message(**more) for _ in range(count)]
    for each in messages:
        broker.publish_now(QUEUE, each)
    return messages


async def drained(inbox: Inbox, count: int) -> list[Message]:
    got = []
    for _ in range(count):
        delivery = await inbox.receive()
        got.append(delivery.message)
        delivery.ack()
    return got


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def without_suspending(call: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that must not wait for anything."""
    try:
        call.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    call.close()
    raise AssertionError("it suspended")


# --- the hot path


async def test_it_is_a_broker_and_publishing_does_not_suspend() -> None:
    broker: Broker = await opened()
    without_suspending(broker.publish(QUEUE, message()))
    assert without_suspending(broker.depth(QUEUE)) == Depth(ready=1)


async def test_all_that_is_ready_is_delivered_in_one_turn_of_the_loop() -> None:
    broker = await opened()
    inbox = await Inbox.open(broker, QUEUE, 5)
    sent = fill(broker, 3)
    assert broker.depth_now(QUEUE) == Depth(ready=3)
    await asyncio.sleep(0)
    assert inbox.arrived() == 3
    got = [(await inbox.receive()).message for _ in sent]
    assert all(a is b for a, b in zip(got, sent, strict=True))
    assert broker.depth_now(QUEUE) == Depth(unacknowledged=3)


async def test_a_turn_of_the_loop_has_one_dispatch_however_much_happens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = await opened()
    inbox = await Inbox.open(broker, QUEUE, 10)
    loop = asyncio.get_running_loop()
    scheduled: list[object] = []
    call_soon = loop.call_soon

    def count(callback: Callable[..., object], *args: Any, **more: Any) -> asyncio.Handle:
        scheduled.append(callback)
        return call_soon(callback, *args, **more)

    monkeypatch.setattr(loop, "call_soon", count)
    fill(broker, 5)
    inbox.prefetch = 20
    fill(broker, 5)
    assert len(scheduled) == 1


async def test_a_message_can_be_removed_until_the_dispatch() -> None:
    broker = await opened()
    inbox = await Inbox.open(broker, QUEUE, 10)
    first, second = fill(broker, 2)
    assert await broker.remove(QUEUE, first.id)
    assert (await inbox.receive()).message is second
    assert not await broker.remove(QUEUE, second.id)
    assert broker.depth_now(QUEUE) == Depth(unacknowledged=1)


async def test_a_purge_before_the_dispatch_leaves_nothing_to_deliver() -> None:
    broker = await opened()
    inbox = await Inbox.open(broker, QUEUE, 10)
    fill(broker, 3)
    assert await broker.purge(QUEUE) == 3
    await turns()
    assert not inbox.arrived()


async def test_consumers_take_strict_turns() -> None:
    broker = await opened()
    turns_taken: list[int] = []

    def taker(number: int) -> Callable[[Delivery], None]:
        return lambda _: turns_taken.append(number)

    for number in range(3):
        await broker.consume(QUEUE, 4, taker(number))
    for _ in range(20):
        fill(broker, 1)
        await turns()
    assert turns_taken == [0, 1, 2] * 4  # then each holds its four
    assert broker.depth_now(QUEUE) == Depth(ready=8, unacknowledged=12)


async def test_a_consumer_without_room_is_passed_over_and_keeps_no_turn() -> None:
    broker = await opened()
    full, free = await Inbox.open(broker, QUEUE, 1), await Inbox.open(broker, QUEUE, 5)
    fill(broker, 1)
    held = await full.receive()
    for _ in range(3):
        (sent,) = fill(broker, 1)
        assert (await free.receive()).message is sent
    held.ack()
    fill(broker, 2)
    await turns()
    assert (full.arrived(), free.arrived()) == (1, 1)


async def test_setting_the_prefetch_often_earns_no_more_turns() -> None:
    broker = await opened()
    often, once = await Inbox.open(broker, QUEUE, 9), await Inbox.open(broker, QUEUE, 9)
    for prefetch in (10, 11, 12):
        often.prefetch = prefetch
    fill(broker, 4)
    await turns()
    assert (often.arrived(), once.arrived()) == (2, 2)


async def test_who_gives_everything_back_at_once_does_not_hold_up_the_loop() -> None:
    broker = await opened()
    seen = 0

    def on_delivery(delivery: Delivery) -> None:
        nonlocal seen
        seen += 1
        delivery.requeue(counted=False)

    consumer = await broker.consume(QUEUE, 1, on_delivery)
    fill(broker, 3)
    await asyncio.sleep(0)
    assert seen == 3
    await asyncio.sleep(0)
    assert seen == 6
    await consumer.close()
    await turns()
    assert seen == 6
    assert broker.depth_now(QUEUE) == Depth(ready=3)


async def test_a_callback_that_raises_costs_nobody_else_a_message() -> None:
    broker = await opened()
    loop = asyncio.get_running_loop()
    told: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: told.append(context))

    def wrong(_: Delivery) -> None:
        raise ZeroDivisionError

    await broker.consume(QUEUE, 1, wrong)
    inbox = await Inbox.open(broker, QUEUE, 5)
    _, *others = fill(broker, 3)
    assert await drained(inbox, 2) == others
    assert [type(context["exception"]) for context in told] == [ZeroDivisionError]


async def test_consumers_that_come_and_go_take_no_memory(traced: None) -> None:
    broker = await opened()

    async def churn() -> None:
        for _ in range(1_000):
            await (await Inbox.open(broker, QUEUE, 1)).close()

    await churn()
    before = allocated()
    await churn()
    assert allocated() - before < 20_000


async def test_publishing_after_close_and_to_nowhere_is_refused_at_once() -> None:
    broker = await opened()
    with pytest.raises(KeyError):
        broker.publish_now("nowhere.cpu", message())
    with pytest.raises(KeyError):
        broker.depth_now("nowhere.cpu")
    await broker.close()
    with pytest.raises(Unavailable):
        broker.publish_now(QUEUE, message())


# --- between a publish and the dispatch


async def stop_by_closing(inbox: Inbox) -> None:
    await inbox.close()


async def stop_by_pausing(inbox: Inbox) -> None:
    inbox.prefetch = 0


@pytest.mark.parametrize("stop", [stop_by_closing, stop_by_pausing])
async def test_what_was_published_in_the_turn_in_which_its_taker_stops_is_for_the_next(
    stop: Callable[[Inbox], Coroutine[Any, Any, None]],
) -> None:
    broker = await opened()
    stopped = await Inbox.open(broker, QUEUE, 1)
    sent = fill(broker, 3)
    await stop(stopped)
    await turns()
    assert not stopped.arrived()
    assert broker.depth_now(QUEUE) == Depth(ready=3)
    got = await drained(await Inbox.open(broker, QUEUE, 1), 3)
    assert got == sent
    assert [m.attempt for m in got] == [1, 1, 1]


async def test_a_paused_consumer_goes_on_where_it_stopped() -> None:
    broker = await opened()
    inbox = await Inbox.open(broker, QUEUE, 1)
    (sent,) = fill(broker, 1)
    inbox.prefetch = 0
    await turns()
    assert not inbox.arrived()
    inbox.prefetch = 1
    assert (await inbox.receive()).message is sent


async def test_closing_the_broker_before_the_dispatch_delivers_nothing() -> None:
    broker = await opened()
    inbox = await Inbox.open(broker, QUEUE, 1)
    fill(broker, 1)
    await broker.close()
    await turns()
    assert not inbox.arrived()
    assert broker.depth_now(QUEUE) == Depth(ready=1)


# --- order


async def test_any_number_is_a_priority() -> None:
    broker = await opened()
    for priority in (0, -3, 7, 2, 7, -3):
        fill(broker, 1, priority=priority)
    got = await drained(await Inbox.open(broker, QUEUE, 1), 6)
    assert [m.priority for m in got] == [7, 7, 2, 0, -3, -3]


async def test_messages_given_back_in_reverse_come_back_in_their_order() -> None:
    broker = await opened()
    sent = fill(broker, 5)
    inbox = await Inbox.open(broker, QUEUE, 3)
    held = [await inbox.receive() for _ in range(3)]
    for delivery in reversed(held):
        delivery.requeue(counted=False)
    assert await drained(inbox, 5) == sent


async def test_each_message_given_back_goes_to_the_very_head() -> None:
    broker = await opened()
    sent = fill(broker, 5)
    inbox = await Inbox.open(broker, QUEUE, 3)
    for delivery in [await inbox.receive() for _ in range(3)]:
        delivery.requeue(counted=False)
    assert await drained(inbox, 5) == [*reversed(sent[:3]), *sent[3:]]


async def test_a_message_removed_and_published_again_takes_its_new_place() -> None:
    broker = await opened()
    first, second = fill(broker, 2)
    assert await broker.remove(QUEUE, first.id)
    broker.publish_now(QUEUE, first)
    assert await drained(await Inbox.open(broker, QUEUE, 1), 2) == [second, first]
    assert broker.depth_now(QUEUE) == Depth()


# --- one id, one message


def refuses(broker: MemoryBroker, again: Message) -> None:
    before = broker.depth_now(QUEUE)
    with pytest.raises(ValueError, match=again.id):
        broker.publish_now(QUEUE, again)
    assert broker.depth_now(QUEUE) == before


async def test_an_id_that_is_ready_leased_or_delayed_cannot_be_published_again() -> None:
    broker = await opened()
    (sent,) = fill(broker, 1)
    inbox = await Inbox.open(broker, QUEUE, 1)
    refuses(broker, message(id=sent.id))
    delivery = await inbox.receive()
    refuses(broker, message(id=sent.id))
    delivery.requeue(delay=3600)
    refuses(broker, message(id=sent.id))
    assert await broker.purge(QUEUE) == 1
    broker.publish_now(QUEUE, message(id=sent.id))
    await broker.close()


async def test_an_id_may_be_published_again_once_its_message_is_gone() -> None:
    broker = await opened()
    (sent,) = fill(broker, 1)
    (await (await Inbox.open(broker, QUEUE, 1)).receive()).ack()
    broker.publish_now(QUEUE, message(id=sent.id))
    assert await broker.remove(QUEUE, sent.id)
    broker.publish_now(QUEUE, message(id=sent.id))
    assert broker.depth_now(QUEUE) == Depth(ready=1)


# --- dead letters


async def test_a_dead_letter_is_dated_by_the_clock_and_none_is_ever_dropped() -> None:
    now = iter(range(20_000))
    broker = MemoryBroker(clock=lambda: float(next(now)))
    await broker.declare([QueueSpec(QUEUE)])
    sent = fill(broker, 12_000)
    inbox = await Inbox.open(broker, QUEUE, 1)
    for _ in sent:
        (await inbox.receive()).reject("no good")
    letters = await broker.dead_letters("matmul", limit=20_000)
    assert [x.message for x in letters] == sent
    assert [x.at for x in letters] == [float(i) for i in range(12_000)]
    assert broker.depth_now(QUEUE) == Depth(dead=12_000)


async def test_an_invocation_that_died_twice_has_two_letters_and_each_can_be_replayed() -> None:
    broker = await opened()
    inbox = await Inbox.open(broker, QUEUE, 1)
    for reason in ("first", "second"):
        broker.publish_now(QUEUE, message(id="a" * 32))
        (await inbox.receive()).reject(reason)
    assert [x.reason for x in await broker.dead_letters("matmul")] == ["first", "second"]
    assert await broker.replay("matmul", "a" * 32, message())
    assert [x.reason for x in await broker.dead_letters("matmul")] == ["second"]
    assert broker.depth_now(QUEUE) == Depth(ready=1, dead=1)
    assert await broker.discard("matmul", "a" * 32)
    assert broker.depth_now(QUEUE) == Depth(ready=1)


async def test_the_oldest_letter_of_an_invocation_is_replayed_into_its_own_queue() -> None:
    broker = await opened()
    other = "matmul.gpu"
    await broker.declare([QueueSpec(other)])
    for queue in (other, QUEUE):
        broker.publish_now(queue, message(id="a" * 32))
        (await (await Inbox.open(broker, queue, 1)).receive()).reject("no good")
    assert await broker.replay("matmul", "a" * 32, message())
    assert broker.depth_now(other) == Depth(ready=1)
    assert broker.depth_now(QUEUE) == Depth(dead=1)


async def test_a_replay_that_is_refused_keeps_the_letter() -> None:
    broker = await opened()
    lost, waiting = fill(broker, 2)
    (await (await Inbox.open(broker, QUEUE, 1)).receive()).reject("no good")
    with pytest.raises(ValueError, match=waiting.id):
        await broker.replay("matmul", lost.id, message(id=waiting.id))
    assert broker.depth_now(QUEUE) == Depth(ready=1, dead=1)


async def test_declaring_again_takes_the_new_delivery_limit() -> None:
    broker = await opened()
    fill(broker, 1)
    await broker.declare([QueueSpec(QUEUE, delivery_limit=0)])
    (await (await Inbox.open(broker, QUEUE, 1)).receive()).requeue()
    assert broker.depth_now(QUEUE) == Depth(dead=1)
    (letter,) = await broker.dead_letters("matmul")
    assert letter.message.attempt == 1
    assert letter.reason == "given back 1 times, over its queue's limit of 0"


# --- activation


@dataclass
class Activations:
    """What on_activation was told, and the depth it could see then."""

    broker: MemoryBroker
    seen: list[tuple[str, Depth]]

    def __call__(self, queue: str) -> None:
        self.seen.append((queue, self.broker.depth_now(queue)))

    def take(self) -> list[tuple[str, Depth]]:
        taken, self.seen = self.seen, []
        return taken


@pytest.fixture
async def activations() -> Activations:
    broker = await opened()
    broker.on_activation = told = Activations(broker, [])
    return told


async def test_an_activation_is_told_once_when_the_backlog_rises_from_zero(
    activations: Activations,
) -> None:
    fill(activations.broker, 3)
    assert activations.take() == [(QUEUE, Depth(ready=1))]
    await drained(await Inbox.open(activations.broker, QUEUE, 1), 3)
    assert activations.take() == []
    await activations.broker.publish(QUEUE, message())
    assert activations.take() == [(QUEUE, Depth(ready=1))]


async def test_an_activation_is_told_though_a_consumer_waits(activations: Activations) -> None:
    inbox = await Inbox.open(activations.broker, QUEUE, 1)
    fill(activations.broker, 1)
    assert activations.take() == [(QUEUE, Depth(ready=1))]
    await inbox.receive()


async def test_no_activation_is_told_while_something_is_leased_delayed_or_given_back(
    activations: Activations,
) -> None:
    broker = activations.broker
    fill(broker, 1)
    activations.take()
    inbox = await Inbox.open(broker, QUEUE, 1)
    (await inbox.receive()).requeue()
    delivery = await inbox.receive()
    fill(broker, 1)
    delivery.requeue(delay=3600)
    (await inbox.receive()).ack()
    fill(broker, 1)
    assert activations.take() == []
    await broker.close()


async def test_an_activation_is_told_for_a_replay_and_not_for_what_is_refused(
    activations: Activations,
) -> None:
    broker = activations.broker
    (lost,) = fill(broker, 1)
    (await (await Inbox.open(broker, QUEUE, 1)).receive()).reject("no good")
    activations.take()
    assert not await broker.replay("matmul", "unknown", message())
    assert activations.take() == []
    assert await broker.replay("matmul", lost.id, lost)
    assert [(queue, depth.ready) for queue, depth in activations.take()] == [(QUEUE, 1)]


# --- delays, by a clock that the test moves


class ClockLoop(asyncio.SelectorEventLoop):
    """A loop whose time moves on by hand as well, and that remembers its timers."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0.0
        self.timers: list[asyncio.TimerHandle] = []

    def time(self) -> float:
        return super().time() + getattr(self, "ahead", 0.0)

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = super().call_later(delay, callback, *args, context=context)
        self.timers.append(timer)
        return timer

    def pending(self) -> int:
        return sum(not t.cancelled() and t.when() > self.time() for t in self.timers)


async def advance(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ClockLoop)
    loop.ahead += seconds
    await turns()


def pending() -> int:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ClockLoop)
    return loop.pending()


@pytest.fixture
def by_the_clock() -> Iterator[Callable[[Coroutine[Any, Any, None]], None]]:
    with asyncio.Runner(loop_factory=ClockLoop) as runner:
        yield runner.run


RunByTheClock = Callable[[Coroutine[Any, Any, None]], None]


async def take_now(inbox: Inbox, count: int) -> list[Delivery]:
    """What has arrived, without waiting for anything but turns of the loop."""
    await turns()
    assert inbox.arrived() >= count
    return [await inbox.receive() for _ in range(count)]


def test_delayed_messages_come_due_each_at_its_time_at_the_tail(
    by_the_clock: RunByTheClock,
) -> None:
    async def scenario() -> None:
        broker = await opened()
        soon, late, other = fill(broker, 3)
        inbox = await Inbox.open(broker, QUEUE, 2)
        first, second = await take_now(inbox, 2)
        second.requeue(counted=False, delay=300)
        first.requeue(counted=False, delay=60)
        assert broker.depth_now(QUEUE) == Depth(ready=3)
        assert [d.message for d in await take_now(inbox, 1)] == [other]
        await advance(59)
        assert not inbox.arrived()
        assert broker.depth_now(QUEUE) == Depth(ready=2, unacknowledged=1)
        await advance(2)
        assert [d.message for d in await take_now(inbox, 1)] == [soon]
        (tail,) = fill(broker, 1)
        await advance(240)
        inbox.prefetch = 4
        assert [d.message for d in await take_now(inbox, 2)] == [tail, late]

    by_the_clock(scenario())


def test_a_delayed_message_that_is_removed_or_purged_leaves_no_timer(
    by_the_clock: RunByTheClock,
) -> None:
    async def scenario() -> None:
        broker = await opened()
        removed, *_ = fill(broker, 3)
        for delivery in await take_now(await Inbox.open(broker, QUEUE, 3), 3):
            delivery.requeue(delay=60)
        assert pending() == 3
        assert await broker.remove(QUEUE, removed.id)
        assert pending() == 2
        assert await broker.purge(QUEUE) == 2
        assert pending() == 0
        await advance(100)
        assert broker.depth_now(QUEUE) == Depth()

    by_the_clock(scenario())


def test_closing_the_broker_cancels_the_timers_and_settling_starts_none(
    by_the_clock: RunByTheClock,
) -> None:
    async def scenario() -> None:
        broker = await opened()
        fill(broker, 3)
        before, after, done = await take_now(await Inbox.open(broker, QUEUE, 3), 3)
        before.requeue(delay=60)
        await broker.close()
        assert pending() == 0
        after.requeue(delay=60)
        done.ack()
        assert pending() == 0
        assert broker.depth_now(QUEUE) == Depth(ready=2)

    by_the_clock(scenario())


# --- a hundred thousand messages


def allocated() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


async def test_a_queued_message_costs_at_most_200_bytes_beside_itself() -> None:
    count = 100_000
    messages = [message() for _ in range(count)]
    broker = await opened()
    tracemalloc.start()
    try:
        before = allocated()
        for each in messages:
            broker.publish_now(QUEUE, each)
        cost = (allocated() - before) / count
    finally:
        tracemalloc.stop()
    assert broker.depth_now(QUEUE) == Depth(ready=count)
    assert cost <= 200


async def test_publishing_and_removing_for_ever_takes_no_memory(traced: None) -> None:
    broker = await opened()
    fill(broker, 10)

    async def churn() -> None:
        for priority in range(2_000):
            (sent,) = fill(broker, 1, priority=priority)
            assert await broker.remove(QUEUE, sent.id)

    await churn()
    before = allocated()
    await churn()
    assert allocated() - before < 20_000


async def test_ever_new_priorities_take_no_memory(traced: None) -> None:
    broker = await opened()
    inbox = await Inbox.open(broker, QUEUE, 1)

    async def churn(first: int) -> None:
        for priority in range(first, first + 1_000):
            fill(broker, 1, priority=priority)
            (await inbox.receive()).ack()

    await churn(0)
    before = allocated()
    await churn(1_000)
    assert allocated() - before < 20_000


class Id(str):
    """An id that can be watched."""

    __slots__ = ("__weakref__",)


async def test_a_removed_message_is_let_go_at_once_and_not_when_its_place_comes_up() -> None:
    broker = await opened()
    fill(broker, 100)
    doomed = message(id=Id("a" * 32))
    watched = weakref.ref(doomed.id)
    broker.publish_now(QUEUE, doomed)
    assert await broker.remove(QUEUE, doomed.id)
    del doomed
    assert watched() is None


class CountingDeque(deque[T]):
    """A deque that counts the elements that its slow operations walk over."""

    walked = 0

    def __iter__(self) -> Iterator[T]:
        for element in super().__iter__():
            CountingDeque.walked += 1
            yield element

    def walk(self) -> None:
        CountingDeque.walked += len(self)

    def remove(self, value: T) -> None:
        self.walk()
        super().remove(value)

    def index(self, *rest: Any) -> int:
        self.walk()
        return super().index(*rest)

    def __contains__(self, value: object) -> bool:
        self.walk()
        return super().__contains__(value)

    def __delitem__(self, key: Any) -> None:
        self.walk()
        super().__delitem__(key)

    def rotate(self, n: int = 1) -> None:
        self.walk()
        super().rotate(n)


def lines_run(work: Coroutine[Any, Any, T]) -> tuple[T, int]:
    """The result of a coroutine that does not suspend, and how many lines of Python it ran."""
    lines = 0

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        result = without_suspending(work)
    finally:
        sys.settrace(previous)
    return result, lines


async def test_removing_from_the_middle_walks_over_no_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runtime.brokers.memory.deque", CountingDeque)
    monkeypatch.setattr(CountingDeque, "walked", 0)
    broker = await opened()
    count = 4_000
    sent = fill(broker, count)
    middle_first = sorted(range(count), key=lambda i: abs(i - count // 2))
    lines = 0
    for i in middle_first:
        removed, ran = lines_run(broker.remove(QUEUE, sent[i].id))
        assert removed
        lines += ran
    assert broker.depth_now(QUEUE) == Depth()
    assert CountingDeque.walked <= 2 * count  # walking for each would be 8 000 000
    assert lines <= 40 * count
