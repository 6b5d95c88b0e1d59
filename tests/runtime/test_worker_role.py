"""A worker as it is in a pod: when it gives up, whom it blames, and what it takes once."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from runtime import hearing, pool, quarantine
from runtime.brokers.rabbitmq import RabbitBroker
from runtime.catalog import Catalog
from runtime.errors import ConfigurationError, LumbreError
from runtime.model import Message, Payload, new_id
from runtime.role import connection
from runtime.settings import Settings
from runtime.worker_role import Duty, WorkerRole
from runtime.workers import ROLL
from tests.support import until

FUNCTIONS = Path(__file__).parent.parent / "pod_functions"


class Rig:
    """Workers in this process, and somebody who publishes for them."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.bus: RabbitBroker = connection(settings, "test")
        self._folder = folder
        self._open: list[tuple[WorkerRole, Catalog]] = []

    async def worker(self, *functions: str, once: bool = False) -> tuple[WorkerRole, list[Any]]:
        """Start one of one replica; the list gets what it calls its end, once it does."""
        catalog = Catalog(self.settings.folders, self._folder / f"{len(self._open)}.json")
        await catalog.refresh()
        role = WorkerRole(self.settings, catalog, Duty(functions, ("cpu",), 1, once))
        over: list[Any] = []
        role.on_over = over.append
        self._open.append((role, catalog))
        await role.start()
        return role, over

    async def publish(self, function: str, parameters: bytes = b"{}") -> None:
        message = Message(new_id(), function, "cpu", Payload(parameters), time.time())
        await self.bus.publish(f"{function}.cpu", message)

    async def close(self) -> None:
        for role, catalog in self._open:
            await role.drain()
            await role.close()
            catalog.close()
        await self.bus.close()


Start = Callable[..., Awaitable[tuple[WorkerRole, list[Any]]]]


@pytest.fixture
async def rig(rabbit_url: str, tmp_path: Path) -> AsyncIterator[Rig]:
    settings = Settings(
        functions=str(FUNCTIONS), state=tmp_path / "state", broker_url=rabbit_url, grace=1
    )
    rig = Rig(settings, tmp_path)
    await rig.bus.open(10)
    yield rig
    await rig.close()


async def test_a_pod_whose_replica_cannot_start_gives_up_with_the_reason(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "MAX_BACKOFF", 0.01)
    _, over = await rig.worker("unfit")
    await until(lambda: over)
    assert isinstance(over[0], LumbreError)
    assert "queue=unfit.cpu this worker gives up" in str(over[0])
    assert "(5 in a row)" in str(over[0])
    assert "GPU 0 failed its fitness check" in str(over[0])


async def test_a_worker_of_several_functions_goes_on_with_the_others(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "MAX_BACKOFF", 0.01)
    role, over = await rig.worker("unfit", "fickle")
    await until(lambda: role._worker.pools["unfit", "cpu"].failed_starts > 6)
    assert not over
    assert role._worker.pools["fickle", "cpu"].counts().ready == 1


async def test_a_broken_worker_takes_itself_out_when_others_do_well_and_gives_up_the_second_time(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(quarantine, "CLOCKS", 0.0)
    monkeypatch.setattr(hearing, "PAUSE", 0.0)
    well, well_over = await rig.worker("fickle")
    monkeypatch.setenv("PODS_BROKEN", "1")
    broken, over = await rig.worker("fickle")
    kept = broken._worker.pools["fickle", "cpu"]
    first = await until(lambda: kept.replicas and kept.replicas[0].name)
    await until(lambda: kept.counts().ready)
    while not over:
        for number in range(6):
            await rig.publish("fickle", b'{"number": %d}' % number)
        rig.bus.signal(ROLL, b"")
        await asyncio.sleep(0.1)
    assert "2 of its replicas were taken out within 10 minutes" in str(over[0])
    ended = [life for life in broken._worker.lives() if life.name == first]
    assert ended[0].ending and "times in a row, and 1 other replica succeeded" in ended[0].ending
    assert f"replica={first} taken out" in caplog.text
    assert not well_over
    assert {life.ending for life in well._worker.lives()} == {None}


async def test_what_callers_send_and_what_fails_everywhere_takes_nobody_out(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "CLOCKS", 0.0)
    monkeypatch.setattr(hearing, "PAUSE", 0.0)
    monkeypatch.setenv("PODS_BROKEN", "1")
    workers = [await rig.worker("fickle") for _ in range(2)]
    pools = [role._worker.pools["fickle", "cpu"] for role, _ in workers]
    await until(lambda: all(each.counts().ready for each in pools))
    for number in range(60):
        await rig.publish("fickle", b'{"number": %d}' % (-1 if number % 3 else 1))
        if not number % 10:
            rig.bus.signal(ROLL, b"")
            await asyncio.sleep(0.05)
    await until(lambda: sum(p.served for each in pools for p in each.replicas) == 60)
    assert max(p.conduct.in_a_row for each in pools for p in each.replicas) > quarantine.IN_A_ROW
    assert not any(over for _, over in workers)
    assert {life.ending for role, _ in workers for life in role._worker.lives()} == {None}


async def test_a_worker_for_one_message_takes_one_and_is_over_once_it_is_settled(rig: Rig) -> None:
    await rig.worker("fickle")  # which declares the queue
    await rig._open[0][0].drain()
    for number in range(4):
        await rig.publish("fickle", b'{"number": %d}' % number)
    role, over = await rig.worker("fickle", once=True)
    await until(lambda: over)
    assert over == [None]
    await role._bus.settle(5)
    assert await rig.bus.ready("fickle.cpu") == 3
    assert role._bus.in_hand("fickle.cpu") == 0
    assert [life.served for life in role._worker.lives()] == [1]


async def test_a_message_whose_replica_dies_goes_back_and_is_that_workers_end(rig: Rig) -> None:
    await rig.worker("crash")
    await rig._open[0][0].drain()
    await rig.publish("crash")
    _, over = await rig.worker("crash", once=True)
    await until(lambda: over)
    assert over == [None]
    await until(lambda: rig._open[1][0]._bus.in_hand("crash.cpu") == 0)
    assert await rig.bus.ready("crash.cpu") == 1, "it is tried again by another worker"


@pytest.mark.parametrize("functions", [(), ("fickle", "crash")])
async def test_one_message_of_several_queues_is_refused(
    rig: Rig, functions: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigurationError, match=r"would serve \d: name one function"):
        await rig.worker(*functions, once=True)
