"""How a process ends: by a signal, by two, or because a part of it says so."""

import asyncio
import gc
import os
import signal
from collections.abc import Iterator

import pytest

from runtime.errors import ConfigurationError, LumbreError
from runtime.serving import Process, listen
from runtime.settings import Settings


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """A process tunes its collector; this one goes on with other tests."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


class Part:
    """A role that takes a while to drain."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.drained = asyncio.Event()

    async def start(self) -> None:
        self.did.append("start")

    async def drain(self) -> None:
        self.did.append("drain")
        await self.drained.wait()

    async def close(self) -> None:
        self.did.append("close")


async def running(part: Part) -> tuple[Process, asyncio.Task[None]]:
    process = Process([part], lambda seconds: "up", began=0.0)
    task = asyncio.create_task(process.run())
    while "start" not in part.did:
        await asyncio.sleep(0)
    return process, task


async def test_a_part_that_says_why_ends_the_process_with_that_after_a_drain() -> None:
    part = Part()
    process, task = await running(part)
    process.end(LumbreError("its GPU is broken"))
    process.end(LumbreError("and so it was again"))
    part.drained.set()
    with pytest.raises(LumbreError, match="its GPU is broken"):
        await task
    assert part.did == ["start", "drain", "close"]


async def test_a_part_that_is_done_ends_the_process_well() -> None:
    part = Part()
    process, task = await running(part)
    process.end()
    part.drained.set()
    await task
    assert part.did == ["start", "drain", "close"]


async def test_sigterm_to_one_that_ends_by_itself_does_not_cut_its_drain_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Kubernetes may delete a pod just as it gives up; what it runs is finished all the same."""
    exits: list[int] = []
    monkeypatch.setattr(os, "_exit", exits.append)
    part = Part()
    process, task = await running(part)
    process.end(LumbreError("its GPU is broken"))
    while "drain" not in part.did:
        await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0.05)
    assert not exits
    os.kill(os.getpid(), signal.SIGTERM)
    while not exits:
        await asyncio.sleep(0.01)
    assert exits[0] == 130
    part.drained.set()
    with pytest.raises(LumbreError):
        await task


def test_a_port_that_is_taken_is_said_with_the_flag_that_changes_it() -> None:
    settings = Settings(port=0)
    with listen(settings) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port} .* with --health-port"):
            listen(settings, port, "--health-port")
        with pytest.raises(ConfigurationError, match=f"port {port} .* with --port"):
            listen(settings.model_copy(update={"port": port}))
