"""A worker's source that gives one message and no second."""

import asyncio
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.brokers import Consumer, Delivery, OnDelivery, QueueSpec
from runtime.brokers.memory import MemoryBroker
from runtime.model import Message, Payload, new_id
from runtime.once import Once

QUEUE = "train.gpu"
SETTLE: dict[str, Callable[[Delivery], None]] = {
    "ack": lambda delivery: delivery.ack(),
    "retry": lambda delivery: delivery.requeue(delay=3600),
    "give up": lambda delivery: delivery.reject("its replica died"),
}


class Rig:
    """A queue with some messages, and who takes one of them."""

    def __init__(self, patience: float = 60.0) -> None:
        self.broker = MemoryBroker()
        self.over = 0
        self.taken: list[Delivery] = []
        self.once = Once(self.broker, self._end, patience)
        self.consumer: Consumer

    async def open(self, messages: int = 0) -> "Rig":
        await self.broker.declare([QueueSpec(QUEUE)])
        for _ in range(messages):
            self.publish()
        self.consumer = await self.once.consume(QUEUE, 0, self.taken.append)
        return self

    def publish(self) -> None:
        self.broker.publish_now(QUEUE, Message(new_id(), "train", "gpu", Payload(), time.time()))

    def _end(self) -> None:
        self.over += 1

    async def turn(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    @property
    def left(self) -> int:
        return self.broker.depth_now(QUEUE).ready


@pytest.mark.parametrize("end", SETTLE)
async def test_one_of_many_is_taken_and_its_end_is_the_workers(end: str) -> None:
    rig = await Rig().open(messages=5)
    rig.consumer.prefetch = 64  # what a pool of short functions asks for
    await rig.turn()
    assert (len(rig.taken), rig.left, rig.over, rig.once.taken) == (1, 4, 0, True)
    SETTLE[end](rig.taken[0])
    await rig.turn()
    delayed = end == "retry"  # which counts as waiting
    assert (len(rig.taken), rig.left, rig.over) == (1, 4 + delayed, 1)
    assert rig.taken[0].message.attempt == 1


@given(
    st.lists(
        st.sampled_from(["publish", "turn", "pause", "resume", "settle"]), min_size=1, max_size=30
    )
)
def test_never_is_a_second_one_in_hand(steps: list[str]) -> None:
    async def play() -> None:
        rig = await Rig().open(messages=2)
        for step in steps:
            if step == "publish":
                rig.publish()
            elif step == "turn":
                await rig.turn()
            elif step == "settle":
                for delivery in rig.taken:
                    delivery.ack()
            else:
                rig.consumer.prefetch = 3 if step == "resume" else 0
            assert len(rig.taken) <= 1
            assert rig.broker.depth_now(QUEUE).unacknowledged <= 1
        await rig.consumer.close()

    asyncio.run(play())


async def test_the_consumer_has_ended_when_the_message_is_handed_on() -> None:
    """However short the function is: what it acknowledges makes room for no other."""
    closed: list[bool] = []

    class Slow:
        """A consumer whose end takes a while."""

        prefetch = 0

        async def close(self) -> None:
            await asyncio.sleep(0.01)
            closed.append(True)

    class Source:
        on_delivery: OnDelivery

        async def consume(self, queue: str, prefetch: int, on_delivery: OnDelivery) -> Consumer:
            self.on_delivery = on_delivery
            return Slow()

    source, handed = Source(), asyncio.Event()
    once = Once(source, lambda: None)
    await once.consume(QUEUE, 1, lambda delivery: handed.set())
    rig = await Rig().open(messages=1)
    source.on_delivery(await first_of(rig))
    assert not handed.is_set()
    await asyncio.wait_for(handed.wait(), 5)
    assert closed


async def first_of(rig: Rig) -> Delivery:
    rig.consumer.prefetch = 1
    await rig.turn()
    return rig.taken[0]


async def test_none_within_its_patience_is_an_end_too() -> None:
    rig = await Rig(patience=0.02).open()
    await asyncio.sleep(0.05)
    assert rig.over == 0, "it waits from when it could begin"
    rig.consumer.prefetch = 1
    async with asyncio.timeout(5):
        while not rig.over:
            await asyncio.sleep(0.005)
    assert not rig.once.taken


async def test_a_message_ends_the_waiting_however_long_it_runs() -> None:
    rig = await Rig(patience=0.02).open(messages=1)
    rig.consumer.prefetch = 1
    await asyncio.sleep(0.06)
    assert (len(rig.taken), rig.over) == (1, 0)


async def test_a_worker_that_drains_while_it_is_being_handed_one_still_gets_it() -> None:
    rig = await Rig().open(messages=1)
    rig.consumer.prefetch = 1
    while not rig.once.taken:
        await asyncio.sleep(0)
    await rig.consumer.close()
    assert len(rig.taken) == 1
