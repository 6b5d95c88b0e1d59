"""Keep queues in this process's memory, for one asyncio loop.

A delivery is a lease, not a removal: the queue knows the message until it is acknowledged, rejected
or removed.  A message is leased when it is delivered, in the next turn of the loop: until then it
stays where it is counted, can be removed, and can go to whoever has room first.  Durability is the
ledger's, not this module's: what is queued here dies with the process, and is published again from
the ledger's rows.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

from runtime.brokers import Consumer, DeadLetter, OnDelivery, QueueSpec, Survey
from runtime.errors import Unavailable
from runtime.model import Depth, Message

READY, DELAYED, LEASED, GONE = range(4)

SWEEP_SLACK = 64  # removed entries that may lie in a queue before sweeping them out is worth it


class MemoryBroker:
    """Queues in memory: every rule of `runtime.brokers.Broker`, and a synchronous short cut.

    Not thread-safe: every call, `on_activation` too, happens on the loop that consumes.
    `on_activation(queue)` is called each time a queue's backlog (ready, delayed and leased) rises
    from 0, after the message is in; it must not raise, since the message is accepted by then.
    """

    def __init__(
        self,
        on_activation: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.time,  # unix seconds, for the dates of dead letters
    ) -> None:
        self.on_activation = on_activation
        self._dead = _DeadLetters(clock)
        self._queues: dict[str, _Queue] = {}
        self._closed = False

    async def declare(self, queues: Sequence[QueueSpec]) -> None:
        """Make the queues exist; one that does keeps its messages and takes the new limit."""
        for spec in queues:
            if (queue := self._queues.get(spec.name)) is not None:
                queue.spec = spec
            else:
                self._queues[spec.name] = _Queue(spec, self._dead)

    async def publish(self, queue: str, message: Message) -> None:
        self.publish_now(queue, message)

    def publish_now(self, queue: str, message: Message) -> None:
        """Queue the message, for the next turn of the loop; the caller lets go of it.

        Raises KeyError for no such queue, Unavailable after close(), and ValueError for an id that
        is ready, delayed or leased in this queue: the same work would run twice at once.
        """
        if self._closed:
            raise Unavailable("this node is shutting down; send it again in a moment", 1)
        target = self._queues[queue]
        idle = not target.index
        target.add(message)
        if idle and self.on_activation is not None:
            self.on_activation(queue)

    async def consume(self, queue: str, prefetch: int, on_delivery: OnDelivery) -> Consumer:
        """Start taking from a queue; consumers that have room get one message each in turn."""
        if self._closed:
            raise Unavailable("this node is shutting down; nothing is consumed any more", 1)
        return _Consumer(self._queues[queue], prefetch, on_delivery)

    async def depth(self, queue: str) -> Depth:
        return self.depth_now(queue)

    def depth_now(self, queue: str) -> Depth:
        """How full a queue is, in constant time; KeyError for no such queue."""
        return self._queues[queue].depth()

    async def survey(self, queues: Sequence[str]) -> Survey:
        depths = {name: self._queues[name].depth() for name in queues if name in self._queues}
        ready = {name: depth.ready for name, depth in depths.items()}
        return Survey(ready, {name: each.unacknowledged for name, each in depths.items()}, {})

    async def remove(self, queue: str, invocation: str) -> bool:
        """Take a waiting message out, in constant time (amortized) however long the queue is."""
        return self._queues[queue].remove(invocation)

    async def dead_letters(self, function: str, limit: int = 100) -> Sequence[DeadLetter]:
        return self._dead.oldest(function, limit)

    async def replay(self, function: str, invocation: str, message: Message) -> bool:
        """Publish `message` to the dead letter's queue; where that raises, the letter stays.

        An invocation that died more than once has that many letters: the oldest one is replayed.
        """
        letter = self._dead.find(function, invocation)
        if letter is None:
            return False
        self.publish_now(letter.queue, message)
        return self._dead.forget(function, invocation)

    async def discard(self, function: str, invocation: str) -> bool:
        return self._dead.forget(function, invocation)

    async def discard_many(self, function: str, choose: Callable[[DeadLetter], bool]) -> int:
        return self._dead.forget_many(function, choose)

    def recall(self, letters: Iterable[DeadLetter]) -> None:
        """Take over dead letters that an earlier process had, in any order.

        They come before those there are; an invocation that has some keeps only its own.
        """
        self._dead.recall(letters)

    async def purge(self, queue: str) -> int:
        return self._queues[queue].purge()

    async def close(self) -> None:
        """End every consumer and stop the timers; deliveries may still be settled."""
        self._closed = True
        for queue in self._queues.values():
            queue.close()


@dataclass(slots=True, eq=False)
class _Delivery:
    """A place in a queue, made when the message comes in; once leased, the worker's handle on it.

    Giving it back makes a new one, so that a lease that is over can never settle the next.
    """

    message: Message
    queue: "_Queue"
    returns: int = 0  # counted requeues so far
    state: int = READY
    consumer: "_Consumer | None" = None  # who holds or held the lease

    def ack(self) -> None:
        if self.state == LEASED:
            self.queue.settle(self)

    def requeue(self, *, counted: bool = True, delay: float = 0.0) -> None:
        """Give it back to the very head of its priority; after `delay` seconds, to the tail.

        So several that are given back come in the reverse of the order in which that was done: to
        keep theirs, give back the last one first.
        """
        if self.state == LEASED:
            self.queue.take_back(self, counted, delay)

    def reject(self, reason: str) -> None:
        if self.state == LEASED:
            self.queue.bury(self, reason)


class _Consumer:
    """Takes from a queue whenever it has room for another lease."""

    __slots__ = ("_prefetch", "closed", "in_line", "leases", "on_delivery", "queue")

    def __init__(self, queue: "_Queue", prefetch: int, on_delivery: OnDelivery) -> None:
        self.queue = queue
        self.on_delivery = on_delivery
        self.leases = 0
        self.closed = False
        self.in_line = False  # one of queue.line
        self._prefetch = prefetch
        queue.consumers.add(self)
        self.line_up()

    @property
    def prefetch(self) -> int:
        return self._prefetch

    @prefetch.setter
    def prefetch(self, value: int) -> None:
        self._prefetch = value
        self.line_up()

    @property
    def has_room(self) -> bool:
        return self.leases < self._prefetch and not self.closed

    def line_up(self) -> None:
        """Stand in line, where it has room and does not yet."""
        if not self.in_line and self.has_room:
            self.in_line = True
            self.queue.line.append(self)
            self.queue.wake()

    def release(self) -> None:
        """One of its leases is over."""
        self.leases -= 1
        self.line_up()

    async def close(self) -> None:
        self.stop()

    def stop(self) -> None:
        self.closed = True
        self.queue.consumers.discard(self)
        if self.in_line:
            self.in_line = False
            self.queue.line.remove(self)


class _Queue:
    """The messages of one queue: ready ones in lanes, delayed ones on timers, leased ones out.

    Between two calls, a dispatch is due if a message is ready and a consumer is in line.
    """

    def __init__(self, spec: QueueSpec, dead: "_DeadLetters") -> None:
        self.spec = spec
        self.dead = dead
        self.closed = False
        self.index: dict[str, _Delivery] = {}  # all that is ready, delayed or leased, by id
        self.lanes: dict[int, deque[_Delivery]] = {}  # by priority, the highest first
        self.ready = 0  # in the lanes, removed ones not counted
        self.removed = 0  # still in the lanes, to be skipped
        self.timers: dict[str, asyncio.TimerHandle] = {}  # of the delayed ones, by id
        self.consumers: set[_Consumer] = set()
        self.line: deque[_Consumer] = deque()  # who had room, in the order of their turns
        self.dispatching = False  # a dispatch is due in the next turn of the loop

    def depth(self) -> Depth:
        ready = self.ready + len(self.timers)
        return Depth(ready, len(self.index) - ready, self.dead.count(self.spec.name))

    def add(self, message: Message) -> None:
        if message.id in self.index:
            raise ValueError(f"{message.id} is in {self.spec.name} already: publish an id once")
        delivery = self.index[message.id] = _Delivery(message, self)
        self.push(delivery)

    def push(self, delivery: _Delivery, *, head: bool = False) -> None:
        priority = delivery.message.priority
        lane = self.lanes.get(priority)
        if lane is None:
            lane = self.open_lane(priority)
        if head:
            lane.appendleft(delivery)
        else:
            lane.append(delivery)
        delivery.state = READY
        self.ready += 1
        self.wake()

    def open_lane(self, priority: int) -> deque[_Delivery]:
        lane: deque[_Delivery] = deque()
        used = [(p, other) for p, other in self.lanes.items() if other]
        self.lanes = dict(sorted([*used, (priority, lane)], key=lambda x: x[0], reverse=True))
        return lane

    def take(self) -> _Delivery:
        """Take the oldest of the highest priority out of its lane; only while some are ready."""
        while True:
            priority, lane = next(iter(self.lanes.items()))
            while lane:
                delivery = lane.popleft()
                if delivery.state == READY:
                    self.ready -= 1
                    return delivery
                self.removed -= 1
            del self.lanes[priority]

    def wake(self) -> None:
        """Have what is ready delivered, in the next turn of the loop."""
        if not self.dispatching and self.ready and self.line:
            self.dispatching = True
            asyncio.get_running_loop().call_soon(self.dispatch)

    def dispatch(self) -> None:
        """Deliver what is ready, one message to each consumer in turn.

        No more than are ready now: who gives everything back at once does not hold up the loop.
        """
        left = self.ready
        try:
            while left and self.ready and self.line:
                consumer = self.line.popleft()
                consumer.in_line = False
                if consumer.has_room:
                    left -= 1
                    self.deliver(consumer)
        finally:
            self.dispatching = False
            self.wake()

    def deliver(self, consumer: _Consumer) -> None:
        delivery = self.take()
        delivery.state = LEASED
        delivery.consumer = consumer
        consumer.leases += 1
        consumer.line_up()
        consumer.on_delivery(delivery)

    def settle(self, delivery: _Delivery) -> None:
        """End the lease and forget the message."""
        del self.index[delivery.message.id]
        self.end_lease(delivery)

    def end_lease(self, delivery: _Delivery) -> None:
        delivery.state = GONE
        if delivery.consumer is not None:
            delivery.consumer.release()

    def bury(self, delivery: _Delivery, reason: str) -> None:
        self.dead.add(delivery.message, self.spec.name, reason)
        self.settle(delivery)

    def take_back(self, delivery: _Delivery, counted: bool, delay: float) -> None:
        message, returns = delivery.message, delivery.returns + counted
        if returns > self.spec.delivery_limit:
            limit = self.spec.delivery_limit
            self.bury(delivery, f"given back {returns} times, over its queue's limit of {limit}")
            return
        if counted:  # a copy, since the delivery that is over still shows its own attempt
            message = replace(message, attempt=message.attempt + 1)
        again = self.index[message.id] = _Delivery(message, self, returns)
        if delay > 0:
            self.postpone(again, delay)
        else:
            self.push(again, head=True)
        self.end_lease(delivery)

    def postpone(self, delivery: _Delivery, delay: float) -> None:
        delivery.state = DELAYED
        timer = asyncio.get_running_loop().call_later(delay, self.come_due, delivery)
        self.timers[delivery.message.id] = timer
        if self.closed:
            timer.cancel()

    def come_due(self, delivery: _Delivery) -> None:
        del self.timers[delivery.message.id]
        self.push(delivery)

    def remove(self, invocation: str) -> bool:
        delivery = self.index.get(invocation)
        if delivery is None or delivery.state == LEASED:
            return False
        del self.index[invocation]
        if delivery.state == DELAYED:
            self.timers.pop(invocation).cancel()
        else:
            self.ready -= 1
            self.removed += 1
            del delivery.message  # its place stays in the lane for a while; its payload need not
        delivery.state = GONE
        if self.removed > self.ready + SWEEP_SLACK:
            self.sweep()
        return True

    def sweep(self) -> None:
        """Forget the places of removed messages: at most two are visited for each removal."""
        lanes = {p: deque(d for d in lane if d.state == READY) for p, lane in self.lanes.items()}
        self.lanes = {p: lane for p, lane in lanes.items() if lane}
        self.removed = 0

    def purge(self) -> int:
        dropped = self.depth().ready
        for timer in self.timers.values():
            timer.cancel()
        self.timers.clear()
        self.lanes.clear()
        self.ready = self.removed = 0
        self.index = {i: d for i, d in self.index.items() if d.state == LEASED}
        return dropped

    def close(self) -> None:
        """Let nothing more happen by itself: delayed messages stay, but never fall due."""
        self.closed = True
        for timer in self.timers.values():
            timer.cancel()
        for consumer in list(self.consumers):
            consumer.stop()


class _DeadLetters:
    """All dead letters, by function and then by invocation; none is ever dropped unasked."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._letters: dict[str, dict[str, list[DeadLetter]]] = {}
        self._counts: Counter[str] = Counter()  # by queue

    def add(self, message: Message, queue: str, reason: str) -> None:
        letter = DeadLetter(message, queue, reason, self._clock())
        self._letters.setdefault(message.function, {}).setdefault(message.id, []).append(letter)
        self._counts[queue] += 1

    def forget_many(self, function: str, choose: Callable[[DeadLetter], bool]) -> int:
        every = list(chain.from_iterable(self._letters.get(function, {}).values()))
        chosen = [letter for letter in every if choose(letter)]
        for letter in chosen:
            self._letters[function][letter.message.id].remove(letter)
            self._counts[letter.queue] -= 1
        for id in {letter.message.id for letter in chosen}:
            if not self._letters[function][id]:
                del self._letters[function][id]
        return len(chosen)

    def recall(self, letters: Iterable[DeadLetter]) -> None:
        earlier: dict[str, dict[str, list[DeadLetter]]] = {}
        for letter in sorted(letters, key=lambda letter: letter.at):
            message = letter.message
            if message.id not in self._letters.get(message.function, ()):
                earlier.setdefault(message.function, {}).setdefault(message.id, []).append(letter)
                self._counts[letter.queue] += 1
        for function, recalled in earlier.items():
            self._letters[function] = recalled | self._letters.get(function, {})

    def count(self, queue: str) -> int:
        return self._counts[queue]

    def oldest(self, function: str, limit: int) -> list[DeadLetter]:
        """In the order in which invocations first died; the letters of one stay together."""
        letters = self._letters.get(function, {})
        return list(islice(chain.from_iterable(letters.values()), limit))

    def find(self, function: str, invocation: str) -> DeadLetter | None:
        letters = self._letters.get(function, {}).get(invocation)
        return letters[0] if letters else None

    def forget(self, function: str, invocation: str) -> bool:
        """Forget the oldest letter of an invocation; False if there is none."""
        letter = self.find(function, invocation)
        if letter is None:
            return False
        letters = self._letters[function][invocation]
        letters.pop(0)
        if not letters:
            del self._letters[function][invocation]
        self._counts[letter.queue] -= 1
        return True
