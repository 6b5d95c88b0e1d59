"""Idempotency-Key and PUT: the same request again is the same invocation."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.runtime.gateway.asking import (
    ASYNC,
    FUNCTIONS,
    INLINE,
    blobs_of,
    ends,
    faults,
    problem,
    raw,
)
from tests.support import NodeFactory, RunningNode


def test_one_key_and_body_is_one_invocation_however_often_it_is_sent(
    client: httpx.Client, tmp_path: Path
) -> None:
    path = tmp_path / "lines"
    headers = {"Idempotency-Key": f"again {tmp_path}"}
    answers = [
        client.post("/invoke/append", json={"path": str(path)}, headers=headers) for _ in range(3)
    ]
    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, 1)] * 3
    assert len({answer.headers["invocation-id"] for answer in answers}) == 1
    later = client.post("/invoke/append", json={"path": str(path)}, headers={**headers, **ASYNC})
    assert (later.status_code, later.json()) == (200, 1)
    assert "preference-applied" not in later.headers
    assert path.read_text() == "ran\n"


def test_twenty_who_race_with_one_key_get_one_run(client: httpx.Client, tmp_path: Path) -> None:
    path = tmp_path / "lines"
    headers = {"Idempotency-Key": f"race {tmp_path}"}

    def send(number: int) -> httpx.Response:
        more = ASYNC if number % 3 == 0 else {}
        body = {"path": str(path)}
        return client.post("/invoke/append", json=body, headers={**headers, **more})

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(send, range(20)))
    assert {answer.status_code for answer in answers} <= {200, 202}
    (id,) = {answer.headers["invocation-id"] for answer in answers}
    ends(client, id)
    assert path.read_text() == "ran\n"


def test_one_key_with_another_input_function_or_device_is_a_409(
    node: RunningNode, client: httpx.Client, tmp_path: Path
) -> None:
    headers = {"Idempotency-Key": f"different {tmp_path}"}
    data = b"d" * (INLINE + 1)
    first = client.post("/invoke/digest", content=data, headers=headers)
    before = blobs_of(node)
    again = client.post("/invoke/digest", content=data, headers=headers)
    assert again.headers["invocation-id"] == first.headers["invocation-id"]
    told = problem(client.post("/invoke/digest", content=data[1:], headers=headers), 409)
    assert first.headers["invocation-id"] in told["detail"]
    problem(client.post("/invoke/digest?scale=2", content=data, headers=headers), 409)
    problem(client.post("/invoke/digest?device=cpu", content=data, headers=headers), 409)
    problem(client.post("/invoke/optional", content=data, headers=headers), 409)
    assert blobs_of(node) == before


@pytest.mark.parametrize("key", [b"x" * 5000, b'"; drop table invocations; --', b"\xe9\xb2", b"'"])
def test_a_key_may_be_any_text(client: httpx.Client, key: bytes, tmp_path: Path) -> None:
    headers = [(b"Idempotency-Key", key + os.fsencode(tmp_path))]
    answers = [client.post("/invoke/add", json={"a": 1}, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert len({answer.headers["invocation-id"] for answer in answers}) == 1


@pytest.mark.parametrize("end", [b"\r\nX-Evil: 1", b"\nX-Evil: 1", b"\rX-Evil: 1", b"\0"])
def test_no_header_can_be_smuggled_through_a_key(node: RunningNode, end: bytes) -> None:
    answer = raw(
        node,
        b"POST /invoke/add HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 8\r\n"
        b"Idempotency-Key: smuggled" + end + b'\r\n\r\n{"a": 1}',
    )
    head = answer.partition(b"\r\n\r\n")[0].lower()
    assert head.startswith((b"http/1.1 200", b"http/1.1 400"))
    assert b"x-evil" not in head


def test_put_creates_under_the_callers_own_id_once(client: httpx.Client, tmp_path: Path) -> None:
    path = tmp_path / "lines"
    id = f"order-{tmp_path.name}"
    url = f"/invocations/{id}?function=append"
    answers = [client.put(url, json={"path": str(path)}) for _ in range(3)]
    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, 1)] * 3
    assert {answer.headers["invocation-id"] for answer in answers} == {id}
    assert path.read_text() == "ran\n"
    assert client.get(f"/invocations/{id}").json()["id"] == id


def test_put_of_something_else_under_a_known_id_is_a_409(
    node: RunningNode, client: httpx.Client
) -> None:
    data = b"d" * (INLINE + 1)
    url = "/invocations/taken?function=digest"
    first = client.put(url, content=data)
    before = blobs_of(node)
    problem(client.put(url, content=data[1:]), 409)
    problem(client.put(f"{url}&scale=2", content=data), 409)
    problem(client.put(f"{url}&device=cpu", content=data), 409)
    problem(client.put("/invocations/taken?function=optional", content=data), 409)
    assert client.put(url, content=data).json() == first.json()
    assert blobs_of(node) == before
    assert client.get("/invocations/taken/blobs/image").content == data


def test_two_uploads_that_race_for_an_id_do_not_mix(node: RunningNode) -> None:
    inputs = [bytes([65 + n]) * (INLINE + 1000 * n) for n in range(4)]
    for attempt in range(3):
        url = f"{node.url}/invocations/race-{attempt}?function=digest"
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda data, u=url: httpx.put(u, content=data), inputs))
        (won,) = [n for n, answer in enumerate(answers) if answer.status_code == 200]
        assert answers[won].json()["sha256"] == hashlib.sha256(inputs[won]).hexdigest()
        stored = node.client.get(f"/invocations/race-{attempt}/blobs/image").content
        assert stored == inputs[won]


@pytest.mark.parametrize("id", ["-x", "a.b", "a b", "é", "x" * 129, "a%00", "_"])
def test_an_id_that_could_be_misread_is_refused(client: httpx.Client, id: str) -> None:
    answer = client.put(f"/invocations/{id}?function=add", json={"a": 1})
    assert faults(answer).keys() == {"/id"}


def test_put_needs_a_function(client: httpx.Client) -> None:
    assert faults(client.put("/invocations/x1", json={"a": 1})).keys() == {"/function"}
    problem(client.put("/invocations/x1?function=ad", json={"a": 1}), 404)
    faults(client.put("/invocations/x1?function=add", json={"a": "1"}))
    problem(client.get("/invocations/x1"), 404)


def test_put_takes_preferences_and_a_device(client: httpx.Client, gate: Path) -> None:
    url = f"/invocations/later-{gate.parent.name}?function=hold&device=cpu"
    body = {"gate": str(gate)}
    first = client.put(url, json=body, headers=ASYNC)
    assert (first.status_code, first.json()["requested_device"]) == (202, "cpu")
    again = client.put(url, json=body, headers={"Prefer": "wait=0"})
    assert (again.status_code, again.headers["location"]) == (202, first.headers["location"])
    gate.touch()
    assert client.put(url, json=body, headers={"Prefer": "wait=30"}).json() == 1


def test_what_was_created_once_stays_so_after_a_restart(
    start_node: NodeFactory, tmp_path: Path
) -> None:
    node = start_node(FUNCTIONS)
    path = tmp_path / "lines"
    headers = {"Idempotency-Key": "restart"}
    own = "/invocations/mine?function=append"
    body = {"path": str(path)}
    first = node.client.post("/invoke/append", json=body, headers=headers)
    assert node.client.put(own, json=body).json() == 2
    data = os.urandom(INLINE + 1)
    upload = node.client.post("/invoke/digest", content=data)
    assert node.stop() == 0
    node.start()
    again = node.client.post("/invoke/append", json=body, headers=headers)
    assert (again.status_code, again.json()) == (200, 1)
    assert again.headers["invocation-id"] == first.headers["invocation-id"]
    assert node.client.put(own, json=body).json() == 2
    other = body | {"line": "other"}
    problem(node.client.post("/invoke/append", json=other, headers=headers), 409)
    problem(node.client.put(own, json=other), 409)
    assert path.read_text() == "ran\nran\n"
    replay = node.client.post(f"/invocations/{upload.headers['invocation-id']}/replay")
    assert replay.json() == upload.json()
