"""What a gateway knows of workers elsewhere, with a worker and a RabbitMQ that are real."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runtime import workers as module
from runtime.catalog import Catalog
from runtime.lifeline import ReplicaLife
from runtime.role import connection
from runtime.settings import Settings
from runtime.worker_role import Duty, WorkerRole
from runtime.workers import Workers

FUNCTIONS = Path(__file__).parent / "compare_functions"


async def until(probe: Callable[[], Any], within: float = 20.0) -> Any:
    """The first true value of `probe`, asked again at every turn of the loop."""
    deadline = time.monotonic() + within
    while not (value := probe()):
        assert time.monotonic() < deadline, f"not within {within} s"
        await asyncio.sleep(0.01)
    return value


@dataclass
class Distant:
    """A worker that runs, and what a gateway hears of it."""

    role: WorkerRole | None
    workers: Workers

    @property
    def lives(self) -> dict[str, ReplicaLife]:
        return {life.name: life for life in self.workers.lives()}

    async def ready(self, *names: str) -> None:
        await until(lambda: all(n in self.lives and self.lives[n].ready_at for n in names))

    async def leave(self) -> None:
        """End it as SIGTERM does; once."""
        role, self.role = self.role, None
        if role:
            await role.drain()
            await role.close()


def void_of(heard: Callable[[str, bytes], bool]) -> Callable[[str, bytes], None]:
    def signalled(key: str, body: bytes) -> None:
        heard(key, body)

    return signalled


@pytest.fixture
async def distant(rabbit_url: str, tmp_path: Path) -> AsyncIterator[Distant]:
    settings = Settings(
        functions=str(FUNCTIONS),
        state=tmp_path / "state",
        broker_url=rabbit_url,
        simulate_gpu=True,
        grace=1,
    )
    catalog = Catalog(settings.folders, tmp_path / "catalog.json")
    await catalog.refresh()
    role = WorkerRole(settings, catalog, Duty(("draw",), replicas=1))
    bus = connection(settings, "test")
    workers = Workers(bus, "auto", lambda: [])
    bus.on_signal = void_of(workers.heard)
    await bus.open(10)
    await workers.start()
    await role.start()
    distant = Distant(role, workers)
    try:
        await distant.ready("draw-cpu-1", "draw-gpu-simulated-1")
        yield distant
    finally:
        await distant.leave()
        await workers.close()
        await bus.close()
        catalog.close()


async def test_a_gateway_knows_the_replicas_of_workers_elsewhere(distant: Distant) -> None:
    cpu, gpu = distant.lives["draw-cpu-1"], distant.lives["draw-gpu-simulated-1"]
    assert (cpu.function, cpu.device, cpu.simulated) == ("draw", "cpu", False)
    assert (gpu.device, gpu.simulated, gpu.gpu, gpu.gpu_memory) == ("gpu", True, None, None)
    assert cpu.worker == gpu.worker
    assert f"-{os.getpid()}-" in cpu.worker  # the worker of this test is in this process
    assert cpu.pid and gpu.pid and cpu.pid != gpu.pid
    assert [s.state for s in cpu.segments] == ["starting", "ready"]
    assert cpu.memory > 2**20


async def test_a_gateway_hears_how_a_replica_ended(distant: Distant) -> None:
    pid = distant.lives["draw-cpu-1"].pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    await until(lambda: distant.lives["draw-cpu-1"].state == "ended")
    assert distant.lives["draw-cpu-1"].ending == "killed by signal 9 (SIGKILL)"
    await distant.ready("draw-cpu-2")


async def test_of_a_worker_that_leaves_it_is_known_how_its_replicas_ended(
    distant: Distant,
) -> None:
    await distant.leave()
    await until(lambda: {life.state for life in distant.lives.values()} == {"ended"})
    assert {life.ending for life in distant.lives.values()} == {"its worker ended"}
    assert distant.workers.count == 0


async def test_the_replicas_of_a_worker_that_falls_silent_have_ended(
    distant: Distant, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert distant.role
    monkeypatch.setattr(distant.role, "_announce", lambda: None)
    monkeypatch.setattr(module, "FORGET_AFTER", 0.1)
    await until(lambda: {life.state for life in distant.lives.values()} == {"ended"})
    assert {life.ending for life in distant.lives.values()} == {
        "its worker was not heard of any more"
    }


async def test_nobody_is_silent_while_the_broker_is_away(
    distant: Distant, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = distant.workers
    monkeypatch.setattr(module, "FORGET_AFTER", -1.0)  # whoever is not heard of this very moment
    with monkeypatch.context() as away:
        away.setattr(type(workers._bus), "connected", property(lambda bus: False))
        workers._forget_silent()
        assert workers.count == 1
    workers._forget_silent()
    assert workers.count == 0


async def test_what_is_no_announcement_changes_nothing(distant: Distant) -> None:
    before = distant.lives.keys()
    (worker,) = distant.workers._workers
    for key in (f"worker.{worker}", f"lives.{worker}", "lives.unheard-of"):
        assert distant.workers.heard(key, b"[{}]")
    assert not distant.workers.heard("decision", b"{}")
    assert distant.lives.keys() == before
