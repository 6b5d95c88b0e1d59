"""KEDA's external scaler over a real connection, and over gateways, workers and a RabbitMQ."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import httpx
import pytest

from autoscaler import push as module
from autoscaler.push import PushScaler
from loadtest.servers import RabbitServer
from loadtest.servers.guarded import free_ports
from runtime.errors import ConfigurationError, Unavailable
from tests.autoscaler.backlogs import SetBacklogs
from tests.autoscaler.kedas_client import Kedas, metadata
from tests.forwarder import Forwarder
from tests.support import ROOT, START_TIMEOUT, eventually

FUNCTIONS = ROOT / "tests" / "autoscaler" / "held_functions"
ADD = metadata("add.cpu", "2.5", activationValue="1")
HELD = metadata("held.cpu")


@pytest.fixture
def backlogs() -> SetBacklogs:
    return SetBacklogs(add__cpu=0, held__cpu=0)


@pytest.fixture
async def scaler(backlogs: SetBacklogs) -> AsyncIterator[PushScaler]:
    scaler = PushScaler(backlogs, "127.0.0.1", 0)
    await scaler.start()
    yield scaler
    await scaler.close()


@pytest.fixture
async def keda(scaler: PushScaler) -> AsyncIterator[Kedas]:
    async with Kedas(scaler.port) as keda:
        yield keda


async def refused(asking: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await asking
    return error.value.code(), error.value.details()


# ── over backlogs that a test sets ───────────────────────────────────────────────────────────────


async def test_keda_is_told_the_metric_and_its_target(keda: Kedas) -> None:
    spec = await keda.spec(ADD)
    assert (spec.metricName, spec.targetSize, spec.targetSizeFloat) == ("lumbre-add-cpu", 3, 2.5)


async def test_keda_is_told_the_backlog_and_whether_it_is_above_the_activation_value(
    keda: Kedas, backlogs: SetBacklogs
) -> None:
    for backlog, active in ((0, False), (1, False), (2, True), (10**12, True)):
        backlogs.counts["add.cpu"] = backlog
        assert await keda.metric(ADD) == backlog
        assert await keda.is_active(ADD) is active


async def test_a_backlog_that_cannot_be_read_is_an_error_so_that_the_fallback_counts(
    keda: Kedas, backlogs: SetBacklogs
) -> None:
    backlogs.counts["add.cpu"] = Unavailable("RabbitMQ: it is away", 1)
    away = (grpc.StatusCode.UNAVAILABLE, "RabbitMQ: it is away")
    assert await refused(keda.metric(ADD)) == away
    assert await refused(keda.is_active(ADD)) == away


@pytest.mark.parametrize("call", ["metric", "is_active", "spec"])
async def test_what_is_asked_wrongly_is_answered_with_what_is_wrong(keda: Kedas, call: str) -> None:
    ask: Callable[[dict[str, str]], Any] = getattr(keda, call)
    code, details = await refused(ask(metadata("sub.cpu")))
    assert code is grpc.StatusCode.NOT_FOUND
    assert details == "no function here has a queue sub.cpu: there are add.cpu, held.cpu"
    code, details = await refused(ask(metadata("add.cpu", "many")))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details.startswith("value: is 'many'")


async def test_a_stream_that_is_asked_for_wrongly_is_answered_so_too(keda: Kedas) -> None:
    code, _ = await refused(keda.listen(metadata("sub.cpu")).read())
    assert code is grpc.StatusCode.NOT_FOUND
    code, details = await refused(keda.listen({"value": "1"}).read())
    assert (code, details[:10]) == (grpc.StatusCode.INVALID_ARGUMENT, "queueName:")


async def test_bytes_of_something_else_and_too_many_are_refused(keda: Kedas) -> None:
    ask = keda.channel.unary_unary("/externalscaler.ExternalScaler/IsActive")
    code, details = await refused(ask(b"\xff"))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details == "1 bytes are no ScaledObjectRef of KEDA's external scaler"
    code, _ = await refused(ask(b"\x0a" * (module.MOST_BYTES + 1)))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_targets_that_change_by_themselves_are_not_served_and_keda_does_without(
    keda: Kedas,
) -> None:
    ask = keda.channel.unary_stream("/externalscaler.ExternalScaler/StreamMetricSpec")
    code, _ = await refused(ask(b"").read())
    assert code is grpc.StatusCode.UNIMPLEMENTED


async def test_a_publish_is_pushed_to_who_listens(
    keda: Kedas, scaler: PushScaler, backlogs: SetBacklogs
) -> None:
    stream = keda.listen(HELD)
    assert await stream.read() is False
    backlogs.counts["held.cpu"] = 1
    scaler.woken("held.cpu")
    assert await asyncio.wait_for(stream.read(), 10) is True
    stream.cancel()


async def test_a_scaler_that_closes_ends_streams_as_done_and_not_as_broken(
    keda: Kedas, scaler: PushScaler
) -> None:
    streams = [keda.listen(HELD), keda.listen(ADD)]
    assert [await stream.read() for stream in streams] == [False, False]
    await scaler.close()
    for stream in streams:
        assert await stream.read() is grpc.aio.EOF  # KEDA: io.EOF
        assert await stream.code() is grpc.StatusCode.OK


async def test_a_stream_that_keda_leaves_makes_room(
    keda: Kedas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STREAMS", 2)
    one, two = keda.listen(HELD), keda.listen(HELD)
    assert [await one.read(), await two.read()] == [False, False]
    code, details = await refused(keda.listen(HELD).read())
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details == "2 ScaledObjects listen already, the most there may be"
    one.cancel()
    while True:
        again = keda.listen(HELD)
        try:
            assert await again.read() is False
            break
        except grpc.aio.AioRpcError:
            await asyncio.sleep(0.01)
    again.cancel()
    two.cancel()


async def test_all_of_many_streams_that_are_opened_at_once_are_served(keda: Kedas) -> None:
    streams = [keda.listen(HELD) for _ in range(1500)]  # grpc cancels some above 1000 by default
    told = await asyncio.wait_for(asyncio.gather(*(stream.read() for stream in streams)), 60)
    assert told == [False] * 1500
    assert await asyncio.wait_for(keda.is_active(HELD), 10) is False  # and there is room for calls
    for stream in streams:
        stream.cancel()


async def test_a_port_that_is_taken_is_refused_and_not_shared(
    scaler: PushScaler, backlogs: SetBacklogs
) -> None:
    second = PushScaler(backlogs, "127.0.0.1", scaler.port)
    with pytest.raises(
        ConfigurationError, match=f"port {scaler.port} on 127.0.0.1 cannot be taken"
    ):
        await second.start()
    await second.close()


# ── over real gateways ───────────────────────────────────────────────────────────────────────────


@dataclass
class Gateway:
    """A `lumbre gateway` that runs."""

    process: subprocess.Popen[bytes]
    log: Path
    scaler_port: int

    def url(self) -> str:
        assert self.process.poll() is None, self.log.read_text()
        found = re.search(r"lumbre gateway is up on (http://\S+)", self.log.read_text())
        return found[1] if found else ""


def environment(folder: Path, broker_url: str, **more: str) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("LUMBRE_")}
    return clean | {
        "PYTHONPATH": str(ROOT),
        "LUMBRE_STATE": str(folder),
        "LUMBRE_BROKER_URL": broker_url,
        "LUMBRE_FUNCTIONS": str(FUNCTIONS),
        "LUMBRE_DEVICES": "cpu",
        "LUMBRE_CONSOLE": "0",
        **more,
    }


@contextmanager
def running(folder: Path, name: str, settings: dict[str, str], *command: str) -> Iterator[Any]:
    """A process of ours, which must end well when it is asked to."""
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "runtime", *command],
            cwd=folder,
            env=settings,
            stdout=output,
            stderr=output,
        )
    try:
        yield process, log
    finally:
        process.terminate()
        code = process.wait(60)
    assert code == 0, log.read_text()
    assert "Traceback" not in log.read_text()


@contextmanager
def gateway(folder: Path, name: str, broker_url: str) -> Iterator[Gateway]:
    (port,) = free_ports(1)
    settings = environment(folder / name, broker_url, LUMBRE_SCALER_PORT=str(port))
    with running(folder, name, settings, "gateway", "--port", "0") as (process, log):
        yield Gateway(process, log, port)


async def test_a_publish_at_any_gateway_is_pushed_and_what_runs_counts_until_it_is_done(
    rabbit_url: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with (
        gateway(tmp_path, "kedas", rabbit_url) as kedas,
        gateway(tmp_path, "callers", rabbit_url) as callers,
    ):
        eventually(kedas.url, START_TIMEOUT)
        url = eventually(callers.url, START_TIMEOUT)
        async with Kedas(kedas.scaler_port) as keda, httpx.AsyncClient(base_url=url) as client:
            stream = keda.listen(HELD)
            assert await asyncio.wait_for(stream.read(), 30) is False
            assert await keda.metric(HELD) == 0
            for _ in range(2):
                answer = await client.post(
                    "/invoke/held",
                    json={"gate": str(gate)},
                    headers={"Prefer": "respond-async"},
                )
                assert answer.status_code == 202, answer.text
            assert await asyncio.wait_for(stream.read(), 30) is True
            assert await keda.is_active(HELD)
            assert await keda.metric(HELD) == 2

            settings = environment(tmp_path / "worker", rabbit_url, LUMBRE_GRACE="0")
            with running(tmp_path, "worker", settings, "worker", "held", "--replicas", "1"):
                await until(lambda: begun(gate))
                await until(lambda: counts(keda, 2))  # one runs, and one waits
                assert await keda.is_active(HELD)
                gate.touch()
                while await asyncio.wait_for(stream.read(), 30):
                    pass
                await until(lambda: counts(keda, 0))
                assert not await keda.is_active(HELD)
            stream.cancel()


async def begun(gate: Path) -> bool:
    return Path(f"{gate}.begun").exists()


async def counts(keda: Kedas, messages: int) -> bool:
    return await keda.metric(HELD) == messages


async def test_a_broker_that_is_gone_is_an_error_and_a_drain_ends_streams(
    rabbit: RabbitServer, rabbit_url: str, tmp_path: Path
) -> None:
    way = Forwarder(rabbit.port)
    way.open()
    url = rabbit_url.replace(f":{rabbit.port}/", f":{way.port}/")
    with ExitStack() as stack:
        running = stack.enter_context(gateway(tmp_path, "gateway", url))
        eventually(running.url, START_TIMEOUT)
        async with Kedas(running.scaler_port) as keda:
            stream = keda.listen(HELD)
            assert await asyncio.wait_for(stream.read(), 30) is False
            way.close()
            code, details = await refused(until_refused(keda))
            assert code is grpc.StatusCode.UNAVAILABLE
            assert details.startswith("RabbitMQ: ")
            code, _ = await refused(keda.is_active(HELD))
            assert code is grpc.StatusCode.UNAVAILABLE
            way.open()
            await until(lambda: answers(keda))
            ending = asyncio.create_task(asyncio.to_thread(stack.close))
            assert await asyncio.wait_for(stream.read(), 30) is grpc.aio.EOF
            assert await stream.code() is grpc.StatusCode.OK
        await ending
    way.close()


async def until_refused(keda: Kedas) -> None:
    """Ask until that fails, which must not take long."""
    async with asyncio.timeout(30):
        while True:
            assert await keda.metric(HELD) == 0
            await asyncio.sleep(0.02)


async def answers(keda: Kedas) -> bool:
    try:
        return await keda.metric(HELD) == 0
    except grpc.aio.AioRpcError:
        return False


async def until(probe: Callable[[], Awaitable[bool]], within: float = 30.0) -> None:
    async with asyncio.timeout(within):
        while not await probe():
            await asyncio.sleep(0.02)


def test_a_gateway_without_grpcio_says_what_to_install(rabbit_url: str, tmp_path: Path) -> None:
    lacking = "import sys; sys.modules['grpc'] = None; from runtime.cli import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", lacking, "gateway", "--port", "0"],
        cwd=tmp_path,
        env=environment(tmp_path, rabbit_url, LUMBRE_SCALER_PORT="6000"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode not in (0, None)
    assert (
        "LUMBRE_SCALER_PORT=6000: grpcio is not installed: pip install 'lumbre[push]'"
        in ended.stderr
    )
    assert "Traceback" not in ended.stderr
