"""What tests of the HTTP API share: asking, and reading what comes back."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.support import RunningNode, eventually

FUNCTIONS = Path(__file__).parent.parent / "http_functions"
INLINE = 256 * 1024  # bytes; what is larger travels as a blob
MAX_BODY = 1_000_000
MAX_RESULT = 2_000_000
CURL = "application/x-www-form-urlencoded"  # what curl -d and --data-binary say
ASYNC = {"Prefer": "respond-async"}
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

# The members of an invocation: those of DESIGN §5, and which replica ran it, on what.
RECORD = {
    *("id", "function", "device", "requested_device", "status", "attempt", "version"),
    *("created_at", "started_at", "finished_at", "timings", "cold", "replica", "error", "input"),
    *("links", "traceparent", "simulated"),
}


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem details of an answer, which must be whole."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    assert told["status"] == status
    assert all(told[member] for member in ("type", "title", "detail"))
    return told


def faults(answer: httpx.Response) -> dict[str, str]:
    """The faults of a 422 by pointer."""
    return {fault["pointer"]: fault["detail"] for fault in problem(answer, 422)["errors"]}


def ends(client: httpx.Client, id: str, within: float = 10.0) -> dict[str, Any]:
    """The record of an invocation once it is terminal."""

    def terminal() -> dict[str, Any] | None:
        record: dict[str, Any] = client.get(f"/invocations/{id}").json()
        return record if record["status"] not in ("queued", "running") else None

    record = eventually(terminal, within)
    assert record is not None
    return record


def status_of(client: httpx.Client, id: str) -> str:
    return str(client.get(f"/invocations/{id}").json()["status"])


def is_running(client: httpx.Client, id: str) -> Callable[[], bool]:
    return lambda: status_of(client, id) == "running"


def start(client: httpx.Client, function: str, **parameters: Any) -> str:
    """Invoke without waiting; the id."""
    answer = client.post(f"/invoke/{function}", json=parameters, headers=ASYNC)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def blobs_of(node: RunningNode) -> set[str]:
    """Invocations that have blobs."""
    folder = node.state / "blobs"
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def raw(node: RunningNode, request: bytes, *, hang_up: bool = False) -> bytes:
    """All that comes back for bytes on a connection of their own."""
    with connect(node) as connection:
        connection.sendall(request)
        if hang_up:
            connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def connect(node: RunningNode) -> socket.socket:
    url = httpx.URL(node.url)
    return socket.create_connection((url.host, url.port or 80), timeout=10)
