"""A RabbitMQ that goes away, comes back, hangs, or takes nothing."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from uuid import uuid4

import pytest

from loadtest.servers import RabbitServer
from runtime.brokers import Delivery, QueueSpec
from runtime.brokers.rabbitmq import RabbitBroker
from runtime.brokers.rabbitmq.publisher import Patience
from runtime.errors import Unavailable
from runtime.model import Depth, Message, Payload, new_id
from tests.forwarder import Forwarder
from tests.runtime.brokers.rabbitmq.rig import (
    Recorded,
    Told,
    Worker,
    rabbit_broker,
    until_true,
)
from tests.support import until

OLD_ENOUGH = 1.5  # seconds since a queue was declared

Connect = Callable[..., Awaitable[RabbitBroker]]


@pytest.fixture
def function() -> str:
    return f"f{uuid4().hex[:12]}"


@pytest.fixture
def queue(function: str) -> str:
    return f"{function}.cpu"


@pytest.fixture
def port(breakable_rabbit: RabbitServer) -> Iterator[Forwarder]:
    """Between brokers and the server: what goes away in a moment, and comes back in one."""
    forwarder = Forwarder(breakable_rabbit.port)
    forwarder.open()
    yield forwarder
    forwarder.close()


@pytest.fixture
async def connect(
    breakable_rabbit: RabbitServer, port: Forwarder, queue: str
) -> AsyncIterator[Connect]:
    brokers: list[RabbitBroker] = []

    async def opened(query: str = "", *, direct: bool = False) -> RabbitBroker:
        url = breakable_rabbit.url()
        if not direct:
            url = url.replace(f":{breakable_rabbit.port}/", f":{port.port}/")
        broker = rabbit_broker(url + query)
        brokers.append(broker)
        await broker.open(60)
        await broker.declare([QueueSpec(queue)])
        return broker

    yield opened
    for broker in brokers:
        await broker.close()


def call(queue: str) -> Message:
    return Message(new_id(), queue.partition(".")[0], "cpu", Payload(), created_at=0.0)


async def down(broker: RabbitBroker) -> None:
    await until(lambda: not broker.connected)


async def up(broker: RabbitBroker) -> None:
    await until(lambda: broker.connected, within=60)


# --- the connection goes


async def test_what_a_worker_has_in_hand_when_its_connection_goes_is_run_once(
    connect: Connect, port: Forwarder, queue: str
) -> None:
    broker, worker = await connect(), Worker()
    await broker.consume(queue, 10, worker)
    sent = [call(queue) for _ in range(10)]
    for each in sent:
        await broker.publish(queue, each)
    await worker.received(10)
    for delivery in worker.got[:3]:  # these are settled before, and may or may not have arrived
        delivery.ack()
    port.close()
    await down(broker)
    for delivery in worker.got[3:6]:
        delivery.ack()  # while there is no connection
    port.open()
    await up(broker)
    for delivery in worker.got[6:9]:
        delivery.ack()
    worker.got[9].requeue()
    await worker.received(11)
    assert worker.ids == [*(each.id for each in sent), sent[9].id]
    worker.got[10].ack()
    await until_true(lambda: has(broker, queue, Depth()))


async def has(broker: RabbitBroker, queue: str, depth: Depth) -> bool:
    return await broker.depth(queue) == depth


async def test_a_lost_connection_is_said_with_its_cause_and_nothing_secret(
    connect: Connect, breakable_rabbit: RabbitServer, caplog: pytest.LogCaptureFixture
) -> None:
    broker = await connect()
    states: list[bool] = []
    broker.on_state = lambda: states.append(broker.connected)
    with caplog.at_level(logging.DEBUG):
        await asyncio.to_thread(breakable_rabbit.close_connections)
        await until(lambda: states == [False, True])
    assert "closed by a test (320); next try in" in caplog.text
    assert "connected again" in caplog.text
    assert "guest:guest" not in caplog.text
    assert "Traceback" not in caplog.text


async def test_nothing_is_lost_when_the_server_is_killed_in_the_middle_of_everything(
    connect: Connect, breakable_rabbit: RabbitServer, queue: str
) -> None:
    gateway, worker, recorder = await connect(), await connect(), await connect()
    recorded = await Recorded.of(recorder)
    runs: dict[str, int] = {}
    told = Told()

    def run(delivery: Delivery) -> None:
        runs[delivery.message.id] = runs.get(delivery.message.id, 0) + 1
        worker.report(delivery.message.id.encode() + b"\n")
        delivery.ack()

    await worker.consume(queue, 8, run)

    def send() -> None:
        each = call(queue)
        gateway.send(queue, each, settled=told.of(each.id))

    async def keep_sending(until_told: int) -> None:
        while sum(error is None for error in told.errors.values()) < until_told:
            send()
            await asyncio.sleep(0.002)

    # RabbitMQ 3.10 forgets queues in a crash that are too young: see RabbitServer.kill.
    declared = time.monotonic()
    while time.monotonic() < declared + OLD_ENOUGH:
        await keep_sending(len(told.errors) + 1)
    sending = asyncio.create_task(keep_sending(600))
    await asyncio.to_thread(breakable_rabbit.kill)
    await down(gateway)
    send()
    assert any(isinstance(error, Unavailable) for error in told.errors.values())
    await asyncio.to_thread(breakable_rabbit.start)
    for broker in (gateway, worker, recorder):
        await up(broker)
    await sending
    assert await gateway.settle(30)
    accepted = {id for id, error in told.errors.items() if error is None}
    assert len(accepted) >= 600

    def reported() -> set[str]:
        return set(b"".join(recorded).decode().split())

    await until(lambda: accepted <= reported(), within=60)
    assert told.times == len(told.errors), "each is told once"
    twice = sum(count > 1 for count in runs.values())
    assert twice <= 3 * 8, "only what was on its way may run again"
    assert await worker.settle(30)
    await until_true(lambda: has(worker, queue, Depth()))


async def test_what_is_on_its_way_when_the_server_goes_for_long_is_given_up(
    connect: Connect,
    breakable_rabbit: RabbitServer,
    port: Forwarder,
    queue: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runtime.brokers.rabbitmq.broker.SEND", Patience(lost=1, unconfirmed=60))
    broker, told = await connect(), Told()
    with breakable_rabbit.paused():
        for _ in range(5):
            each = call(queue)
            broker.send(queue, each, settled=told.of(each.id))
        port.close()
        await down(broker)
        assert told.times == 0, "they are kept for a moment"
        await until(lambda: told.times == 5)
    assert all(isinstance(error, Unavailable) for error in told.errors.values())
    port.open()
    await up(broker)
    await broker.publish(queue, call(queue))


async def test_everything_goes_on_after_a_reconnect(
    connect: Connect, port: Forwarder, queue: str
) -> None:
    """Signals, cancellations, answers, reports, consumers; three times over."""
    here, there = await connect(), await connect()
    heard: list[bytes] = []
    cancelled: list[str] = []
    answers: list[bytes] = []
    recorded = await Recorded.of(here)
    there.on_signal = lambda key, body: heard.append(body)
    there.on_cancel = cancelled.append
    here.on_answer = answers.append
    await there.subscribe("word.*")
    await there.follow_cancellations()

    def run(delivery: Delivery) -> None:
        id = delivery.message.id.encode()
        there.report(id + b"\n")
        there.answer(delivery.message.reply_to or "", id)
        delivery.ack()

    await there.consume(queue, 3, run)
    for turn in range(1, 4):
        id = new_id()
        await here.cancel(id)
        here.signal("word.one", b"s")
        sent = call(queue)
        here.send(queue, sent, reply=True, settled=lambda error: None)
        # What was not acknowledged when the connection went comes again: perhaps more than once.
        await until(lambda wanted=sent.id: wanted.encode() in answers)  # type: ignore[misc]
        await until(lambda wanted=sent.id: wanted.encode() in b"".join(recorded))  # type: ignore[misc]
        await until(lambda n=turn: len(heard) == n)  # type: ignore[misc]
        await until(lambda wanted=id: wanted in cancelled)  # type: ignore[misc]
        assert len(cancelled) == turn
        port.close()
        await down(here)
        await down(there)
        port.open()
        await up(here)
        await up(there)


async def test_what_is_cancelled_while_a_worker_is_away_is_known_to_it_afterwards(
    connect: Connect, port: Forwarder
) -> None:
    gateway, worker = await connect(direct=True), await connect()
    told: list[str] = []
    worker.on_cancel = told.append
    await worker.follow_cancellations()
    port.close()
    await down(worker)
    ids = [new_id() for _ in range(3)]
    for id in ids:
        await gateway.cancel(id)
    port.open()
    await up(worker)
    await until(lambda: told == ids)


async def test_prefetch_can_be_changed_and_consumers_closed_while_the_server_is_away(
    connect: Connect, port: Forwarder, queue: str
) -> None:
    broker, worker, other = await connect(), Worker(), Worker()
    consumer = await broker.consume(queue, 0, worker)
    closing = await broker.consume(queue, 5, other)
    port.close()
    await down(broker)
    consumer.prefetch = 2
    await closing.close()
    with pytest.raises(Unavailable):
        await broker.consume(queue, 1, other)
    port.open()
    await up(broker)
    for _ in range(4):
        await broker.publish(queue, call(queue))
    await worker.received(2)
    assert not other.got
    assert await broker.depth(queue) == Depth(2, 2, 0)


async def test_a_server_that_hangs_is_noticed_by_its_heartbeat(
    connect: Connect, breakable_rabbit: RabbitServer, queue: str
) -> None:
    broker, told = await connect("?heartbeat=1"), Told()
    with breakable_rabbit.paused():
        each = call(queue)
        broker.send(queue, each, settled=told.of(each.id))
        await down(broker)
    await up(broker)
    await until(lambda: told.times == 1)
    assert told.errors[each.id] is None
    assert (await broker.depth(queue)).ready in (1, 2), "sent again, since nobody can know"


# --- the server takes nothing


async def test_a_memory_alarm_refuses_calls_and_outcomes_flow_after_it(
    connect: Connect, breakable_rabbit: RabbitServer, queue: str
) -> None:
    gateway, worker, recorder = await connect(), await connect(), await connect()
    recorded = await Recorded.of(recorder)
    jobs = Worker()
    await worker.consume(queue, 5, jobs)
    for _ in range(5):
        await gateway.publish(queue, call(queue))
    await jobs.received(5)
    await asyncio.to_thread(breakable_rabbit.set_memory_alarm, True)
    try:
        told = Told()
        gateway.send(queue, call(queue), settled=told.of("first"))  # it is what gets us blocked
        worker.report(b"0")
        await until(lambda: gateway.blocked and worker.blocked)
        gateway.send(queue, call(queue), settled=told.of("second"))
        refused = told.errors["second"]
        assert isinstance(refused, Unavailable) and "memory" in str(refused)
        with pytest.raises(Unavailable):
            await gateway.cancel("x")
        for delivery in jobs.got:
            worker.report(b"1")
            delivery.ack()
        assert not await worker.settle(0.3)
        assert "first" not in told.errors
        assert recorded == []
    finally:
        await asyncio.to_thread(breakable_rabbit.set_memory_alarm, False)
    await until(lambda: not gateway.blocked and not worker.blocked)
    assert await worker.settle(30)
    await until(lambda: b"".join(recorded) == b"011111")
    await until(lambda: told.errors.get("first", "nothing") is None)
    await jobs.received(6)
    jobs.got[5].ack()
    await until_true(lambda: has(worker, queue, Depth()))


async def test_a_delivery_held_for_longer_than_the_server_allows_is_run_once_all_the_same(
    connect: Connect, breakable_rabbit: RabbitServer, queue: str, caplog: pytest.LogCaptureFixture
) -> None:
    await asyncio.to_thread(breakable_rabbit.set_consumer_timeout, 1.0)
    try:
        broker, worker = await connect(), Worker()
        await broker.consume(queue, 2, worker)
        sent = call(queue)
        await broker.publish(queue, sent)
        (delivery,) = await worker.received(1)
        await until(lambda: "timed out" in caplog.text.lower() or "timeout" in caplog.text.lower())
        # The channel is made again, and the same delivery is known to be in hand.
        await until(lambda: delivery.port.alive)  # type: ignore[attr-defined]
        delivery.ack()
        assert await broker.settle(5)
        await until_true(lambda: has(broker, queue, Depth()))
        assert worker.ids == [sent.id]
        assert broker.connected
    finally:
        await asyncio.to_thread(breakable_rabbit.set_consumer_timeout, 1800.0)
