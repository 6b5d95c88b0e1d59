"""What a gateway and a worker ask of a RabbitMQ that is well."""

import asyncio
import logging
import math
from dataclasses import replace

import pytest

from runtime.brokers import Delivery, QueueSpec
from runtime.brokers.rabbitmq import RabbitBroker
from runtime.errors import TooLarge, Unavailable
from runtime.model import Depth, Payload, new_id
from runtime.wire import decode_message, encode_message
from tests.runtime.brokers.rabbitmq.conftest import Connect
from tests.runtime.brokers.rabbitmq.rig import (
    QUEUE,
    Raw,
    Recorded,
    Told,
    Worker,
    message,
    rabbit_broker,
    until_true,
)
from tests.support import until

# --- calls


async def test_a_call_is_answered_and_confirmed(connect: Connect) -> None:
    gateway, worker = await connect(), await connect()
    answers: list[bytes] = []
    gateway.on_answer = answers.append
    told = Told()

    def run(delivery: Delivery) -> None:
        assert delivery.message.reply_to
        worker.answer(delivery.message.reply_to, delivery.message.id.encode())
        delivery.ack()

    await worker.consume(QUEUE, 8, run)
    sent = [message() for _ in range(50)]
    for each in sent:
        gateway.send(QUEUE, each, reply=True, settled=told.of(each.id))
    await until(lambda: len(b"".join(answers)) == 50 * len(sent[0].id))
    await until(lambda: told.times == 50)
    heard = "".join(answer.decode() for answer in answers)
    assert all(each.id in heard for each in sent)
    assert told.errors == {each.id: None for each in sent}


async def test_answers_of_one_turn_to_one_gateway_are_one_message(connect: Connect) -> None:
    gateways = [await connect(name=name) for name in ("one", "two")]
    worker = await connect(name="worker")
    heard: list[list[bytes]] = [[], []]
    replies: dict[str, list[str]] = {}

    def keep(delivery: Delivery) -> None:
        replies.setdefault(delivery.message.reply_to or "", []).append(delivery.message.id)
        delivery.ack()

    await worker.consume(QUEUE, 10, keep)
    for gateway, answers in zip(gateways, heard, strict=True):
        gateway.on_answer = answers.append
        for _ in range(3):
            gateway.send(QUEUE, message(), reply=True, settled=lambda error: None)
    await until(lambda: sum(map(len, replies.values())) == 6)
    for number in range(3):
        for address in replies:
            worker.answer(address, b"%d" % number)
    await until(lambda: heard == [[b"012"], [b"012"]])


async def test_what_nobody_awaits_has_no_address_for_an_answer(connect: Connect) -> None:
    broker, worker = await connect(), Worker()
    await broker.consume(QUEUE, 1, worker)
    await broker.publish(QUEUE, message())
    (delivery,) = await worker.received(1)
    assert delivery.message.reply_to is None


@pytest.mark.parametrize(
    "address", ["amq.rabbitmq.reply-to.gone", "amq.rabbitmq.reply-to", "nowhere", "x" * 300]
)
async def test_an_answer_to_nobody_harms_nobody(broker: RabbitBroker, address: str) -> None:
    broker.answer(address, b"hello?")
    await broker.publish(QUEUE, message())
    assert (await broker.depth(QUEUE)).ready == 1


async def test_an_address_keeps_its_way_back_over_retries(connect: Connect) -> None:
    gateway, worker = await connect(), await connect()
    answers: list[bytes] = []
    gateway.on_answer = answers.append

    def run(delivery: Delivery) -> None:
        if delivery.message.attempt < 3:
            delivery.requeue()
        else:
            worker.answer(delivery.message.reply_to or "", b"done")
            delivery.ack()

    await worker.consume(QUEUE, 1, run)
    gateway.send(QUEUE, message(), reply=True, settled=lambda error: None)
    await until(lambda: answers == [b"done"])


async def test_a_large_message_arrives_whole(broker: RabbitBroker) -> None:
    worker = Worker()
    await broker.consume(QUEUE, 1, worker)
    large = message()
    large.payload = Payload(b"\xce" * 3_000_000)
    await broker.publish(QUEUE, large)
    assert (await worker.received(1))[0].message.payload == large.payload


async def test_a_message_over_the_servers_limit_is_refused_here(broker: RabbitBroker) -> None:
    """The server would close the channel, and what is on its way there would have to start over."""
    huge = message()
    huge.payload = Payload(bytes(broker.server.largest_message))
    with pytest.raises(TooLarge, match="MiB"):
        await broker.publish(QUEUE, huge)


async def test_priorities_are_said_once_to_be_ignored(
    broker: RabbitBroker, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        await broker.publish(QUEUE, message(priority=5))
    said = [r for r in caplog.records if "priorities" in r.getMessage()]
    assert len(said) == (0 if broker.server.priorities else 1)


async def test_a_broker_that_is_not_open_refuses_at_once(rabbit_url: str) -> None:
    broker, told = rabbit_broker(rabbit_url), Told()
    broker.send(QUEUE, message(), settled=told.of("x"))
    assert isinstance(told.errors["x"], Unavailable)
    broker.answer("somebody", b"")
    broker.signal("key", b"")
    with pytest.raises(Unavailable):
        await broker.depth(QUEUE)
    with pytest.raises(Unavailable):
        await broker.cancel("x")
    await broker.close()


# --- queues that go away


async def test_a_message_for_a_queue_that_was_deleted_makes_it_again(
    connect: Connect, rabbit_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker, told = await connect(), Told()
    with Raw(rabbit_url) as raw:
        raw.channel.queue_delete(QUEUE)
        sent = [message() for _ in range(20)]
        for each in sent:
            broker.send(QUEUE, each, settled=told.of(each.id))
        await until(lambda: told.times == 20)
    assert set(told.errors.values()) == {None}
    assert (await broker.depth(QUEUE)).ready == 20
    assert "queue=f.cpu was missing" in caplog.text


async def test_a_consumer_whose_queue_was_deleted_makes_it_again(
    broker: RabbitBroker, rabbit_url: str
) -> None:
    worker = Worker(lambda delivery: delivery.ack())
    await broker.consume(QUEUE, 4, worker)
    with Raw(rabbit_url) as raw:
        raw.channel.queue_delete(QUEUE)
    sent = message()
    await broker.publish(QUEUE, sent)
    assert (await worker.received(1))[0].message.id == sent.id


async def test_outcomes_wait_for_a_results_queue_that_was_deleted(
    broker: RabbitBroker, rabbit_url: str
) -> None:
    with Raw(rabbit_url) as raw:
        raw.channel.queue_delete("results")
        broker.report(b"entry")
        assert await broker.settle(10)
        assert raw.take("results") == b"entry"


async def test_an_exchange_that_was_deleted_takes_no_message_along(
    broker: RabbitBroker, rabbit_url: str
) -> None:
    """RabbitMQ closes the channel on a publish to it, under everything else that is on its way."""
    worker, told = Worker(), Told()
    await broker.consume(QUEUE, 1, worker)
    await broker.publish(QUEUE, message())
    (delivery,) = await worker.received(1)
    with Raw(rabbit_url) as raw:
        raw.channel.exchange_delete("retry.1s")
    delivery.requeue(delay=1)
    others = [message() for _ in range(10)]
    for each in others:
        broker.send(QUEUE, each, settled=told.of(each.id))
    await until(lambda: told.times == 10)
    assert set(told.errors.values()) == {None}
    held = [delivery]
    while len(worker.ids) < 12:  # the ten, and the one that was given back
        held[-1].ack()
        held.append((await worker.received(len(held) + 1))[-1])
    assert sorted(worker.ids) == sorted([delivery.message.id, *worker.ids[1:]])
    assert worker.ids.count(delivery.message.id) == 2


# --- what others put into a queue


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "no header line"),
        (b"\x00\xff garbage \xce", "no header line"),
        (b"{]\n{}", "its header is no JSON"),
        (b'{"v": 99}\n{}', "version 99"),
        (b'{"v": 1}\n{}', "not as it should be"),
        (encode_message(message()).replace(b'"f"', b'"g"', 1), "it is for g.cpu"),
        (encode_message(message("gpu")), "it is for f.gpu"),
    ],
)
async def test_what_is_no_message_of_ours_goes_to_the_dead_letters(
    broker: RabbitBroker, rabbit_url: str, body: bytes, reason: str
) -> None:
    worker = Worker()
    await broker.consume(QUEUE, 1, worker)
    with Raw(rabbit_url) as raw:
        raw.put(QUEUE, body)
    sent = message()
    await broker.publish(QUEUE, sent)
    assert (await worker.received(1))[0].message.id == sent.id
    await until_true(lambda: broker.dead_letters("f"))
    (letter,) = await broker.dead_letters("f")
    assert reason in letter.reason
    assert letter.queue == QUEUE
    if letter.unreadable is not None:
        assert letter.unreadable == body
    assert await broker.discard("f", letter.message.id)
    assert await broker.dead_letters("f") == []


async def test_odd_properties_are_no_harm(broker: RabbitBroker, rabbit_url: str) -> None:
    odd = {"x-delivery-count": "many", "x-lumbre-due": -5, "x-lumbre-returns": True, "n": None}
    worker = Worker()
    await broker.consume(QUEUE, 1, worker)
    sent = message()
    with Raw(rabbit_url) as raw:
        raw.put(QUEUE, encode_message(sent), headers=odd, message_id="", reply_to="\xe9" * 100)
    (delivery,) = await worker.received(1)
    assert (delivery.message.id, delivery.message.attempt) == (sent.id, 1)


async def test_a_flood_of_garbage_is_said_once(
    broker: RabbitBroker, rabbit_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await broker.consume(QUEUE, 10, Worker())
    with Raw(rabbit_url) as raw:
        for _ in range(200):
            raw.put(QUEUE, b"garbage")
    await until_true(lambda: has(broker, Depth(0, 0, 200)))
    said = [r for r in caplog.records if "dead letters" in r.getMessage()]
    assert len(said) == 1


async def has(broker: RabbitBroker, depth: Depth, queue: str = QUEUE) -> bool:
    return await broker.depth(queue) == depth


# --- attempts and delays


async def test_a_worker_that_dies_counts_as_an_attempt(connect: Connect) -> None:
    first, second = await connect(), await connect()
    taken, worker = Worker(), Worker()
    await first.consume(QUEUE, 1, taken)
    await second.publish(QUEUE, message())
    await taken.received(1)
    await first.close()
    await second.consume(QUEUE, 1, worker)
    assert (await worker.received(1))[0].message.attempt == 2
    worker.got[0].requeue()
    assert (await worker.received(2))[1].message.attempt == 3


async def test_a_wait_longer_than_any_step_goes_on_after_it(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the longest step a second, a wait of three takes some."""
    monkeypatch.setattr("runtime.brokers.rabbitmq.lease.LONGEST_STEP", 1.0)
    monkeypatch.setattr("runtime.brokers.rabbitmq.lease.step_for", lambda delay: "retry.1s")
    broker, worker = await connect(), Worker()
    await broker.consume(QUEUE, 1, worker)
    await broker.publish(QUEUE, message())
    loop = asyncio.get_running_loop()
    since = loop.time()
    (await worker.received(1))[0].requeue(delay=3)
    again = (await worker.received(2))[1]
    assert loop.time() - since >= 2.5
    assert again.message.attempt == 2


async def test_what_the_server_gives_up_on_is_told_to_the_recorder_too(
    connect: Connect, rabbit_url: str
) -> None:
    broker = await connect()
    sent = message()
    await broker.publish(QUEUE, sent)
    with Raw(rabbit_url) as raw:
        for _ in range(31):  # a limit of 3, which the worker should have kept, and then some
            got = None
            while got is None:
                got, _, _ = raw.channel.basic_get(QUEUE)
            raw.channel.basic_reject(got.delivery_tag, requeue=True)
        told = await until(lambda: raw.take("results")) or b""
    assert decode_message(told).id == sent.id
    letters = await until_true(lambda: broker.dead_letters("f"))
    assert [letter.message.id for letter in letters] == [sent.id]
    assert "delivered too often" in letters[0].reason
    assert letters[0].queue == QUEUE and letters[0].at > 1_700_000_000


# --- prefetch


async def test_nothing_is_lost_or_stalled_while_the_prefetch_changes_all_the_time(
    connect: Connect,
) -> None:
    broker, queue = await connect(), "f.gpu"
    # The server counts what is on its way to a consumer that is being ended as given back, and here
    # that happens dozens of times to some: with the usual limit they would be dead letters.
    await broker.declare([QueueSpec(queue, delivery_limit=100_000)])
    seen: dict[str, int] = {}
    held: list[Delivery] = []

    def take(delivery: Delivery) -> None:
        held.append(delivery)
        seen[delivery.message.id] = seen.get(delivery.message.id, 0) + 1

    consumer = await broker.consume(queue, 4, take)
    sent = [message("gpu") for _ in range(1500)]
    told = Told()
    for each in sent:
        broker.send(queue, each, settled=told.of(each.id))
    prefetches = [0, 1, 64, 3, 0, 2, 64, 65, 1, 0, 64, 7, 5, 9, 11, 13]
    turn = 0
    while len(seen) < len(sent) or held:
        turn += 1
        consumer.prefetch = prefetches[turn % len(prefetches)]
        assert len(held) <= 65
        await asyncio.sleep(0.002)
        for delivery in held[::2]:  # some stay for a while
            delivery.ack()
        del held[::2]
        assert turn < 20_000, f"stalled with {len(seen)} of {len(sent)}"
    assert await broker.settle(5)
    assert set(told.errors.values()) == {None}
    assert seen.keys() == {each.id for each in sent}
    assert set(seen.values()) == {1}
    await until_true(lambda: has(broker, Depth(), queue))


async def test_two_consumers_in_one_process_share(broker: RabbitBroker) -> None:
    first, second = Worker(), Worker()
    await broker.consume(QUEUE, 5, first)
    await broker.consume(QUEUE, 5, second)
    for _ in range(10):
        await broker.publish(QUEUE, message())
    await until(lambda: len(first.got) + len(second.got) == 10)
    assert len(first.got) == len(second.got) == 5


async def test_a_delivery_that_its_taker_cannot_take_stops_nothing(
    broker: RabbitBroker, caplog: pytest.LogCaptureFixture
) -> None:
    got: list[str] = []

    def take(delivery: Delivery) -> None:
        got.append(delivery.message.id)
        if len(got) == 1:
            raise RuntimeError("a bug")
        delivery.ack()

    await broker.consume(QUEUE, 5, take)
    for _ in range(3):
        await broker.publish(QUEUE, message())
    await until(lambda: len(got) == 3)
    assert "a bug" in caplog.text
    assert broker.connected


# --- outcomes


async def test_outcomes_travel_many_in_a_message_and_in_order(connect: Connect) -> None:
    worker, recorder = await connect(), await connect()
    bodies = await Recorded.of(recorder)
    entries = [f"{number:06d}".encode() for number in range(3000)]
    for entry in entries:
        worker.report(entry)
    await until(lambda: sum(map(len, bodies)) == 6 * 3000)
    assert b"".join(bodies) == b"".join(entries)
    assert len(bodies) == math.ceil(3000 / 256)
    assert await worker.settle(5)


async def test_a_large_outcome_travels_alone(connect: Connect) -> None:
    worker, recorder = await connect(), await connect()
    bodies = await Recorded.of(recorder)
    for size in (2_000_000, 600_000, 600_000, 10):
        worker.report(bytes(size))
    await until(lambda: len(bodies) == 3)
    assert [len(body) for body in bodies] == [2_000_000, 600_000, 600_010]


async def test_what_is_not_recorded_comes_again(connect: Connect) -> None:
    worker, first, second = await connect(), await connect(), await connect()
    taken: list[bytes] = []
    await first.consume_results(64, lambda body, ack: taken.append(body))
    worker.report(b"one")
    await until(lambda: taken == [b"one"])
    await first.close()
    again = await Recorded.of(second)
    await until(lambda: again == [b"one"])


async def test_no_delivery_is_acknowledged_before_its_outcome_is_confirmed(
    connect: Connect,
) -> None:
    first, second = await connect(), await connect()
    worker = Worker()
    await first.consume(QUEUE, 1, worker)
    sent = message()
    await second.publish(QUEUE, sent)
    (delivery,) = await worker.received(1)
    first._link.blocked = "for a test"  # so the outcome stays here
    first.report(b"outcome")
    delivery.ack()
    assert not await first.settle(0.2)
    await first.close()
    again = Worker()
    await second.consume(QUEUE, 1, again)
    assert (await again.received(1))[0].message == replace(sent, attempt=2)


async def test_what_was_settled_is_at_the_server_when_the_broker_has_closed(
    connect: Connect,
) -> None:
    first, second = await connect(), await connect()
    worker = Worker()
    await first.consume(QUEUE, 100, worker)
    for _ in range(100):
        await second.publish(QUEUE, message())
    await worker.received(100)
    for delivery in worker.got:
        first.report(b"outcome")
        delivery.ack()
    assert await first.settle(5)
    await first.close()
    await until_true(lambda: has(second, Depth()))


# --- signals


async def test_signals_reach_whoever_has_subscribed(connect: Connect) -> None:
    here, there = await connect(), await connect()
    heard: list[tuple[str, bytes]] = []
    there.on_signal = lambda key, body: heard.append((key, body))
    await there.subscribe("worker.*")
    await there.subscribe("event.abc")
    for key in ("worker.one", "event.xyz", "worker.one.two", "event.abc"):
        here.signal(key, key.encode())
    await until(lambda: len(heard) == 2)
    assert heard == [("worker.one", b"worker.one"), ("event.abc", b"event.abc")]
    await there.unsubscribe("worker.*")
    here.signal("worker.one", b"")
    here.signal("event.abc", b"again")
    await until(lambda: len(heard) == 3)
    assert heard[-1] == ("event.abc", b"again")


async def test_a_signal_that_cannot_be_taken_stops_nothing(
    broker: RabbitBroker, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[bytes] = []

    def take(key: str, body: bytes) -> None:
        heard.append(body)
        if body == b"1":
            raise ValueError("odd")

    broker.on_signal = take
    await broker.subscribe("#")
    broker.signal("a", b"1")
    broker.signal("a", b"2")
    await until(lambda: heard == [b"1", b"2"])
    assert "odd" in caplog.text


async def test_a_queue_of_signals_that_was_deleted_is_made_again(
    broker: RabbitBroker, rabbit_url: str
) -> None:
    heard: list[bytes] = []
    broker.on_signal = lambda key, body: heard.append(body)
    await broker.subscribe("a.*")
    name = broker._signals._queue
    with Raw(rabbit_url) as raw, pytest.raises(Exception, match="RESOURCE_LOCKED"):
        raw.channel.queue_delete(name)  # nobody else may
    channel = await broker._link.channel()
    await channel.call(lambda done: channel.raw.queue_delete(name, callback=done))
    await channel.close()

    def heard_again() -> bool:
        broker.signal("a.b", b"hi")
        return bool(heard)

    await until(heard_again)


# --- cancelling


async def test_what_was_cancelled_before_a_worker_started_is_never_delivered(
    connect: Connect,
) -> None:
    gateway = await connect()
    sent = [message() for _ in range(5)]
    for each in sent:
        await gateway.publish(QUEUE, each)
    for each in sent[:3]:
        await gateway.cancel(each.id)
    for _ in range(2):  # a worker, and another one after it
        broker, worker = await connect(), Worker()
        told: list[str] = []
        broker.on_cancel = told.append
        await broker.follow_cancellations()
        await broker.consume(QUEUE, 10, worker)
        await worker.received(2)
        assert worker.ids == [sent[3].id, sent[4].id]
        assert told == []
        await broker.close()


async def test_a_worker_is_told_of_what_is_cancelled_while_it_runs(connect: Connect) -> None:
    gateway, broker = await connect(), await connect()
    told: list[str] = []
    broker.on_cancel = told.append
    await broker.follow_cancellations()
    ids = [new_id() for _ in range(20)]
    await asyncio.gather(*(gateway.cancel(id) for id in [*ids, ids[0]]))
    await until(lambda: len(told) == 20)
    assert sorted(told) == sorted(ids)


async def test_thousands_of_cancellations_are_known_before_the_first_delivery(
    connect: Connect,
) -> None:
    gateway, broker = await connect(), await connect()
    ids = [new_id() for _ in range(3000)]
    await asyncio.gather(*(gateway.cancel(id) for id in ids))
    await broker.follow_cancellations()
    assert all(id in broker._cancellations.known for id in ids)


async def test_garbage_among_the_cancellations_is_passed_over(
    connect: Connect, rabbit_url: str
) -> None:
    gateway, broker = await connect(), await connect()
    with Raw(rabbit_url) as raw:
        for body in (b"", b"\xff\xfe", b"no instant", b"marker of-somebody 5"):
            raw.put("cancellations", body)
    await gateway.cancel("abc")
    await broker.follow_cancellations()
    assert "abc" in broker._cancellations.known
    assert len(broker._cancellations.known) == 1


# --- how full


async def test_the_management_api_knows_what_others_have_in_hand(
    connect: Connect, rabbit_url: str, management_url: str
) -> None:
    other, broker = await connect(), await connect(management_url=management_url)
    worker = Worker()
    await other.consume(QUEUE, 2, worker)
    for _ in range(5):
        await broker.publish(QUEUE, message())
    await worker.received(2)
    await until_true(lambda: has(broker, Depth(3, 2, 0)))
    assert await other.depth(QUEUE) == Depth(3, 2, 0)  # its own
    with pytest.raises(KeyError):
        await broker.depth("nowhere.cpu")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://guest:wrong@{}"])
async def test_a_management_api_that_fails_is_said_once_and_done_without(
    connect: Connect, management_url: str, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = url.format(management_url.removeprefix("http://"))
    broker = await connect(management_url=url)
    await broker.publish(QUEUE, message())
    for _ in range(3):
        assert (await broker.depth(QUEUE)).ready == 1
    said = [r.getMessage() for r in caplog.records if "management=" in r.getMessage()]
    assert len(said) == 1
    assert "wrong" not in caplog.text.replace("went wrong", "")


async def test_a_purge_of_a_queue_leaves_what_is_leased(broker: RabbitBroker) -> None:
    worker = Worker()
    await broker.consume(QUEUE, 1, worker)
    for _ in range(4):
        await broker.publish(QUEUE, message())
    await worker.received(1)
    assert await broker.purge(QUEUE) == 3
    assert await broker.depth(QUEUE) == Depth(0, 1, 0)


async def test_queues_of_several_functions_are_declared_together(broker: RabbitBroker) -> None:
    await broker.declare([QueueSpec("a.cpu"), QueueSpec("a.gpu"), QueueSpec("callbacks", 10**6)])
    for queue in ("a.cpu", "a.gpu", "callbacks"):
        assert await broker.depth(queue) == Depth()


async def test_nothing_secret_is_logged(
    connect: Connect, caplog: pytest.LogCaptureFixture, rabbit_url: str
) -> None:
    with caplog.at_level(logging.DEBUG):
        broker = await connect()
        await broker.publish(QUEUE, message())
        await broker.close()
    assert "guest:guest" not in caplog.text
