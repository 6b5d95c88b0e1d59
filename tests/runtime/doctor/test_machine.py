"""Versions, GPUs and the port, as they are here and as they are elsewhere."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from runtime.brokers import fast
from runtime.devices import Gpu, Machine
from runtime.doctor import machine
from runtime.doctor.machine import examine_gpus, examine_port, examine_versions
from runtime.errors import ConfigurationError
from runtime.finding import Finding, State
from runtime.keys import new_key
from runtime.ledger import Ledger
from runtime.scopes import Scope
from runtime.settings import Settings

H200 = Gpu("0", "NVIDIA H200", 139 * 2**30)
CUDA = {"version": "2.9", "cuda": "12.8", "gpus": 1}


async def test_versions_that_were_tried_are_well() -> None:
    (found,) = await examine_versions()
    assert found.state is State.OK
    assert "Python 3." in found.text and "pika 1." in found.text


async def test_a_pika_that_was_not_tried_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "KNOWN", frozenset({"0.1"}))
    _, found = await examine_versions()
    assert (found.state, found.advice) == (State.WARNING, "pip install pika==0.1")


# ── GPUs ──────────────────────────────────────────────────────────────────────────────────────

Examine = Callable[..., Any]


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Examine:
    """What is found on a machine with these GPUs and this torch."""

    async def examine(gpus: tuple[Gpu, ...], torch: dict[str, Any], **given: Any) -> Finding:
        async def ask() -> dict[str, Any]:
            return torch

        simulated = given.get("simulate_gpu", False)
        here = Machine(4, 2**30, gpus, simulated, ("cpu",), 2 if simulated else len(gpus))
        monkeypatch.setattr(machine, "find_machine", lambda settings: here)
        monkeypatch.setattr(machine, "_ask_torch", ask)
        (found,) = await examine_gpus(Settings(**given))
        return found

    return examine


async def test_a_gpu_that_torch_computes_on_is_well(gpus: Examine) -> None:
    found = await gpus((H200,), CUDA)
    assert found.state is State.OK
    assert found.text == (
        "NVIDIA H200 (139 GiB); torch 2.9 for CUDA 12.8 computes on it; at most 1 at once"
    )


@pytest.mark.parametrize(
    ("torch", "told"),
    [
        ({"missing": "No module named 'torch'"}, "torch cannot be imported"),
        ({"version": "2.9+cpu", "cuda": None, "gpus": 0}, "(made for the CPU) does not see it"),
        ({**CUDA, "gpus": 0}, "(made for CUDA 12.8) does not see it"),
        ({**CUDA, "fault": "out of memory"}, "cannot compute on it (out of memory)"),
    ],
)
async def test_a_gpu_that_torch_cannot_use_is_a_problem(
    torch: dict[str, Any], told: str, gpus: Examine
) -> None:
    found = await gpus((H200,), torch)
    assert (found.state, told in found.text) == (State.PROBLEM, True)


async def test_no_gpu_is_well_unless_this_node_was_to_have_one(gpus: Examine) -> None:
    torch = {"version": "2.9", "cuda": None, "gpus": 0}
    assert (await gpus((), torch)).state is State.OK
    assert (await gpus((), torch, devices="cpu,gpu")).state is State.PROBLEM
    elsewhere = {"devices": "cpu,gpu", "broker_url": "amqp://x/"}  # workers may have it
    assert (await gpus((), torch, **elsewhere)).state is State.OK
    assert (await gpus((), CUDA)).state is State.WARNING  # which Lumbre does not find
    assert "simulated" in (await gpus((), torch, simulate_gpu=True)).text


async def test_torch_is_asked_in_a_process_of_its_own() -> None:
    told = await machine._ask_torch()
    assert "missing" in told or {"version", "cuda", "gpus"} <= told.keys()


async def test_a_torch_that_ends_its_process_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "PROBE", "import os; os._exit(11)")
    assert (await machine._ask_torch())["fault"] == "it ended: 11"


# ── the port ──────────────────────────────────────────────────────────────────────────────────


@contextmanager
def serving(health: tuple[int, bytes], ready: tuple[int, bytes]) -> Iterator[int]:
    """The port of a server that gives these answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = ready if self.path == "/readyz" else health
            self.send_response(status)
            self.send_header("Content-Length", f"{len(body)}")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


ALIVE = (200, b'{"status":"alive"}')


@pytest.mark.parametrize(
    ("health", "ready", "state", "told"),
    [
        (ALIVE, (200, b"{}"), State.OK, "and takes work"),
        (ALIVE, (503, b'{"detail":"it drains"}'), State.WARNING, "takes no work: it drains"),
        ((200, b"hello"), (200, b"hello"), State.PROBLEM, "cannot be taken"),
        ((404, b"{}"), (404, b"{}"), State.PROBLEM, "cannot be taken"),
    ],
)
async def test_who_has_the_port_is_told(
    health: tuple[int, bytes], ready: tuple[int, bytes], state: State, told: str
) -> None:
    with serving(health, ready) as port:
        (found,) = await examine_port(Settings(port=port))
    assert (found.state, told in found.text) == (state, True)


async def test_a_port_whose_owner_says_nothing_is_a_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "ANSWER", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        (found,) = await examine_port(Settings(port=mute.getsockname()[1]))
    assert (found.state, "--port" in found.text) == (State.PROBLEM, True)


async def test_a_free_port_is_well() -> None:
    (found,) = await examine_port(Settings(port=0))
    assert (found.state, "a free one" in found.text) == (State.OK, True)


async def test_an_address_that_others_reach_is_well_once_there_is_a_key(tmp_path: Path) -> None:
    settings = Settings(host="127.0.0.2", port=0, state=tmp_path)
    with pytest.raises(ConfigurationError, match="lumbre keys create"):
        await examine_port(settings)
    assert list(tmp_path.iterdir()) == []  # looking made no ledger
    ledger = await Ledger.open(settings.ledger)
    with pytest.raises(ConfigurationError, match="lumbre keys create"):
        await examine_port(settings)
    await ledger.keys.add(new_key("first", [Scope.READ], 0.0)[0])
    (found,) = await examine_port(settings)
    assert found.state is State.OK
    await ledger.close()
    with pytest.raises(ConfigurationError):
        await examine_port(settings.model_copy(update={"keys": "off"}))
    insecure = settings.model_copy(update={"insecure": True})
    assert [each.state for each in await examine_port(insecure)] == [State.OK]
