"""From `results` to the ledger: acknowledged once it is committed, and never before."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from runtime import results as module
from runtime.bus import Bus
from runtime.errors import Unavailable
from runtime.ledger import Ledger
from runtime.model import Failure, Invocation, Message, Payload, Status, new_id
from runtime.recorder import Recorder
from runtime.results import Results
from runtime.telemetry import Metrics
from runtime.wire import encode_message, encode_report, join_reports
from tests.support import until


class FakeBus:
    """Hands over what a test has in `results`."""

    def __init__(self) -> None:
        self.take: Callable[[bytes, Callable[[], None]], None]
        self.acked: list[str] = []
        self.closed = False

    async def consume_results(self, prefetch: int, take: Any) -> "FakeBus":
        self.take = take
        return self

    async def close(self) -> None:
        self.closed = True

    def deliver(self, name: str, body: bytes) -> None:
        self.take(body, lambda: self.acked.append(name))


class AwayRecorder(Recorder):
    """One whose ledger cannot be written while it is `away`, and is `back_at` the n-th try."""

    away = True
    tries = 0
    back_at = 0

    async def flush(self) -> None:
        self.tries += 1
        if self.tries == self.back_at:
            self.away = False
        if self.away:
            raise Unavailable("the ledger is away", 1)
        await super().flush()


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    ledger = await Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    yield ledger
    await ledger.close()


@pytest.fixture
async def recorder(ledger: Ledger) -> AsyncIterator[AwayRecorder]:
    recorder = AwayRecorder(ledger)
    await recorder.start()
    yield recorder
    await recorder.close()


@pytest.fixture
async def bus() -> FakeBus:
    return FakeBus()


@pytest.fixture
async def results(bus: FakeBus, recorder: AwayRecorder) -> Results:
    results = Results(cast(Bus, bus), recorder, Metrics(lambda: ()))
    await results.start()
    return results


def invocation(status: Status = Status.SUCCEEDED) -> Invocation:
    message = Message(new_id(), "noop", "cpu", Payload(), created_at=1.0)
    return Invocation(message, "cpu", "v1", status, finished_at=2.0)


async def test_a_report_is_acknowledged_once_the_ledger_has_it(
    bus: FakeBus, results: Results, recorder: AwayRecorder, ledger: Ledger
) -> None:
    ended = invocation()
    bus.deliver("one", join_reports([encode_report(ended)]))
    await until(lambda: recorder.tries)
    assert not bus.acked
    recorder.away = False
    await until(lambda: bus.acked)
    stored = await ledger.get(ended.id)
    assert stored and stored.status is Status.SUCCEEDED
    await results.close()


async def test_what_cannot_be_written_stays_in_the_queue_when_its_process_leaves(
    bus: FakeBus, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LAST_TRY", 0.2)
    bus.deliver("one", join_reports([encode_report(invocation())]))
    await results.close()
    assert bus.closed and not bus.acked


async def test_a_drain_waits_for_a_ledger_that_comes_back(
    bus: FakeBus, results: Results, recorder: AwayRecorder
) -> None:
    bus.deliver("one", join_reports([encode_report(invocation())]))
    recorder.back_at = 3
    await results.close()
    assert bus.acked == ["one"]


async def test_bytes_that_are_no_report_are_dropped_and_others_written(
    bus: FakeBus, results: Results, recorder: AwayRecorder, ledger: Ledger
) -> None:
    recorder.away = False
    ended = invocation(Status.FAILED)
    ended.error = Failure("ValueError", "no")
    bus.deliver("garbage", b"\x00\x01\x02")
    bus.deliver("one", join_reports([encode_report(ended)]))
    await until(lambda: len(bus.acked) == 2)
    stored = await ledger.get(ended.id)
    assert stored and stored.error == ended.error
    await results.close()


async def test_what_the_broker_gave_up_on_is_dead(
    bus: FakeBus, results: Results, recorder: AwayRecorder, ledger: Ledger
) -> None:
    recorder.away = False
    sent = invocation().message
    bus.deliver("letter", encode_message(sent))
    await until(lambda: bus.acked)
    stored = await ledger.get(sent.id)
    assert stored and stored.status is Status.DEAD and stored.error
    assert stored.error.type == "WorkerDied"
    await results.close()
