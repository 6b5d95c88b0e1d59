"""Outcomes reach whoever asked for them at least once, however the parts in between fare."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import callbacks as module
from runtime.brokers import Broker
from runtime.brokers.memory import MemoryBroker
from runtime.brokers.rabbitmq import Address, RabbitBroker
from runtime.callbacks import (
    ATTEMPTS,
    DELAYS,
    MAX_AGE,
    QUEUE,
    Callbacks,
    after,
    callback_body,
    callback_view,
    delay_after,
)
from runtime.destination import Address as IpAddress
from runtime.destination import Allowed
from runtime.errors import Unavailable
from runtime.ledger import CallbackRecord, Ledger
from runtime.model import (
    JSON,
    Failure,
    Invocation,
    Message,
    Part,
    Payload,
    Status,
    new_id,
)
from runtime.signature import parse_secrets, verify
from runtime.webhook import Answer, Webhook
from tests.runtime.receiver import Receiver, Reply, receiving
from tests.support import until

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PUBLIC = "https://lumbre.example.com/"
ROOT = Path(__file__).parents[2]


async def here(host: str, port: int) -> Sequence[IpAddress]:
    """A resolver for which every name is this machine's."""
    return [ip_address("127.0.0.1")]


def ended(
    url: str | None,
    status: Status = Status.SUCCEEDED,
    result: bytes | None = b'{"checksum": 1.5}',
    **more: Any,
) -> Invocation:
    """An invocation that is over."""
    message = Message(new_id(), "matmul", "cpu", Payload(b'{"n": 2}'), 1_700_000_000.0)
    part = None if result is None else Part("result", JSON, len(result), result)
    over: dict[str, Any] = {"status": status, "finished_at": 1_700_000_001.0, "result": part}
    return Invocation(message, "auto", "v1", callback=url, **over | more)


def url_of(receiver: Receiver, host: str = "hooks.test") -> str:
    return f"http://{host}:{receiver.port}/done"


@pytest.fixture
async def ledger(tmp_path: Path, quick: None) -> AsyncIterator[Ledger]:
    opened = await Ledger.open(f"sqlite+aiosqlite:///{tmp_path}/ledger.db")
    yield opened
    await opened.close()


@pytest.fixture
async def broker(quick: None) -> AsyncIterator[MemoryBroker]:
    made = MemoryBroker()
    yield made
    await made.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds become hundredths; and outcomes of long ago are not too old."""
    monkeypatch.setattr(module, "DELAYS", tuple(delay / 100 for delay in DELAYS))
    monkeypatch.setattr(module, "AWAY", 0.01)
    monkeypatch.setattr(module, "MAX_AGE", 1e12)


@asynccontextmanager
async def sending(
    broker: Broker,
    ledger: Ledger,
    *,
    forgetful: bool = True,
    hosts: str = "*.test",
    port: int = 0,
    total: float = 10.0,
    grace: float = 0.0,
) -> AsyncIterator[Callbacks]:
    webhook = Webhook(
        Allowed.parse(f"{hosts}:{port}=private"), parse_secrets(SECRET), resolve=here, total=total
    )
    callbacks = Callbacks(broker, ledger, webhook, PUBLIC)
    await callbacks.start(forgetful=forgetful)
    try:
        yield callbacks
    finally:
        await callbacks.close(grace)
        await webhook.close()


async def record_of(ledger: Ledger, invocation: Invocation) -> CallbackRecord:
    record = await ledger.callback(invocation.id)
    assert record is not None
    return record


async def finished(ledger: Ledger, *invocations: Invocation) -> list[CallbackRecord]:
    """The records, once every one of them is finished."""
    async with asyncio.timeout(20):
        while True:
            records = [await record_of(ledger, invocation) for invocation in invocations]
            if all(record.finished for record in records):
                return records
            await asyncio.sleep(0.005)


def idle(broker: MemoryBroker) -> bool:
    return not broker.depth_now(QUEUE.name).backlog


# ── delivered ─────────────────────────────────────────────────────────────────────────────────


async def test_an_outcome_is_delivered_signed_and_recorded(
    broker: MemoryBroker, ledger: Ledger
) -> None:
    async with receiving() as receiver, sending(broker, ledger, port=receiver.port) as callbacks:
        invocation = ended(url_of(receiver))
        await ledger.write([invocation])
        callbacks.enqueue([invocation])
        (record,) = await finished(ledger, invocation)
        await until(lambda: idle(broker))
        assert (record.attempts, record.status_code, record.error) == (1, 200, None)
    (request,) = receiver.received
    assert verify(SECRET, request.headers, request.body) == invocation.id
    said = json.loads(request.body)
    assert said["type"] == "invocation.succeeded"
    assert said["data"]["id"] == invocation.id
    assert said["data"]["result"] == {"checksum": 1.5}


async def test_what_fails_twice_is_tried_again_under_the_same_id(
    broker: MemoryBroker, ledger: Ledger
) -> None:
    replies = Reply(500, body=b"not now"), Reply(502), Reply(204)
    async with (
        receiving(*replies) as receiver,
        sending(broker, ledger, port=receiver.port) as callbacks,
    ):
        invocation = ended(url_of(receiver))
        await ledger.write([invocation])
        callbacks.enqueue([invocation])
        (record,) = await finished(ledger, invocation)
    assert (record.attempts, record.status_code, record.error) == (3, 204, None)
    assert receiver.ids == [invocation.id] * 3
    assert len({request.body for request in receiver.received}) == 1


async def test_a_failure_is_shown_while_it_is_tried_again(
    broker: MemoryBroker, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DELAYS", (60.0,))
    async with (
        receiving(Reply(500, body=b"not now")) as receiver,
        sending(broker, ledger, port=receiver.port) as callbacks,
    ):
        invocation = ended(url_of(receiver))
        await ledger.write([invocation])
        assert callback_view(await record_of(ledger, invocation))["state"] == "pending"
        callbacks.enqueue([invocation])
        await until(lambda: broker.depth_now(QUEUE.name).unacknowledged == 0 and not idle(broker))
        view = callback_view(await record_of(ledger, invocation))
    assert view == {
        "url": url_of(receiver),
        "state": "pending",
        "attempts": 1,
        "status_code": 500,
        "error": "it answered 500: not now",
    }


# ── given up ──────────────────────────────────────────────────────────────────────────────────


async def test_gone_ends_it_at_once(broker: MemoryBroker, ledger: Ledger) -> None:
    async with (
        receiving(Reply(410)) as receiver,
        sending(broker, ledger, port=receiver.port) as callbacks,
    ):
        invocation = ended(url_of(receiver))
        await ledger.write([invocation])
        callbacks.enqueue([invocation])
        (record,) = await finished(ledger, invocation)
        await until(lambda: idle(broker))
    assert callback_view(record)["state"] == "failed"
    assert (record.attempts, record.status_code) == (1, 410)
    assert len(receiver.received) == 1


async def test_a_host_that_is_no_longer_allowed_ends_it_at_once(
    broker: MemoryBroker, ledger: Ledger
) -> None:
    async with (
        receiving() as receiver,
        sending(broker, ledger, hosts="other.test", port=receiver.port) as callbacks,
    ):
        invocation = ended(url_of(receiver))
        await ledger.write([invocation])
        callbacks.enqueue([invocation])
        (record,) = await finished(ledger, invocation)
    assert callback_view(record)["state"] == "failed" and record.status_code is None
    assert receiver.connections == 0


async def test_a_receiver_that_always_fails_is_given_up_at_last(
    broker: MemoryBroker,
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "ATTEMPTS", 4)
    async with (
        receiving(Reply(503)) as receiver,
        sending(broker, ledger, port=receiver.port) as callbacks,
    ):
        invocation = ended(url_of(receiver) + "?token=secret")
        await ledger.write([invocation])
        callbacks.enqueue([invocation])
        (record,) = await finished(ledger, invocation)
        await until(lambda: idle(broker))
    assert (record.attempts, record.status_code) == (4, 503)
    assert len(receiver.received) == 4
    assert f"invocation={invocation.id} host=hooks.test attempts=4" in caplog.text
    assert "token=secret" not in caplog.text


RECORD = CallbackRecord("id", "https://hooks.test/", updated_at=5.0)
FAILED = Answer(False, 500, "it answered 500")


def test_an_hour_of_attempts_and_no_more() -> None:
    record, waited = RECORD, 0.0
    while not (record := after(record, FAILED, 0.0, 10.0)).finished:
        waited += min(DELAYS[min(record.attempts, len(DELAYS)) - 1], 300)
    assert record.attempts == ATTEMPTS
    assert 3300 < waited <= 3600


def test_after_a_day_nothing_is_tried_again_but_once_it_always_is() -> None:
    assert not after(RECORD, FAILED, 0.0, MAX_AGE - 1).finished
    late = after(RECORD, FAILED, 0.0, MAX_AGE + 1)
    assert late.finished and late.attempts == 1 and late.error == "it answered 500"
    assert after(RECORD, Answer(True, 200), 0.0, MAX_AGE + 1).error is None


@given(st.integers(1, 40), st.floats(0, 1), st.none() | st.floats(0, 1e9))
def test_no_wait_is_longer_than_the_longest_step_nor_shorter_than_asked_for(
    attempts: int, chance: float, asked: float | None
) -> None:
    longest = max(DELAYS)
    delay = delay_after(attempts, Answer(False, 503, "no", retry_after=asked), chance)
    assert 0.75 * DELAYS[0] <= delay <= longest
    assert delay >= min(asked or 0.0, longest)


def test_waits_grow_and_are_spread() -> None:
    delays = [delay_after(n, FAILED, 0.0) for n in range(1, 12)]
    assert delays == sorted(delays) and delays[-1] == max(DELAYS)
    assert delay_after(3, FAILED, 1.0) == pytest.approx(0.75 * delays[2])


# ── at least once ─────────────────────────────────────────────────────────────────────────────


CRASHING = """
import asyncio, os, signal, sys
from runtime.brokers import Broker
from runtime.brokers.memory import MemoryBroker
from runtime.brokers.rabbitmq import Address, RabbitBroker
from runtime.callbacks import Callbacks
from runtime.destination import Allowed
from runtime.ledger import Ledger
from runtime.signature import parse_secrets
from runtime.webhook import Webhook

class Crashing(Ledger):
    async def record_callback(self, record):
        if record.attempts:
            os.kill(os.getpid(), signal.SIGKILL)
        await super().record_callback(record)

async def main(url, port, secret):
    broker = MemoryBroker()
    webhook = Webhook(Allowed.parse(f"127.0.0.1:{port}"), parse_secrets(secret))
    callbacks = Callbacks(broker, await Crashing.open(url), webhook, "http://x")
    await callbacks.start(forgetful=True)
    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_crash_between_sending_and_recording_sends_again_under_the_same_id(
    broker: MemoryBroker, ledger: Ledger, tmp_path: Path
) -> None:
    async with receiving() as receiver:
        invocation = ended(f"http://127.0.0.1:{receiver.port}/")
        await ledger.write([invocation])
        arguments = [f"sqlite+aiosqlite:///{tmp_path}/ledger.db", str(receiver.port), SECRET]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CRASHING, *arguments, cwd=ROOT
        )
        try:
            assert await asyncio.wait_for(process.wait(), 60) == -signal.SIGKILL
        finally:
            if process.returncode is None:
                process.kill()
        assert receiver.ids == [invocation.id]
        assert (await record_of(ledger, invocation)).attempts == 0
        async with sending(broker, ledger, hosts="127.0.0.1", port=receiver.port):
            await finished(ledger, invocation)
    assert receiver.ids == [invocation.id] * 2


async def test_after_a_restart_everything_that_is_due_is_sent_once(
    broker: MemoryBroker, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 7)
    async with receiving() as receiver:
        due = [ended(url_of(receiver)) for _ in range(30)]
        sent = ended(url_of(receiver))
        running = ended(url_of(receiver), Status.RUNNING, finished_at=None, result=None)
        without = ended(None)
        await ledger.write([*due, sent, running, without])
        done = replace(await record_of(ledger, sent), finished=True)
        await ledger.record_callback(done)
        async with sending(broker, ledger, port=receiver.port):
            await finished(ledger, *due)
            await until(lambda: idle(broker))
    assert sorted(receiver.ids) == sorted(invocation.id for invocation in due)


async def test_what_comes_twice_is_sent_once(broker: MemoryBroker, ledger: Ledger) -> None:
    async with (
        receiving(held=True) as receiver,
        sending(broker, ledger, port=receiver.port) as callbacks,
    ):
        invocation = ended(url_of(receiver))
        await ledger.write([invocation])
        callbacks.enqueue([invocation])
        await until(lambda: len(receiver.received) == 1)
        callbacks.enqueue([invocation])  # while it is being sent
        await until(lambda: not callbacks._unpublished)
        assert broker.depth_now(QUEUE.name).backlog == 1
        receiver.gate.set()
        await finished(ledger, invocation)
        callbacks.enqueue([invocation])  # and after it was
        await until(lambda: not callbacks._unpublished and idle(broker))
    assert len(receiver.received) == 1


async def test_what_is_not_over_is_not_sent_until_it_is(
    broker: MemoryBroker, ledger: Ledger
) -> None:
    async with receiving() as receiver, sending(broker, ledger, port=receiver.port) as callbacks:
        running = ended(url_of(receiver), Status.RUNNING, finished_at=None, result=None)
        await ledger.write([running])
        callbacks.enqueue([running])
        assert not callbacks._unpublished
        over = replace(running, status=Status.CANCELLED, finished_at=1_700_000_002.0)
        callbacks.enqueue([over])  # but the ledger does not say so yet
        await until(lambda: not callbacks._unpublished and idle(broker))
        assert receiver.received == []
        await ledger.write([over])
        callbacks.enqueue([over])
        await finished(ledger, over)
    assert json.loads(receiver.received[0].body)["type"] == "invocation.cancelled"


async def test_messages_of_others_are_dead_letters(broker: MemoryBroker, ledger: Ledger) -> None:
    async with receiving() as receiver, sending(broker, ledger, port=receiver.port) as callbacks:
        for body in (b"", b"nonsense", b"[]", b'{"invocation": 1, "host": "x"}', None):
            await broker.publish(
                QUEUE.name, Message(new_id(), "callbacks", "cpu", Payload(body), 0.0)
            )
        unknown = orjson.dumps({"invocation": "unknown", "host": "x"})
        await broker.publish(
            QUEUE.name, Message(new_id(), "callbacks", "cpu", Payload(unknown), 0.0)
        )
        invocation = ended(url_of(receiver))
        await ledger.write([invocation])
        callbacks.enqueue([invocation])
        await finished(ledger, invocation)
        await until(lambda: idle(broker))
        assert len(await broker.dead_letters("callbacks")) == 5


class Moody(Ledger):
    """A ledger that is away now and then."""

    away = 0

    def _mood(self) -> None:
        if self.away > 0:
            self.away -= 1
            raise Unavailable("the ledger is away: try again", 5)

    async def callback(self, invocation: str) -> CallbackRecord | None:
        self._mood()
        return await super().callback(invocation)

    async def due_callbacks(self, limit: int, before: float | None = None) -> list[Invocation]:
        self._mood()
        return await super().due_callbacks(limit, before)


async def test_a_ledger_that_is_away_only_delays_it(broker: MemoryBroker, tmp_path: Path) -> None:
    ledger = await Moody.open(f"sqlite+aiosqlite:///{tmp_path}/ledger.db")
    assert isinstance(ledger, Moody)
    async with receiving() as receiver, sending(broker, ledger, port=receiver.port) as callbacks:
        invocation = ended(url_of(receiver))
        await ledger.write([invocation])
        ledger.away = 3
        callbacks.enqueue([invocation])
        await until(lambda: not ledger.away)
        (record,) = await finished(ledger, invocation)
    await ledger.close()
    assert record.attempts == 1 and len(receiver.received) == 1


async def test_a_look_for_what_is_due_is_repeated_until_it_succeeds(
    broker: MemoryBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SWEEP", 0.02)
    ledger = await Moody.open(f"sqlite+aiosqlite:///{tmp_path}/ledger.db")
    assert isinstance(ledger, Moody)
    async with receiving() as receiver:
        invocation = ended(url_of(receiver))
        await ledger.write([invocation])
        ledger.away = 3
        async with sending(broker, ledger, port=receiver.port):
            await until(lambda: not ledger.away)
            await finished(ledger, invocation)
    await ledger.close()


class Deaf(MemoryBroker):
    """A broker that refuses the first messages."""

    away = 3

    async def publish(self, queue: str, message: Message) -> None:
        if self.away:
            self.away -= 1
            raise Unavailable("the broker is away: try again", 5)
        await super().publish(queue, message)


async def test_a_broker_that_is_away_only_delays_it(ledger: Ledger) -> None:
    broker = Deaf()
    async with receiving() as receiver, sending(broker, ledger, port=receiver.port) as callbacks:
        outcomes = [ended(url_of(receiver)) for _ in range(3)]
        await ledger.write(outcomes)
        callbacks.enqueue(outcomes)
        await finished(ledger, *outcomes)
    await broker.close()
    assert len(receiver.received) == 3 and not broker.away


async def test_one_that_cannot_be_made_does_not_stop_the_others(
    broker: MemoryBroker,
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def made(invocation: Invocation, public_url: str) -> bytes:
        if invocation.id == odd.id:
            raise ZeroDivisionError
        return b"{}"

    monkeypatch.setattr(module, "callback_body", made)
    async with receiving() as receiver, sending(broker, ledger, port=receiver.port) as callbacks:
        odd, other = ended(url_of(receiver)), ended(url_of(receiver))
        await ledger.write([odd, other])
        callbacks.enqueue([odd, other])
        await finished(ledger, other)
        await until(lambda: f"invocation={odd.id} its callback cannot be sent" in caplog.text)
        assert not (await record_of(ledger, odd)).finished and not idle(broker)


# ── what was lost ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def overdue_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is due counts as lost from the first moment on, and is looked for all the time."""
    monkeypatch.setattr(module, "LOST", -1.0)
    monkeypatch.setattr(module, "SWEEP", 0.02)


async def test_a_lost_message_is_found_in_time(
    broker: MemoryBroker, ledger: Ledger, overdue_at_once: None
) -> None:
    async with (
        receiving() as receiver,
        sending(broker, ledger, forgetful=False, port=receiver.port),
    ):
        invocation = ended(url_of(receiver))
        await ledger.write([invocation])  # and nobody says so
        await finished(ledger, invocation)
    assert len(receiver.received) == 1


class Watched(Ledger):
    """A ledger that knows how often it was asked for what is due, and for the lease."""

    due = 0
    leases = 0

    async def due_callbacks(self, limit: int, before: float | None = None) -> list[Invocation]:
        self.due += 1
        return await super().due_callbacks(limit, before)

    async def lease(self, name: str, holder: str, seconds: float) -> bool:
        self.leases += 1
        return await super().lease(name, holder, seconds)


async def test_what_only_has_to_wait_is_not_queued_again(
    broker: MemoryBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SWEEP", 0.02)
    ledger = await Watched.open(f"sqlite+aiosqlite:///{tmp_path}/ledger.db")
    assert isinstance(ledger, Watched)
    async with (
        receiving(held=True) as receiver,
        sending(broker, ledger, forgetful=False, port=receiver.port),
    ):
        invocation = ended(url_of(receiver))
        await ledger.write([invocation])
        await until(lambda: ledger.due > 2)
        assert receiver.received == []  # it is due, and not overdue
        monkeypatch.setattr(module, "LOST", -1.0)
        await until(lambda: len(receiver.received) == 1)
        looks = ledger.leases
        await until(lambda: ledger.leases > looks + 3)
        assert broker.depth_now(QUEUE.name).backlog == 1  # it is overdue, and in hand
        receiver.gate.set()
        await finished(ledger, invocation)
    await ledger.close()
    assert len(receiver.received) == 1


async def test_one_process_at_a_time_looks_for_what_was_lost(
    broker: MemoryBroker, tmp_path: Path, overdue_at_once: None
) -> None:
    ledger = await Watched.open(f"sqlite+aiosqlite:///{tmp_path}/ledger.db")
    assert isinstance(ledger, Watched)
    assert await ledger.lease("callbacks", "somebody else", 600)
    async with (
        receiving() as receiver,
        sending(broker, ledger, forgetful=False, port=receiver.port),
    ):
        invocation = ended(url_of(receiver))
        await ledger.write([invocation])
        await until(lambda: ledger.leases > 4)
        assert not ledger.due and not receiver.received
        assert await ledger.lease("callbacks", "somebody else", 0)
        await finished(ledger, invocation)
    await ledger.close()


# ── few at once ───────────────────────────────────────────────────────────────────────────────


async def test_a_host_that_does_not_answer_does_not_hold_others_up(
    broker: MemoryBroker, ledger: Ledger
) -> None:
    async with (
        receiving(held=True) as dead,
        receiving() as alive,
    ):
        hosts = f"dead.test:{dead.port}=private,alive.test"
        async with sending(broker, ledger, hosts=hosts, port=alive.port) as callbacks:
            stuck = [ended(url_of(dead, "dead.test")) for _ in range(40)]
            await ledger.write(stuck)
            callbacks.enqueue(stuck)
            await until(lambda: dead.under_way == 4)
            well = [ended(url_of(alive, "alive.test")) for _ in range(10)]
            await ledger.write(well)
            callbacks.enqueue(well)
            await finished(ledger, *well)
            assert dead.most_under_way == 4
            dead.gate.set()
            await finished(ledger, *stuck)
    assert dead.most_under_way == 4


async def test_no_more_than_32_are_sent_at_once(broker: MemoryBroker, ledger: Ledger) -> None:
    async with (
        receiving(held=True) as receiver,
        sending(broker, ledger, port=receiver.port) as callbacks,
    ):
        outcomes = [ended(url_of(receiver, f"h{n % 10}.test")) for n in range(60)]
        await ledger.write(outcomes)
        callbacks.enqueue(outcomes)
        await until(lambda: receiver.under_way == 32)
        receiver.gate.set()
        await finished(ledger, *outcomes)
    assert receiver.most_under_way == 32


async def test_a_long_line_is_worked_off(broker: MemoryBroker, ledger: Ledger) -> None:
    """Those who find the line full go away, and come back."""
    async with receiving() as receiver, sending(broker, ledger, port=receiver.port) as callbacks:
        outcomes = [ended(url_of(receiver)) for _ in range(150)]
        await ledger.write(outcomes)
        callbacks.enqueue(outcomes)
        await until(lambda: len(receiver.received) == 150 and idle(broker), within=60)
    assert sorted(receiver.ids) == sorted(invocation.id for invocation in outcomes)


# ── the end ───────────────────────────────────────────────────────────────────────────────────


async def test_what_waits_at_the_end_is_given_back_and_what_is_sent_may_end(
    broker: MemoryBroker, ledger: Ledger
) -> None:
    async with receiving(held=True) as receiver:
        outcomes = [ended(url_of(receiver)) for _ in range(10)]
        await ledger.write(outcomes)
        async with sending(broker, ledger, port=receiver.port, grace=10) as callbacks:
            callbacks.enqueue(outcomes)
            await until(lambda: receiver.under_way == 4)
            closing = asyncio.create_task(callbacks.close(10))
            await until(lambda: broker.depth_now(QUEUE.name).ready == 6)
            receiver.gate.set()
            await closing
            assert broker.depth_now(QUEUE.name).backlog == 6
        assert len(receiver.received) == 4
        # A consumer of another process has the others.
        async with sending(broker, ledger, forgetful=False, port=receiver.port):
            await finished(ledger, *outcomes)
    assert len(receiver.received) == 10


async def test_the_end_does_not_wait_longer_than_its_grace(
    broker: MemoryBroker, ledger: Ledger
) -> None:
    async with receiving(Reply(silent=True)) as receiver:
        outcomes = [ended(url_of(receiver)) for _ in range(6)]
        await ledger.write(outcomes)
        async with sending(broker, ledger, port=receiver.port, grace=0) as callbacks:
            callbacks.enqueue(outcomes)
            await until(lambda: receiver.under_way == 4)
        assert broker.depth_now(QUEUE.name).ready == 6
        records = [await record_of(ledger, invocation) for invocation in outcomes]
        assert not any(record.attempts for record in records)


async def test_what_was_not_published_yet_is_published_at_the_end(
    broker: MemoryBroker, ledger: Ledger
) -> None:
    async with receiving() as receiver:
        invocation = ended(url_of(receiver))
        await ledger.write([invocation])
        async with sending(broker, ledger, port=receiver.port) as callbacks:
            callbacks.enqueue([invocation])
        assert broker.depth_now(QUEUE.name).ready == 1


# ── on RabbitMQ ───────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def rabbit_broker(url: str) -> AsyncIterator[RabbitBroker]:
    broker = RabbitBroker(Address.parse(url), name="test of callbacks")
    await broker.open(30)
    try:
        yield broker
    finally:
        await broker.close()


async def test_on_rabbitmq_what_fails_comes_again_by_way_of_a_delay_queue(
    rabbit_url: str, ledger: Ledger
) -> None:
    async with (
        receiving(Reply(500), Reply(200)) as receiver,
        rabbit_broker(rabbit_url) as broker,
        sending(broker, ledger, forgetful=False, port=receiver.port) as callbacks,
    ):
        invocation = ended(url_of(receiver))
        await ledger.write([invocation])
        callbacks.enqueue([invocation])
        (record,) = await finished(ledger, invocation)
        assert (record.attempts, record.error) == (2, None)
        assert await broker.settle(10)
        assert (await broker.depth(QUEUE.name)).backlog == 0
    assert receiver.ids == [invocation.id] * 2


async def test_on_rabbitmq_another_process_takes_over_from_one_that_goes(
    rabbit_url: str, ledger: Ledger
) -> None:
    async with receiving(held=True) as receiver:
        outcomes = [ended(url_of(receiver)) for _ in range(8)]
        await ledger.write(outcomes)
        async with (
            rabbit_broker(rabbit_url) as broker,
            sending(broker, ledger, forgetful=False, port=receiver.port) as first,
        ):
            first.enqueue(outcomes)
            await until(lambda: len(receiver.received) == 4 and not first._unpublished)
            await broker.close()  # as if the process had died: nothing of it is settled
        receiver.gate.set()
        async with (
            rabbit_broker(rabbit_url) as broker,
            sending(broker, ledger, forgetful=False, port=receiver.port),
        ):
            await finished(ledger, *outcomes)
    assert set(receiver.ids) == {invocation.id for invocation in outcomes}
    assert len(receiver.received) == 12  # four of them twice


# ── what is said ──────────────────────────────────────────────────────────────────────────────


def said(invocation: Invocation) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(callback_body(invocation, PUBLIC))
    return body


def test_a_body_is_the_record_with_absolute_links() -> None:
    blob = Part("image", "image/png", 5, None, "key")
    body = said(ended("https://hooks.test/", blobs=(blob,), replayed_from="earlier"))
    assert body["type"] == "invocation.succeeded"
    assert body["timestamp"] == "2023-11-14T22:13:21.000000Z"
    data = body["data"]
    root = f"https://lumbre.example.com/invocations/{data['id']}"
    assert data["links"]["self"] == root
    assert data["links"]["result"] == f"{root}/result"
    assert data["links"]["blobs"] == {"image": f"{root}/blobs/image"}
    earlier = "https://lumbre.example.com/invocations/earlier"
    assert data["links"]["replayed_from"] == earlier
    assert data["status"] == "succeeded" and data["input"]["parameters"] == {"n": 2}


def test_a_link_that_is_not_there_stays_null() -> None:
    assert said(ended("https://hooks.test/"))["data"]["links"]["replayed_from"] is None


@pytest.mark.parametrize(
    ("result", "there"),
    [
        (Part("result", JSON, 4, b"null"), True),
        (Part("result", JSON, 256 * 1024, b'"' + b"x" * (256 * 1024 - 2) + b'"'), True),
        (Part("result", JSON, 256 * 1024 + 1, b'"' + b"x" * (256 * 1024 - 1) + b'"'), False),
        (Part("result", JSON, 1_000_000, None, "key"), False),
        (Part("result", "image/png", 4, b"\x89PNG"), False),
        (None, False),
    ],
)
def test_a_json_result_is_in_it_where_it_is_small(result: Part | None, there: bool) -> None:
    data = said(replace(ended("https://hooks.test/"), result=result))["data"]
    assert ("result" in data) is there
    if there and result is not None and result.data is not None:
        assert data["result"] == json.loads(result.data)


def test_a_failure_says_why_and_shows_no_traceback() -> None:
    error = Failure("ValueError", "n is odd", traceback="Traceback: secret")
    failed = ended("https://hooks.test/", Status.FAILED, result=None, error=error)
    body = said(failed)
    assert body["type"] == "invocation.failed"
    assert body["data"]["error"] == {"type": "ValueError", "message": "n is odd"}


@pytest.mark.parametrize(
    ("record", "state"),
    [
        (RECORD, "pending"),
        (replace(RECORD, attempts=3, status_code=500, error="it answered 500"), "pending"),
        (replace(RECORD, attempts=1, status_code=200, finished=True), "delivered"),
        (replace(RECORD, attempts=1, error="no", finished=True), "failed"),
    ],
)
def test_a_record_shows_how_far_it_has_come(record: CallbackRecord, state: str) -> None:
    assert callback_view(record) == {
        "url": "https://hooks.test/",
        "state": state,
        "attempts": record.attempts,
        "status_code": record.status_code,
        "error": record.error,
    }
