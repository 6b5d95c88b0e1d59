"""Server-sent events: the whole story of an invocation, whenever somebody begins to listen."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests.runtime.gateway.asking import connect, ends, faults, is_running, problem, start
from tests.support import RunningNode, eventually

SSE = {"Accept": "text/event-stream"}
Event = tuple[str, dict[str, Any]]


def events(answer: httpx.Response) -> Iterator[Event]:
    """Events of an answer as they come (WHATWG HTML §9.2), numbered from 1."""
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    fields: dict[str, str] = {}
    number = 0
    for line in answer.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            assert name not in fields, f"{name} twice in one event"
            fields[name] = value
        elif fields:
            number += 1
            assert fields.pop("id") == str(number)
            yield fields.pop("event"), orjson.loads(fields.pop("data"))
            assert not fields


def invoke(client: httpx.Client, function: str, **parameters: Any) -> list[Event]:
    with client.stream("POST", f"/invoke/{function}", json=parameters, headers=SSE) as answer:
        return list(events(answer))


def follow(client: httpx.Client, id: str) -> list[Event]:
    with client.stream("GET", f"/invocations/{id}/events") as answer:
        assert answer.headers["invocation-id"] == id
        return list(events(answer))


def names(story: list[Event]) -> list[str]:
    return [name for name, _ in story]


def values(story: list[Event]) -> list[Any]:
    return [data["value"] for name, data in story if name == "progress"]


def output(story: list[Event]) -> str:
    return "".join(data["text"] for name, data in story if name == "log")


def test_a_stream_tells_the_story_from_the_queue_to_the_result(
    client: httpx.Client, gate: Path
) -> None:
    gate.touch()
    story = invoke(client, "hold", gate=str(gate))
    assert names(story)[:2] == ["queued", "running"]
    assert names(story)[-1] == "succeeded"
    assert ("progress", {"fraction": 0.5, "step": "holding"}) in story
    assert output(story) == "holding\n"
    (_, queued), (_, running), (_, succeeded) = story[0], story[1], story[-1]
    assert queued == {"id": queued["id"], "status": "queued", "attempt": 1, "device": "cpu"}
    assert running["replica"].startswith("hold-cpu-")
    assert isinstance(running["cold"], bool)
    assert succeeded["result"] == 1
    assert succeeded["timings"].keys() == {"queue", "start", "run"}
    record = client.get(f"/invocations/{queued['id']}").json()
    assert record["status"] == "succeeded"


def test_no_value_of_a_stream_is_missed_however_quick_it_is(client: httpx.Client) -> None:
    for _ in range(10):  # the first finds no replica, the others one that answers at once
        story = invoke(client, "stream", n=5)
        assert values(story) == [0, 1, 2, 3, 4]
        assert names(story) == ["queued", "running", *["progress"] * 5, "succeeded"]
        assert story[-1][1]["result"] == 4


def test_many_streams_at_once_are_all_whole(client: httpx.Client) -> None:
    with ThreadPoolExecutor(8) as pool:
        stories = list(pool.map(lambda n: invoke(client, "stream", n=n), range(1, 17)))
    for n, story in enumerate(stories, 1):
        assert values(story) == list(range(n))


def test_values_come_while_the_function_still_runs(client: httpx.Client, gate: Path) -> None:
    body = {"n": 3, "gate": str(gate)}
    with client.stream("POST", "/invoke/stream", json=body, headers=SSE) as answer:
        story = events(answer)
        told = [next(story) for _ in range(3)]
        assert names(told) == ["queued", "running", "progress"]
        assert answer.headers["invocation-id"] == told[0][1]["id"]
        name, data = next(story)
        assert (name, data["text"][:7]) == ("log", "between")
        gate.touch()
        rest = list(story)
    assert values(told + rest) == [0, 1, 2]
    assert names(rest)[-1] == "succeeded"


def test_a_late_follower_is_told_what_was_so_far(client: httpx.Client, gate: Path) -> None:
    id = start(client, "stream", n=3, gate=str(gate))
    eventually(lambda: client.get(f"/invocations/{id}/logs").text.startswith("between"))
    with client.stream("GET", f"/invocations/{id}/events") as answer:
        story = events(answer)
        told = [next(story) for _ in range(4)]
        assert names(told) == ["queued", "running", "progress", "log"]
        gate.touch()
        told += list(story)
    assert values(told) == [0, 1, 2]
    assert output(told) == "between\n"
    assert told[-1][1]["result"] == 2


def test_a_finished_one_is_told_in_three_events(client: httpx.Client) -> None:
    id = client.post("/invoke/stream", json={"n": 2}).headers["invocation-id"]
    ends(client, id)
    story = follow(client, id)
    assert names(story) == ["queued", "running", "succeeded"]
    assert story[-1][1]["result"] == 1


@pytest.mark.parametrize(
    ("function", "parameters", "terminal", "error"),
    [
        ("fail", {"message": "two\nlines"}, "failed", "ValueError"),
        ("stream", {"n": 2, "fault": "then it broke"}, "failed", "RuntimeError"),
        ("overtime", {"gate": "/nowhere"}, "timed_out", "FunctionTimeout"),
        ("crash", {}, "dead", "ReplicaDied"),
    ],
)
def test_a_stream_ends_with_what_went_wrong(
    client: httpx.Client, function: str, parameters: dict[str, Any], terminal: str, error: str
) -> None:
    story = invoke(client, function, **parameters)
    assert names(story)[-1] == terminal
    assert story[-1][1]["error"]["type"] == error
    assert "result" not in story[-1][1]
    if function == "fail":
        assert story[-1][1]["error"]["message"] == "two\nlines"
    if function == "stream":
        assert values(story) == [0, 1]
    if function == "crash":
        begun = [(name, data["attempt"]) for name, data in story if name in ("queued", "running")]
        assert [name for name, _ in begun] == ["queued", "running"] * 2
        assert [attempt for name, attempt in begun if name == "running"] == [1, 2]


def test_cancelling_ends_every_stream_of_it(client: httpx.Client, gate: Path) -> None:
    first = start(client, "hold", gate=str(gate))
    eventually(is_running(client, first))
    queued = start(client, "hold", gate=str(gate))
    listening = threading.Barrier(5, timeout=10)

    def listen(id: str) -> list[Event]:
        with client.stream("GET", f"/invocations/{id}/events") as answer:
            story = events(answer)
            told = [next(story)]
            listening.wait()
            return told + list(story)

    with ThreadPoolExecutor(4) as pool:
        told = [pool.submit(listen, id) for id in (first, queued, queued, first)]
        listening.wait()
        for id in (queued, first):
            client.delete(f"/invocations/{id}")
        stories = [future.result(10) for future in told]
    assert {names(story)[-1] for story in stories} == {"cancelled"}
    assert names(stories[1]) == ["queued", "cancelled"]


def test_a_large_result_is_not_in_the_stream_but_at_its_link(client: httpx.Client) -> None:
    story = invoke(client, "text", size=300_000)
    assert "result" not in story[-1][1]
    assert len(client.get(f"/invocations/{story[-1][1]['id']}/result").json()) == 300_000
    story = invoke(client, "picture", size=8)
    assert "result" not in story[-1][1]


def test_what_is_refused_is_a_problem_and_no_stream(client: httpx.Client) -> None:
    assert faults(client.post("/invoke/add", json={}, headers=SSE)) == {"/a": "is missing"}
    problem(client.post("/invoke/ad", headers=SSE), 404)
    problem(client.get("/invocations/unknown/events"), 404)


def test_the_same_key_again_is_the_same_story(client: httpx.Client, tmp_path: Path) -> None:
    headers = {**SSE, "Idempotency-Key": f"story {tmp_path}"}
    stories = []
    for _ in range(2):
        body = {"path": str(tmp_path / "lines")}
        with client.stream("POST", "/invoke/append", json=body, headers=headers) as answer:
            stories.append(list(events(answer)))
    assert [story[-1][1]["result"] for story in stories] == [1, 1]
    assert stories[0][0][1]["id"] == stories[1][0][1]["id"]


def test_a_follower_that_hangs_up_disturbs_nobody(
    node: RunningNode, client: httpx.Client, gate: Path
) -> None:
    id = start(client, "hold", gate=str(gate))
    eventually(is_running(client, id))
    for _ in range(3):
        with connect(node) as connection:
            connection.sendall(f"GET /invocations/{id}/events HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            told = b""
            while b"event: running" not in told:
                told += connection.recv(65536)
    gate.touch()
    assert names(follow(client, id))[-1] == "succeeded"
    # That the node logged no traceback is checked when it ends.
