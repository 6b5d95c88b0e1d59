"""Batches over HTTP: sent as lines or as one object, told of, cancelled, and safe from kill -9."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from runtime import batch_routes
from runtime.batch_routes import _pieces
from runtime.errors import BadRequest
from runtime.feeder import WINDOW
from tests.runtime.gateway.asking import (
    FUNCTIONS,
    INLINE,
    MAX_BODY,
    connect,
    ends,
    faults,
    problem,
)
from tests.support import NodeFactory, RunningNode, eventually

LINES = {"Content-Type": "application/x-ndjson"}
VIEW = {
    *("id", "function", "requested_device", "state", "finished", "created_at", "total"),
    *("by_status", "done", "progress", "throughput", "eta", "links"),
}


def lines(items: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(item).encode() + b"\n" for item in items)


def send(client: httpx.Client, function: str, items: Iterable[Any], **headers: str) -> Any:
    """Send a batch as lines; its view."""
    answer = client.post(
        f"/batches?function={function}", content=lines(items), headers=LINES | headers
    )
    assert answer.status_code == 202, answer.text
    return answer.json()


def results(client: httpx.Client, id: str, query: str = "") -> list[dict[str, Any]]:
    answer = client.get(f"/batches/{id}/results{query}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.content.splitlines()]


def finished(client: httpx.Client, id: str, within: float = 30.0) -> Any:
    """The view of a batch once all of it is over."""

    def over() -> Any:
        view = client.get(f"/batches/{id}").json()
        return view if view["finished"] else None

    return eventually(over, within)


# ── sending ───────────────────────────────────────────────────────────────────────────────────


def test_lines_become_a_batch_whose_results_come_as_lines(client: httpx.Client) -> None:
    body = b'{"a": 1}\n\n  {"a": 2, "b": 5}\r\n{"a": 3}'
    answer = client.post("/batches?function=add", content=body, headers=LINES)
    assert answer.status_code == 202
    view = answer.json()
    assert view.keys() == VIEW
    assert answer.headers["location"] == view["links"]["self"] == f"/batches/{view['id']}"
    assert (view["function"], view["requested_device"], view["total"]) == ("add", "auto", 3)
    assert view["state"] == "accepted"
    told = sorted(results(client, view["id"]), key=lambda line: line["index"])
    assert [line["result"] for line in told] == [2, 7, 4]
    assert {line["status"] for line in told} == {"succeeded"}
    assert client.get(told[1]["links"]["result"]).json() == 7


def test_one_object_is_a_batch_too(client: httpx.Client) -> None:
    body = {"function": "add", "device": "cpu", "items": [{"a": n} for n in range(600)]}
    view = client.post("/batches", json=body).json()
    assert (view["total"], view["requested_device"]) == (600, "cpu")
    assert [line["result"] for line in results(client, view["id"], "?order=index")] == [
        n + 1 for n in range(600)
    ]
    query = client.post("/batches?function=add&device=cpu", json={"items": [{"a": 1}]}).json()
    assert (query["function"], query["requested_device"]) == ("add", "cpu")


def test_what_curl_sends_unsaid_is_lines_where_the_query_names_a_function(
    client: httpx.Client,
) -> None:
    unsaid = {"Content-Type": "application/x-www-form-urlencoded"}
    body = lines([{"a": 1}, {"a": 2}])
    answer = client.post("/batches?function=add", content=body, headers=unsaid)
    assert answer.json()["total"] == 2
    whole = json.dumps({"function": "add", "items": [{"a": 1}]}).encode()
    assert client.post("/batches", content=whole, headers=unsaid).json()["total"] == 1


def test_faults_are_told_by_item_and_line_and_nothing_runs(
    client: httpx.Client, tmp_path: Path
) -> None:
    path = tmp_path / "lines"
    good = {"path": str(path)}
    body = lines([good, {"path": 1}]) + b"\nnope\n" + lines([{"lines": "x"}, [good], good])
    answer = client.post("/batches?function=append", content=body, headers=LINES)
    told = faults(answer)
    assert told.keys() == {
        "/items/1/path",
        "/items/2",
        "/items/3/path",
        "/items/3/lines",
        "/items/4",
    }
    assert told["/items/1/path"].endswith("(line 2)")
    assert told["/items/2"].startswith("line 4 is no JSON")
    assert told["/items/4"].startswith("line 6 must be a JSON object")
    eventually(lambda: not client.get("/invocations?function=append&status=queued").json()["items"])
    assert not path.exists()
    body = {"function": "add", "items": [{"a": 1}, {"a": 1.5}, 7]}  # type: ignore[assignment]
    assert faults(client.post("/batches", json=body)).keys() == {"/items/1/a", "/items/2"}


def test_twenty_faults_are_told_and_no_more(client: httpx.Client) -> None:
    body = lines([{"a": "x"}] * 5000)
    answer = client.post("/batches?function=add", content=body, headers=LINES)
    assert len(problem(answer, 422)["errors"]) == 20
    assert client.get("/healthz").status_code == 200  # what it had not read does no harm


def test_what_is_no_batch_is_refused(client: httpx.Client) -> None:
    def post(body: Any, query: str = "", **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Content-Type": "application/json"} | headers
        return client.post(f"/batches{query}", content=content, headers=given)

    assert faults(post({"items": [{}]})).keys() == {"/function"}
    assert faults(post({"function": 7, "items": [{}]})).keys() == {"/function"}
    assert faults(post({"function": "add"})).keys() == {"/items"}
    assert faults(post({"function": "add", "items": {}})).keys() == {"/items"}
    assert faults(post({"function": "add", "items": []})).keys() == {"/items"}
    assert faults(post({"function": "add", "items": [{}], "itms": 1})).keys() == {"/itms"}
    assert faults(post({"function": "add", "device": "gpu", "items": [{}]})).keys() == {"/device"}
    assert faults(post({"function": "add", "device": 1, "items": [{}]})).keys() == {"/device"}
    assert faults(post({"function": "digest", "items": [{}]})).keys() == {"/function"}
    assert faults(post(b"", "?function=add", **LINES)).keys() == {"/items"}
    assert faults(post(b"", **LINES)).keys() == {"/function"}
    assert "did you mean 'add'" in problem(post({"function": "ad", "items": [{}]}), 404)["detail"]
    problem(post({"function": "broken", "items": [{}]}), 503)
    problem(post(b"{", "?function=add"), 400)
    problem(post(b"a,b\n1,2\n", "?function=add", **{"Content-Type": "text/csv"}), 415)
    problem(client.put("/batches"), 405)
    problem(client.post("/batches", headers={"Sec-Fetch-Site": "cross-site"}), 403)


def test_a_line_that_is_too_long_is_refused_by_its_number(client: httpx.Client) -> None:
    body = b'{"path": "x"}\n' + lines([{"path": "x" * INLINE}])
    answer = client.post("/batches?function=append", content=body, headers=LINES)
    assert "line 2 has more than 262,144 bytes" in problem(answer, 413)["detail"]
    item = {"function": "append", "items": [{"path": "x" * INLINE}]}
    assert "item 0 has more than" in problem(client.post("/batches", json=item), 413)["detail"]
    item["items"] = [{"path": "x" * MAX_BODY}]
    assert "LUMBRE_MAX_BODY" in problem(client.post("/batches", json=item), 413)["detail"]


def test_lines_may_be_longer_together_than_any_body(client: httpx.Client) -> None:
    items = [{"a": n, "b": 1} for n in range(5)]
    padded = b"".join(line + b" " * 250_000 + b"\n" for line in lines(items).splitlines())
    assert len(padded) > MAX_BODY
    answer = client.post("/batches?function=add", content=padded, headers=LINES)
    assert sorted(r["result"] for r in results(client, answer.json()["id"])) == [1, 2, 3, 4, 5]


def test_an_upload_that_comes_in_pieces_of_any_size_is_the_same_batch(
    client: httpx.Client,
) -> None:
    body = lines([{"a": n} for n in range(50)])

    def pieces() -> Iterator[bytes]:
        for place in range(0, len(body), 13):
            yield body[place : place + 13]

    answer = client.post("/batches?function=add", content=pieces(), headers=LINES)
    told = results(client, answer.json()["id"], "?order=index")
    assert [line["result"] for line in told] == list(range(1, 51))


def test_a_caller_who_goes_away_leaves_nothing(node: RunningNode, client: httpx.Client) -> None:
    before = client.get("/audit").json()["accepted"]
    head = (
        b"POST /batches?function=add HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
        b"Content-Type: application/x-ndjson\r\n\r\n"
    )
    with connect(node) as connection:
        connection.sendall(head + lines([{"a": n} for n in range(2000)]))
        coming = eventually(lambda: _coming(client))
        assert coming["total"] is None
        assert coming["progress"] is None
    eventually(lambda: not _coming(client))
    eventually(lambda: client.get("/audit").json()["accepted"] == before)
    problem(client.get(f"/batches/{coming['id']}"), 404)


def _coming(client: httpx.Client) -> Any:
    items = client.get("/batches?limit=1").json()["items"]
    return items[0] if items and items[0]["state"] == "accepting" else None


async def test_a_body_that_falls_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_routes, "SILENCE", 0.01)

    async def silent() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    with pytest.raises(BadRequest, match=r"nothing came for 0\.01 s"):
        [piece async for piece in _pieces(silent)]


def test_the_items_belong_to_the_trace_of_their_request(client: httpx.Client) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    view = send(client, "told", [{}, {}], traceparent=trace)
    told = [line["result"]["traceparent"] for line in results(client, view["id"])]
    assert {each[:35] for each in told} == {trace[:35]}
    assert len(set(told)) == 2


# ── idempotency ───────────────────────────────────────────────────────────────────────────────


def test_the_same_key_and_body_are_the_same_batch(client: httpx.Client, tmp_path: Path) -> None:
    path = tmp_path / "lines"
    key = {"Idempotency-Key": f"batch {tmp_path}"}
    items = [{"path": str(path)}] * 3
    first = send(client, "append", items, **key)
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(lambda _: send(client, "append", items, **key), range(4)))
    assert {view["id"] for view in again} == {first["id"]}
    assert sorted(line["result"] for line in results(client, first["id"])) == [1, 2, 3]
    assert path.read_text() == "ran\n" * 3


def test_ten_who_race_with_one_key_get_one_batch(client: httpx.Client, tmp_path: Path) -> None:
    path = tmp_path / "lines"
    key = {"Idempotency-Key": f"race {tmp_path}"}
    items = [{"path": str(path)}] * 20
    with ThreadPoolExecutor(10) as pool:
        views = list(pool.map(lambda _: send(client, "append", items, **key), range(10)))
    (id,) = {view["id"] for view in views}
    assert len(results(client, id)) == 20
    assert path.read_text() == "ran\n" * 20


def test_the_same_key_with_another_body_function_or_device_is_a_409(client: httpx.Client) -> None:
    key = {"Idempotency-Key": "batch of one"}
    first = send(client, "add", [{"a": 1}], **key)
    url = "/batches?function=add"
    again = client.post(url, content=lines([{"a": 2}]), headers=LINES | key)
    assert first["id"] in problem(again, 409)["detail"]
    same = lines([{"a": 1}])
    problem(client.post(f"{url}&device=cpu", content=same, headers=LINES | key), 409)
    problem(client.post("/batches?function=timed", content=same, headers=LINES | key), 409)


# ── telling ───────────────────────────────────────────────────────────────────────────────────


def test_a_batch_tells_how_far_it_is(client: httpx.Client, tmp_path: Path) -> None:
    gates = [tmp_path / "first", tmp_path / "second"]
    view = send(client, "hold", [{"gate": str(gate)} for gate in gates])
    url = view["links"]["self"]
    eventually(lambda: client.get(url).json()["by_status"]["running"] == 1)
    told = client.get(url).json()
    assert (told["done"], told["progress"], told["eta"], told["finished"]) == (0, 0.0, None, False)
    gates[0].touch()
    eventually(lambda: client.get(url).json()["done"] == 1)
    told = client.get(url).json()
    assert told["progress"] == 0.5
    assert told["throughput"] > 0
    assert told["eta"] == pytest.approx(1 / told["throughput"])
    gates[1].touch()
    told = finished(client, view["id"])
    assert (told["done"], told["progress"]) == (2, 1.0)
    assert (told["throughput"], told["eta"], told["links"]["cancel"]) == (None, None, None)


def test_batches_are_listed_newest_first_page_by_page(client: httpx.Client) -> None:
    sent = [send(client, "add", [{"a": n}])["id"] for n in range(3)]
    page = client.get("/batches?limit=2").json()
    assert [view["id"] for view in page["items"]] == [sent[2], sent[1]]
    following = client.get(page["next"]).json()["items"]
    assert following[0]["id"] == sent[0]
    problem(client.get("/batches?cursor=nonsense"), 400)
    assert faults(client.get("/batches?limit=0")).keys() == {"/limit"}
    problem(client.get("/batches/unknown"), 404)
    problem(client.get("/batches/unknown/results"), 404)


def test_the_invocations_of_a_batch_are_found_and_know_it(client: httpx.Client) -> None:
    view = send(client, "add", [{"a": n} for n in range(3)])
    finished(client, view["id"])
    items = client.get(view["links"]["invocations"]).json()["items"]
    assert [item["input"]["parameters"] for item in items] == [{"a": n} for n in (2, 1, 0)]
    assert {item["links"]["batch"] for item in items} == {view["links"]["self"]}
    page = client.get(f"/invocations?batch={view['id']}&limit=2").json()
    assert len(client.get(page["next"]).json()["items"]) == 1
    alone = client.post("/invoke/add", json={"a": 1}).headers["invocation-id"]
    assert ends(client, alone)["links"]["batch"] is None


def test_results_come_as_they_end_and_the_stream_ends_with_the_last(
    client: httpx.Client, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    view = send(client, "quick_or_held", [{}, {"gate": str(gate)}, {}])
    with client.stream("GET", f"/batches/{view['id']}/results") as stream:
        told = stream.iter_lines()
        first = json.loads(next(told))
        assert first["index"] == 0
        gate.touch()
        assert sorted(json.loads(line)["index"] for line in told) == [1, 2]


def test_a_line_says_how_an_item_ended(client: httpx.Client) -> None:
    view = send(client, "fail", [{"message": "why", "output": "x"}])
    (line,) = results(client, view["id"])
    assert (line["status"], line["error"]) == ("failed", {"type": "ValueError", "message": "why"})
    assert "result" not in line
    assert "ValueError" in client.get(line["links"]["logs"]).text
    view = send(client, "crash", [{}])
    (line,) = results(client, view["id"])
    assert (line["status"], line["error"]["ending"]) == ("dead", "exit status 3")


def test_a_result_that_is_no_short_json_is_at_its_link(client: httpx.Client) -> None:
    view = send(client, "picture", [{"size": 300}])
    (line,) = results(client, view["id"])
    assert (line["media_type"], line["size"]) == ("image/png", 300)
    assert "result" not in line
    assert len(client.get(line["links"]["result"]).content) == 300
    view = send(client, "text", [{"size": 10}, {"size": INLINE}])
    short, long = results(client, view["id"], "?order=index")
    assert short["result"] == "x" * 10
    assert (long["media_type"], "result" in long) == ("application/json", False)
    assert client.get(long["links"]["result"]).json() == "x" * INLINE
    (line,) = results(client, send(client, "nothing", [{}])["id"])
    assert line["result"] is None


def test_what_calls_itself_json_breaks_no_line(client: httpx.Client) -> None:
    """A function may give any bytes as application/json, with newlines or no JSON at all."""
    view = send(client, "blob", [{"media_type": "application/json", "size": 3}])
    (line,) = results(client, view["id"])
    assert (line["media_type"], "result" in line) == ("application/json", False)
    assert client.get(line["links"]["result"]).content == b",,,"


def test_what_the_results_are_asked_for_is_checked(client: httpx.Client) -> None:
    view = send(client, "add", [{"a": n} for n in range(4)])
    finished(client, view["id"])
    url = f"/batches/{view['id']}/results"
    assert [r["index"] for r in results(client, view["id"], "?order=index&after=1")] == [2, 3]
    assert len(results(client, view["id"], "?wait=0&after=2")) == 1
    assert faults(client.get(f"{url}?order=random")).keys() == {"/order"}
    assert faults(client.get(f"{url}?after=x")).keys() == {"/after"}
    assert faults(client.get(f"{url}?wait=2")).keys() == {"/wait"}


def test_results_that_are_there_now_are_told_without_waiting(
    client: httpx.Client, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    view = send(client, "hold", [{"gate": str(gate)}])
    assert results(client, view["id"], "?wait=0") == []
    gate.touch()
    finished(client, view["id"])
    assert len(results(client, view["id"], "?wait=0")) == 1


# ── cancelling ────────────────────────────────────────────────────────────────────────────────


def test_a_cancelled_batch_stops_what_runs_and_runs_nothing_more(
    client: httpx.Client, tmp_path: Path
) -> None:
    gate, mark = tmp_path / "gate", tmp_path / "mark"
    ran = tmp_path / "ran"
    items = [{"gate": str(gate), "mark": str(mark)}, *[{"gate": str(gate), "mark": str(ran)}] * 50]
    view = send(client, "hold", items)
    eventually(mark.exists)
    cancelled = client.delete(view["links"]["cancel"])
    assert cancelled.status_code == 200
    assert cancelled.json()["state"] == "cancelled"
    told = finished(client, view["id"], within=5)
    assert told["by_status"]["cancelled"] == 51
    assert {line["status"] for line in results(client, view["id"])} == {"cancelled"}
    gate.touch()
    assert client.post("/invoke/hold", json={"gate": str(gate)}).json() == 1  # the next in line
    assert not ran.exists()
    assert client.delete(view["links"]["self"]).json()["state"] == "cancelled"


def test_a_batch_that_is_over_cannot_be_cancelled(client: httpx.Client) -> None:
    view = send(client, "add", [{"a": 1}])
    finished(client, view["id"])
    problem(client.delete(view["links"]["self"]), 409)
    problem(client.delete("/batches/unknown"), 404)


# ── many, and kill -9 ─────────────────────────────────────────────────────────────────────────

MANY = 5000


def test_thousands_of_items_are_each_told_once(client: httpx.Client) -> None:
    view = send(client, "add", ({"a": n} for n in range(MANY)))
    assert view["total"] == MANY
    meanwhile = client.post("/invoke/add", json={"a": 41}, timeout=20)
    assert meanwhile.json() == 42
    told = results(client, view["id"])
    assert Counter(line["index"] for line in told) == Counter(range(MANY))
    assert all(line["result"] == line["index"] + 1 for line in told)
    assert [line["index"] for line in results(client, view["id"], "?order=index")] == list(
        range(MANY)
    )


@pytest.fixture
def victim(start_node: NodeFactory) -> Iterator[RunningNode]:
    """A node to be killed; its books must balance in the end."""
    node = start_node(FUNCTIONS)
    yield node
    audit = node.client.get("/audit").json()
    assert audit["holds"], audit
    assert audit["accepted"] == sum(audit["by_status"].values())


def test_a_batch_that_was_coming_in_when_the_node_was_killed_vanishes(
    victim: RunningNode, tmp_path: Path
) -> None:
    path = tmp_path / "lines"
    head = (
        b"POST /batches?function=append HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n"
        b"Content-Type: application/x-ndjson\r\n\r\n"
    )
    with connect(victim) as connection:
        connection.sendall(head + lines([{"path": str(path)}] * 1500))
        id = eventually(lambda: _coming(victim.client))["id"]
        eventually(lambda: victim.client.get(f"/invocations?batch={id}").json()["items"])
        victim.kill()
    victim.start()
    eventually(lambda: not victim.client.get(f"/invocations?batch={id}").json()["items"])
    eventually(lambda: victim.client.get("/batches").json()["items"] == [])
    assert victim.client.get("/audit").json()["accepted"] == 0
    assert victim.client.post("/invoke/append", json={"path": str(path)}).json() == 1
    assert path.read_text() == "ran\n"


def test_an_accepted_batch_is_completed_however_often_the_node_is_killed(
    victim: RunningNode, tmp_path: Path
) -> None:
    """Killed right after the acceptance, while it feeds, and while it runs."""
    path = tmp_path / "lines"
    path.touch()
    count = 6000  # more than a window, and half of it left when the last kill comes

    def ran() -> int:
        return path.read_text().count("\n")

    view = send(
        victim.client, "append", ({"path": str(path), "line": str(n)} for n in range(count))
    )
    victim.kill()
    for goal in (50, 1500, 3000):
        victim.start()
        eventually(lambda goal=goal: ran() >= goal, within=60)  # type: ignore[misc]
        victim.kill()
    assert ran() < count, "it was over before it was killed: the test shows little"
    victim.start()
    told = finished(victim.client, view["id"], within=60)
    assert told["by_status"]["succeeded"] == count
    lines_of = results(victim.client, view["id"])
    assert Counter(line["index"] for line in lines_of) == Counter(range(count))
    assert set(path.read_text().split()) == {str(n) for n in range(count)}
    # What a replica had in hand at each kill runs again, and nothing else does.
    assert ran() - count < 4 * WINDOW


def test_what_was_being_cancelled_when_the_node_was_killed_stays_cancelled(
    victim: RunningNode, tmp_path: Path
) -> None:
    gate, mark = tmp_path / "gate", tmp_path / "mark"
    items = [{"gate": str(gate), "mark": str(mark)}, *[{"gate": str(gate)}] * 4000]
    view = send(victim.client, "hold", items)
    eventually(mark.exists)
    with ThreadPoolExecutor(1) as pool:
        cancelling = pool.submit(httpx.delete, f"{victim.url}/batches/{view['id']}", timeout=30)
        url = f"/batches/{view['id']}"
        eventually(lambda: victim.client.get(url).json()["by_status"]["cancelled"], every=0.001)
        victim.kill()
        cancelling.exception()
    gate.touch()
    victim.start()
    told = finished(victim.client, view["id"], within=10)
    assert told["by_status"]["cancelled"] == 4001
    assert told["state"] == "cancelled"


def test_results_break_off_when_the_node_stops_and_are_whole_when_asked_again(
    start_node: NodeFactory, tmp_path: Path
) -> None:
    node = start_node(FUNCTIONS, LUMBRE_GRACE="0.2")
    gate = tmp_path / "gate"
    view = send(node.client, "quick_or_held", [{}, {"gate": str(gate)}])
    read: list[str] = []
    with (
        pytest.raises(httpx.RemoteProtocolError),
        httpx.stream("GET", f"{node.url}/batches/{view['id']}/results", timeout=60) as stream,
    ):
        for line in stream.iter_lines():
            read.append(line)
            node.process.terminate()
    assert len(read) == 1
    node.client.close()
    assert node.process.wait(30) == 0
    assert "Traceback" not in node.log.read_text()
    gate.touch()
    node.start()
    assert {line["index"] for line in results(node.client, view["id"])} == {0, 1}
