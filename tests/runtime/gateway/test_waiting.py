"""How long a caller waits, and what becomes of those who hang up."""

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.runtime.gateway.asking import (
    ASYNC,
    INLINE,
    RECORD,
    blobs_of,
    connect,
    ends,
    is_running,
    problem,
    raw,
)
from tests.support import RunningNode, eventually


def test_respond_async_answers_202_and_the_outcome_comes_later(
    client: httpx.Client, gate: Path
) -> None:
    answer = client.post("/invoke/hold", json={"gate": str(gate)}, headers=ASYNC)
    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "respond-async"
    record = answer.json()
    assert record.keys() == RECORD
    link = answer.headers["location"]
    assert link == f"/invocations/{record['id']}" == record["links"]["self"]
    eventually(is_running(client, record["id"]))
    pending = client.get(f"{link}/result")
    assert (pending.status_code, pending.headers["location"]) == (202, link)
    gate.touch()
    result = client.get(f"{link}/result", headers={"Prefer": "wait=20"})
    assert (result.status_code, result.json()) == (200, 1)
    assert client.get(f"{link}/result").json() == 1
    assert client.get(link).json()["status"] == "succeeded"


def test_wait_answers_200_when_it_is_quick_and_202_when_it_is_not(
    client: httpx.Client, gate: Path
) -> None:
    quick = client.post("/invoke/add", json={"a": 1}, headers={"Prefer": "wait=30"})
    assert (quick.status_code, quick.headers["preference-applied"]) == (200, "wait=30")
    slow = client.post("/invoke/hold", json={"gate": str(gate)}, headers={"Prefer": "wait=1"})
    assert (slow.status_code, slow.headers["preference-applied"]) == (202, "wait=1")
    assert 0.9 < slow.elapsed.total_seconds() < 5
    gate.touch()
    assert ends(client, slow.json()["id"])["status"] == "succeeded"


def test_wait_and_respond_async_together_wait_first(client: httpx.Client, gate: Path) -> None:
    both = {"Prefer": "respond-async, wait=1"}
    quick = client.post("/invoke/add", json={"a": 1}, headers=both)
    assert (quick.status_code, quick.headers["preference-applied"]) == (200, "wait=1")
    slow = client.post("/invoke/hold", json={"gate": str(gate)}, headers=both)
    assert (slow.status_code, slow.headers["preference-applied"]) == (202, "respond-async, wait=1")


@pytest.mark.parametrize(
    "prefer", ["", "wait", "wait=", "wait=soon", "wait=-1", b"wait=\xb2", "handling=strict", ",;="]
)
def test_a_preference_that_is_none_of_ours_is_ignored(
    client: httpx.Client, prefer: str | bytes
) -> None:
    value = prefer if isinstance(prefer, bytes) else prefer.encode()
    answer = client.post("/invoke/add", json={"a": 1}, headers=[(b"Prefer", value)])
    assert answer.status_code == 200
    assert "preference-applied" not in answer.headers


def test_a_caller_may_be_ready_to_wait_for_ages(client: httpx.Client) -> None:
    for seconds in ("9" * 10, "9" * 400):
        headers = {"Prefer": f"wait={seconds}"}
        assert client.post("/invoke/add", json={"a": 1}, headers=headers).json() == 2


def test_an_outcome_outlives_the_connection_that_asked_for_it(
    node: RunningNode, client: httpx.Client, tmp_path: Path, gate: Path
) -> None:
    mark = tmp_path / "mark"
    body = b'{"gate": "%s", "mark": "%s"}' % (os.fsencode(gate), os.fsencode(mark))
    with connect(node) as connection:
        head = b"POST /invoke/hold HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        connection.sendall(head + body)
        eventually(mark.exists)
    gate.touch()

    def found() -> list[dict[str, Any]]:
        listed = client.get("/invocations?function=hold&status=succeeded").json()["items"]
        return [item for item in listed if item["input"]["parameters"].get("mark") == str(mark)]

    (record,) = eventually(found)
    assert client.get(record["links"]["result"]).json() == 1


@pytest.mark.parametrize("kind", [b"image/png", b"application/json"])
def test_an_upload_that_is_cut_short_leaves_no_blob_and_runs_nothing(
    node: RunningNode, client: httpx.Client, kind: bytes
) -> None:
    def listed() -> int:
        return len(client.get("/invocations?function=digest&limit=1000").json()["items"])

    before, ran = blobs_of(node), listed()
    with connect(node) as connection:
        connection.sendall(
            b"POST /invoke/digest HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\n"
            b"Content-Length: 900000\r\n\r\n" % kind + b"x" * (INLINE + 100_000)
        )
        if kind == b"image/png":  # JSON is read whole before anything is stored
            eventually(lambda: blobs_of(node) != before)
    eventually(lambda: blobs_of(node) == before)
    assert listed() == ran


@pytest.mark.parametrize("sent", [b"", b'{"path": '])
def test_a_request_whose_body_never_comes_runs_nothing(
    node: RunningNode, client: httpx.Client, sent: bytes
) -> None:
    head = b"POST /invoke/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\n"
    ran = len(client.get("/invocations?function=echo&limit=1000").json()["items"])
    raw(node, head + sent, hang_up=True)
    assert client.post("/invoke/echo").status_code == 200
    assert len(client.get("/invocations?function=echo&limit=1000").json()["items"]) == ran + 1


def test_a_slow_upload_is_waited_for(node: RunningNode, client: httpx.Client) -> None:
    data = os.urandom(INLINE * 2)
    waiting = threading.Event()

    def slowly() -> Iterator[bytes]:
        before = blobs_of(node)
        yield data[: INLINE + 1]
        eventually(lambda: blobs_of(node) != before)  # the first half is on disk by now
        waiting.set()
        yield data[INLINE + 1 :]

    answer = client.post("/invoke/digest", content=slowly(), headers={"Content-Type": "image/png"})
    assert waiting.is_set()
    assert answer.json()["sha256"] == hashlib.sha256(data).hexdigest()


def test_a_refused_upload_leaves_no_blob(node: RunningNode, client: httpx.Client) -> None:
    before = blobs_of(node)
    large = b"x" * (INLINE + 1)
    problem(client.post("/invoke/digest?scale=two", content=large), 422)
    problem(client.post("/invoke/equal", files={"left": large}), 422)
    problem(client.put("/invocations/refused?function=digest&scale=two", content=large), 422)
    assert blobs_of(node) == before
