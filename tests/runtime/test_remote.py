"""A gateway's calls over a broker that answers when the test says so."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from runtime.bus import Bus
from runtime.errors import Unavailable
from runtime.ledger import Ledger
from runtime.model import Depth, Invocation, Message, Payload, Status, new_id
from runtime.remote import RemoteInvocations
from runtime.telemetry import Metrics
from tests.runtime.brokers.rabbitmq.rig import until_true
from tests.support import until

LONG_AGO = 1.0  # unix seconds: a call of then is slow, and left behind


class Broker:
    """Takes messages, and confirms none of them by itself."""

    connected = True
    blocked: str | None = None
    on_answer: Callable[[bytes], None]

    def __init__(self) -> None:
        self.sent: dict[str, Callable[[Exception | None], None]] = {}
        self.cancelling: list[asyncio.Future[None]] = []  # who waits for a cancellation's confirm

    def send(self, queue: str, message: Message, *, reply: bool, settled: Any) -> None:
        self.sent[message.id] = settled

    async def cancel(self, invocation: str) -> None:
        self.cancelling.append(asyncio.get_running_loop().create_future())
        await self.cancelling[-1]


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
async def invocations(ledger: Ledger, broker: Broker) -> AsyncIterator[RemoteInvocations]:
    bus = cast(Bus, broker)
    remote = RemoteInvocations(
        bus, ledger, Metrics(lambda: iter(())), 100, lambda _: Depth(), lambda _: False
    )
    await remote.recorder.start()
    remote.start()
    yield remote
    await remote.close()
    await remote.recorder.close()


async def call(invocations: RemoteInvocations) -> Invocation:
    message = Message(new_id(), "noop", "cpu", Payload(), created_at=LONG_AGO)
    invocation = Invocation(message, "auto", "v1")
    await invocations.submit(invocation, durable=False)
    return invocation


async def has_row(ledger: Ledger, invocation: Invocation) -> bool:
    return await ledger.get(invocation.id) is not None


async def left_behind(ledger: Ledger) -> list[str]:
    """What the feeder would publish."""
    return [row.id for row in await ledger.unpublished(LONG_AGO + 1, 10)]


async def test_a_slow_call_that_no_queue_is_known_to_hold_is_left_to_the_feeder(
    ledger: Ledger, invocations: RemoteInvocations
) -> None:
    invocation = await call(invocations)
    await until_true(lambda: has_row(ledger, invocation))
    assert await left_behind(ledger) == [invocation.id]


async def test_a_slow_call_that_is_confirmed_late_is_not_published_again(
    ledger: Ledger, invocations: RemoteInvocations, broker: Broker
) -> None:
    invocation = await call(invocations)
    await until_true(lambda: has_row(ledger, invocation))
    broker.sent[invocation.id](None)
    await invocations.recorder.flush()
    assert await left_behind(ledger) == []


async def test_a_slow_call_that_was_confirmed_before_it_got_a_row_is_not_published_again(
    ledger: Ledger, invocations: RemoteInvocations, broker: Broker
) -> None:
    invocation = await call(invocations)
    broker.sent[invocation.id](None)
    await until_true(lambda: has_row(ledger, invocation))
    assert await left_behind(ledger) == []


async def test_a_slow_call_that_the_broker_refuses_is_over(
    ledger: Ledger, invocations: RemoteInvocations, broker: Broker
) -> None:
    invocation = await call(invocations)
    await until_true(lambda: has_row(ledger, invocation))
    broker.sent[invocation.id](Unavailable("RabbitMQ is away", 1))
    await invocations.recorder.flush()
    stored = await ledger.get(invocation.id)
    assert stored is not None and stored.status is Status.CANCELLED
    assert await left_behind(ledger) == []


async def test_who_cancels_does_not_wait_for_a_broker_that_does_not_answer(
    invocations: RemoteInvocations, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.remote.TELL_LIMIT", 0.05)
    invocation = await call(invocations)
    broker.sent[invocation.id](None)
    assert await invocations.cancel(invocation)
    assert invocation.status is Status.CANCELLED
    await until(lambda: len(broker.cancelling) == 2)  # the workers are told again
    broker.cancelling[-1].set_result(None)


def keyed(key: str) -> Invocation:
    message = Message(new_id(), "noop", "cpu", Payload(), created_at=LONG_AGO)
    return Invocation(message, "auto", "v1", idempotency_key=key, fingerprint="same")


async def test_who_creates_under_one_key_does_not_wait_for_another(
    ledger: Ledger, invocations: RemoteInvocations, broker: Broker
) -> None:
    first, second = keyed("first"), keyed("second")
    stuck = asyncio.create_task(invocations.submit_once(first, awaited=False))
    await until(lambda: first.id in broker.sent)
    swift = asyncio.create_task(invocations.submit_once(second, awaited=False))
    await until(lambda: second.id in broker.sent)
    broker.sent[second.id](None)
    assert await swift is second
    assert not stuck.done()
    broker.sent[first.id](None)
    assert await stuck is first


async def test_who_creates_twice_under_one_key_gets_the_first_both_times(
    invocations: RemoteInvocations, broker: Broker
) -> None:
    first, second = keyed("same"), keyed("same")
    both = [
        asyncio.create_task(invocations.submit_once(each, awaited=False))
        for each in (first, second)
    ]
    await until(lambda: first.id in broker.sent)
    broker.sent[first.id](None)
    assert [(await each).id for each in both] == [first.id, first.id]
    assert second.id not in broker.sent


async def test_what_is_committed_is_accepted_though_the_gateway_ends_before_its_confirm(
    ledger: Ledger, invocations: RemoteInvocations, broker: Broker
) -> None:
    invocation = keyed("once")
    accepting = asyncio.create_task(invocations.submit(invocation, durable=True, awaited=False))
    await until(lambda: invocation.id in broker.sent)
    invocations.release_waiters(running=True)
    await asyncio.wait_for(accepting, 5)
    assert await left_behind(ledger) == [invocation.id]


async def test_a_call_that_was_promised_its_outcome_meanwhile_is_never_given_up(
    ledger: Ledger, invocations: RemoteInvocations, broker: Broker
) -> None:
    invocation = await call(invocations)
    await invocations.secure(invocation)
    broker.sent[invocation.id](Unavailable("the connection to RabbitMQ is being closed", 1))
    await invocations.recorder.flush()
    assert await left_behind(ledger) == [invocation.id]


async def test_a_call_that_nobody_waits_for_any_more_and_is_confirmed_is_not_published_again(
    ledger: Ledger, invocations: RemoteInvocations, broker: Broker
) -> None:
    invocation = await call(invocations)
    await until(lambda: invocation.id not in invocations.live)
    assert await left_behind(ledger) == [invocation.id]
    broker.sent[invocation.id](None)
    await invocations.recorder.flush()
    assert await left_behind(ledger) == []
