"""The dead-letter desk on a real server: many letters, garbage, and several who look at once."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from runtime.brokers import DeadLetter
from runtime.brokers.properties import encode_properties
from runtime.brokers.rabbitmq import RabbitBroker
from runtime.brokers.rabbitmq.letters import read_letter
from runtime.brokers.rabbitmq.publisher import SEND
from runtime.errors import Unavailable
from runtime.model import Depth, Message
from runtime.wire import encode_message
from tests.runtime.brokers.rabbitmq.conftest import Connect
from tests.runtime.brokers.rabbitmq.rig import (
    QUEUE,
    Raw,
    Worker,
    message,
    until_true,
)


async def bury(broker: RabbitBroker, count: int) -> list[Message]:
    """That many dead letters, told apart by their reasons."""
    sent = [message() for _ in range(count)]
    loop = asyncio.get_running_loop()
    buried = loop.create_future()
    left = count

    def settled(error: Exception | None) -> None:
        nonlocal left
        left -= 1
        if not left:
            buried.set_result(None)

    for number, each in enumerate(sent):
        leases = broker._leases_of(QUEUE)
        copy = leases.dead(encode_message(each), each.id, f"number {number}")
        broker._sends.publish("", copy.key, copy.properties, copy.body, settled, SEND)
    await buried
    await until_true(lambda: dead(broker, count))
    return sent


async def dead(broker: RabbitBroker, count: int) -> bool:
    return (await broker.depth(QUEUE)).dead == count


async def test_the_oldest_are_shown_and_all_stay(broker: RabbitBroker) -> None:
    sent = await bury(broker, 300)
    for _ in range(3):
        shown = await broker.dead_letters("f", limit=100)
        assert [letter.message for letter in shown] == sent[:100]
        assert shown[7].reason == "number 7"
        assert shown[7].queue == QUEUE
        assert abs(shown[7].at - time.time()) < 60
    assert len(await broker.dead_letters("f", limit=1000)) == 300


async def test_one_in_the_middle_of_thousands_is_found(broker: RabbitBroker) -> None:
    sent = await bury(broker, 3000)
    assert await broker.discard("f", sent[1500].id)
    again = message()
    assert await broker.replay("f", sent[1501].id, again)
    assert not await broker.discard("f", sent[1500].id)
    assert await broker.depth(QUEUE) == Depth(1, 0, 2998)
    worker = Worker()
    await broker.consume(QUEUE, 1, worker)
    assert (await worker.received(1))[0].message == again


async def test_many_are_put_back_or_thrown_away_in_one_pass(connect: Connect) -> None:
    """And whoever works meanwhile is not held up."""
    broker, other = await connect(), await connect()
    sent = await bury(broker, 10_000)
    looked: list[str] = []

    def odd(letter: DeadLetter) -> Message | None:
        looked.append(letter.message.id)
        return letter.message if int(letter.reason.split()[1]) % 2 else None

    slowest = 0.0
    moving = asyncio.create_task(broker.replay_many("f", odd))
    while not moving.done():
        since = time.monotonic()
        await other.publish(QUEUE, message())
        slowest = max(slowest, time.monotonic() - since)
    assert await moving == 5000
    assert looked == [each.id for each in sent], "each once, oldest first"
    assert slowest < 5
    assert await broker.discard_many("f", lambda letter: letter.reason != "number 0") == 4999
    (last,) = await broker.dead_letters("f")
    assert last.message == sent[0]


async def test_a_letter_that_cannot_be_put_back_stays(broker: RabbitBroker) -> None:
    (sent,) = await bury(broker, 1)
    broker._link.blocked = "for a test"
    with pytest.raises(Unavailable):
        await broker.replay("f", sent.id, message())
    broker._link.blocked = None
    assert [letter.message for letter in await broker.dead_letters("f")] == [sent]


async def test_what_a_choice_raises_comes_out_and_every_letter_stays(broker: RabbitBroker) -> None:
    await bury(broker, 5)

    def choose(letter: DeadLetter) -> bool:
        raise LookupError("no such thing")

    with pytest.raises(LookupError):
        await broker.discard_many("f", choose)
    assert len(await broker.dead_letters("f")) == 5


async def test_two_who_look_at_once_both_find_what_they_look_for(connect: Connect) -> None:
    first, second = await connect(), await connect()
    sent = await bury(first, 50)
    found = await asyncio.gather(first.discard("f", sent[10].id), second.discard("f", sent[40].id))
    assert list(found) == [True, True]
    await until_true(lambda: dead(first, 48))


async def test_garbage_is_shown_as_it_is_and_can_be_named(
    broker: RabbitBroker, rabbit_url: str
) -> None:
    with Raw(rabbit_url) as raw:
        raw.put("f.dead", b"\xffgarbage")
        raw.put("f.dead", b"other garbage", headers={"x-death": "nonsense"})
    await until_true(lambda: dead(broker, 2))
    first, second = await broker.dead_letters("f")
    assert {first.unreadable, second.unreadable} == {b"\xffgarbage", b"other garbage"}
    assert first.message.id != second.message.id
    assert first.message.function == "f"
    assert await broker.discard("f", first.message.id)
    assert [each.unreadable for each in await broker.dead_letters("f")] == [second.unreadable]


async def test_a_function_without_dead_letters_has_none(broker: RabbitBroker) -> None:
    assert await broker.dead_letters("f") == []
    assert await broker.dead_letters("nobody") == []
    assert await broker.discard_many("nobody", lambda letter: True) == 0


# --- what lies there, whoever put it there


@pytest.mark.parametrize(
    ("known", "queue", "reason", "at"),
    [
        (
            {"x-lumbre-reason": "no", "x-lumbre-queue": "f.gpu", "x-lumbre-at": 5_500_000},
            "f.gpu",
            "no",
            5.5,
        ),
        ({"x-lumbre-reason": "no", "x-lumbre-at": "soon"}, "f.cpu", "no", 0.0),
        (
            {
                "x-death": [
                    {
                        "queue": "f.gpu",
                        "reason": "delivery_limit",
                        "time": datetime(2026, 1, 1, tzinfo=UTC),
                    }
                ]
            },
            "f.gpu",
            "it was delivered too often: whoever took it died each time",
            1_767_225_600.0,
        ),
        ({"x-death": ["odd"]}, "f.cpu", "", 0.0),
        ({}, "f.cpu", "", 0.0),
    ],
)
def test_a_letter_tells_its_queue_reason_and_instant(
    known: dict[str, Any], queue: str, reason: str, at: float
) -> None:
    sent = message()
    letter = read_letter("f", encode_properties(headers=known), encode_message(sent))
    assert letter == DeadLetter(sent, queue, reason, at)


def test_unreadable_bytes_have_an_id_of_their_own() -> None:
    first, same, other = (read_letter("f", encode_properties(), b) for b in (b"a", b"a", b"b"))
    assert first.message.id == same.message.id != other.message.id
    assert first.unreadable == b"a"
    assert "no header line" in first.reason
