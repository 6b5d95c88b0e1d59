"""Records, lists, logs and blobs; cancelling and running again."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from tests.runtime.gateway.asking import (
    ASYNC,
    FUNCTIONS,
    INLINE,
    RECORD,
    TRACE,
    blobs_of,
    ends,
    is_running,
    problem,
    raw,
    start,
    status_of,
)
from tests.support import NodeFactory, RunningNode, eventually


def instant_of(text: str) -> datetime:
    assert text.endswith("Z")
    return datetime.fromisoformat(text)


def test_a_record_has_every_member_of_the_design(client: httpx.Client) -> None:
    body = {"phase": "copy"}
    headers = {"traceparent": TRACE}
    answer = client.post("/invoke/timed?device=cpu", json=body, headers=headers)
    id = answer.headers["invocation-id"]
    record = client.get(f"/invocations/{id}").json()
    assert record.pop("attempts") == []
    assert record.keys() == RECORD
    assert (record["id"], record["function"], record["status"]) == (id, "timed", "succeeded")
    assert (record["device"], record["requested_device"]) == ("cpu", "cpu")
    assert (record["attempt"], record["error"]) == (1, None)
    assert record["version"] == client.get("/functions/timed").json()["version"]
    created, started, finished = (
        instant_of(record[f"{what}_at"]) for what in ("created", "started", "finished")
    )
    assert created <= started <= finished <= datetime.now(UTC)
    timings = record["timings"]
    assert timings.keys() == {"queue", "start", "run", "copy"}
    assert timings["queue"] + timings["start"] <= (started - created).total_seconds() + 0.001
    assert record["input"] == {"parameters": body, "parts": {}}
    links = {name: f"/invocations/{id}/{name}" for name in ("result", "events", "logs")}
    assert record["links"] == {
        "self": f"/invocations/{id}",
        "replayed_from": None,
        "batch": None,
        "blobs": {},
        **links,
    }
    assert record["traceparent"] == answer.headers["traceparent"]
    assert isinstance(record["cold"], bool)
    (listed,) = [
        item
        for item in client.get("/invocations?function=timed").json()["items"]
        if item["id"] == id
    ]
    assert listed == record


def test_the_first_of_a_cold_function_says_so(start_node: NodeFactory) -> None:
    client = start_node(FUNCTIONS).client
    first, second = (client.post("/invoke/add", json={"a": 1}) for _ in range(2))
    records = [
        client.get(f"/invocations/{a.headers['invocation-id']}").json() for a in (first, second)
    ]
    assert [record["cold"] for record in records] == [True, False]
    assert records[0]["timings"]["start"] > 0 == records[1]["timings"]["start"]
    assert records[0]["replica"] == records[1]["replica"]


def test_a_list_is_newest_first_and_can_be_narrowed(client: httpx.Client, gate: Path) -> None:
    done = [client.post("/invoke/echo", json={"n": n}) for n in range(1, 11)]
    ids = [answer.headers["invocation-id"] for answer in done]
    held = start(client, "hold", gate=str(gate))
    problem(client.post("/invoke/fail"), 500)

    def listed(query: str) -> list[str]:
        items = client.get(f"/invocations?{query}").json()["items"]
        return [item["id"] for item in items]

    assert listed("function=echo")[:10] == ids[::-1]
    assert held in listed("function=hold")
    eventually(is_running(client, held))
    assert listed("status=running") == [held]
    assert held not in listed("status=succeeded&limit=1000")
    assert {i["status"] for i in client.get("/invocations?status=failed").json()["items"]} == {
        "failed"
    }
    assert listed("device=gpu") == []
    assert listed("device=cpu&function=hold&status=running") == [held]
    assert listed("function=unknown") == []
    for id in listed("function=echo&limit=20"):
        since = client.get(f"/invocations/{id}").json()["created_at"]
        assert listed(f"function=echo&since={since}&limit=1000")[-1] == id
    second = client.get(f"/invocations/{ids[1]}").json()["created_at"]
    local = second.replace("Z", "+00:00")  # a + that nobody escaped is a space
    assert listed(f"function=echo&since={local}") == ids[:0:-1]


def test_paging_visits_each_once_while_new_ones_come(client: httpx.Client) -> None:
    sent = []
    for n in range(10):
        sent.append(client.post("/invoke/add", json={"a": n}).headers["invocation-id"])
        client.post("/invoke/nothing")
    seen: list[str] = []
    following: str | None = "/invocations?function=add&limit=3&status=succeeded"
    while following:
        assert following.startswith("/invocations?")
        page = client.get(following).json()
        assert page.keys() == {"items", "next"}
        assert {item["function"] for item in page["items"]} == {"add"}
        seen += [item["id"] for item in page["items"]]
        following = page["next"]
        client.post("/invoke/add", json={"a": 1})
    assert seen[:10] == sent[::-1]
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("limit=0", 422, "/limit"),
        ("limit=1001", 422, "/limit"),
        ("limit=%C2%B2", 422, "/limit"),
        ("limit=ten", 422, "/limit"),
        ("status=done", 422, "/status"),
        ("device=tpu", 422, "/device"),
        ("since=yesterday", 422, "/since"),
        ("cursor=nonsense", 400, None),
        ("cursor=%FF", 400, None),
    ],
)
def test_a_list_that_cannot_be_is_refused(
    client: httpx.Client, query: str, status: int, field: str | None
) -> None:
    told = problem(client.get(f"/invocations?{query}"), status)
    if field:
        assert [fault["pointer"] for fault in told["errors"]] == [field]


def test_what_it_wrote_can_be_read_while_it_runs_and_after(
    client: httpx.Client, gate: Path
) -> None:
    id = start(client, "hold", gate=str(gate))
    logs = eventually(lambda: client.get(f"/invocations/{id}/logs").text)
    assert logs.startswith("holding")
    gate.touch()
    ends(client, id)
    after = client.get(f"/invocations/{id}/logs")
    assert (after.status_code, after.text) == (200, "holding\n")
    assert after.headers["content-type"].startswith("text/plain")
    answer = client.post("/invoke/fail", json={"output": "both"})
    text = client.get(f"/invocations/{answer.headers['invocation-id']}/logs").text
    assert text.index("both\n") < text.index("BOTH\n") < text.index("ValueError")


@pytest.mark.parametrize(
    "name",
    ["..%2f..%2flock", "..%2fledger.db", "%2e%2e/ledger.db", ".result", "..", "image%00", "%2fetc"],
)
def test_a_blobs_name_leads_nowhere_else(
    node: RunningNode, client: httpx.Client, name: str
) -> None:
    answer = client.post("/invoke/digest", content=b"picture")
    id = answer.headers["invocation-id"]
    got = raw(
        node,
        f"GET /invocations/{id}/blobs/{name} HTTP/1.1\r\nHost: x\r\n"
        "Connection: close\r\n\r\n".encode(),
    )
    assert got.startswith(b"HTTP/1.1 404")
    assert b"application/problem+json" in got


def test_a_queued_one_that_is_cancelled_never_runs(
    client: httpx.Client, tmp_path: Path, gate: Path
) -> None:
    first = start(client, "hold", gate=str(gate))
    eventually(is_running(client, first))
    mark = tmp_path / "never"
    second = start(client, "hold", gate=str(gate), mark=str(mark))
    assert status_of(client, second) == "queued"
    answer = client.delete(f"/invocations/{second}")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    gate.touch()
    # The queue is first in, first out: once a third is done, the second's turn is over.
    assert client.post("/invoke/hold", json={"gate": str(gate)}).json() == 1
    assert not mark.exists()
    record = client.get(f"/invocations/{second}").json()
    assert (record["status"], record["started_at"]) == ("cancelled", None)
    assert status_of(client, first) == "succeeded"
    told = problem(client.get(f"/invocations/{second}/result"), 409)
    assert f"/invocations/{second}/replay" in told["detail"]


def test_one_that_waits_in_a_replicas_hands_and_is_cancelled_never_runs(
    client: httpx.Client, tmp_path: Path, gate: Path
) -> None:
    """Short functions are handed over before their turn; a cancel must reach them there, too."""
    for _ in range(60):
        client.post("/invoke/quick_or_held").raise_for_status()
    first = start(client, "quick_or_held", gate=str(gate))
    eventually(is_running(client, first))
    mark = tmp_path / "never"
    others = [start(client, "quick_or_held") for _ in range(2)]
    second = start(client, "quick_or_held", mark=str(mark))
    backlog = client.get("/functions/quick_or_held").json()["backlog"]["cpu"]
    assert backlog["unacknowledged"] == 4, "they wait in the queue: the test shows nothing"
    assert client.delete(f"/invocations/{second}").json()["status"] == "cancelled"
    gate.touch()
    assert client.post("/invoke/quick_or_held").json() == 1
    assert not mark.exists()
    assert [status_of(client, id) for id in (first, *others)] == ["succeeded"] * 3


def test_ids_of_the_callers_own_do_not_disturb_newest_first(client: httpx.Client) -> None:
    ids = []
    for own in ("zzz-first", None, "000-third", None):
        if own:
            answer = client.put(f"/invocations/{own}?function=add", json={"a": 1})
        else:
            answer = client.post("/invoke/add", json={"a": 1})
        ids.append(answer.headers["invocation-id"])
    listed = [item["id"] for item in client.get("/invocations?limit=4").json()["items"]]
    assert listed == ids[::-1]


def test_a_running_one_that_is_cancelled_ends_within_a_second(
    client: httpx.Client, tmp_path: Path, gate: Path
) -> None:
    mark = tmp_path / "mark"
    id = start(client, "hold", gate=str(gate), mark=str(mark))
    pid = int(eventually(lambda: mark.exists() and mark.read_text()))
    assert client.delete(f"/invocations/{id}").json()["status"] == "cancelled"
    eventually(lambda: not os.path.exists(f"/proc/{pid}"), within=1.0)
    record = ends(client, id)
    assert (record["status"], record["error"]["type"]) == ("cancelled", "Cancelled")
    assert client.get(f"/invocations/{id}/logs").text == "holding\n"
    assert not gate.exists()


def test_whoever_waits_for_a_cancelled_one_is_told(client: httpx.Client, gate: Path) -> None:
    id = f"waited-{gate.parent.name}"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(
            client.put, f"/invocations/{id}?function=hold", json={"gate": str(gate)}
        )
        eventually(lambda: client.get(f"/invocations/{id}").status_code == 200)
        client.delete(f"/invocations/{id}")
        assert "Cancelled" in problem(waiting.result(10), 409)["title"]


def test_cancelling_twice_is_fine_and_too_late_is_a_409(client: httpx.Client, gate: Path) -> None:
    id = start(client, "hold", gate=str(gate))
    answers = [client.delete(f"/invocations/{id}") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    done = client.post("/invoke/add", json={"a": 1}).headers["invocation-id"]
    assert "succeeded" in problem(client.delete(f"/invocations/{done}"), 409)["detail"]
    assert status_of(client, done) == "succeeded"


@pytest.mark.parametrize("size", [7, INLINE + 1])
def test_a_replay_runs_the_same_input_and_knows_where_it_is_from(
    node: RunningNode, client: httpx.Client, size: int
) -> None:
    data = os.urandom(size)
    first = client.post("/invoke/digest?scale=4&device=cpu", content=data)
    id = first.headers["invocation-id"]
    second = client.post(f"/invocations/{id}/replay")
    assert (second.status_code, second.json()) == (200, first.json())
    assert second.headers["invocation-id"] != id
    record = client.get(f"/invocations/{second.headers['invocation-id']}").json()
    assert record["links"]["replayed_from"] == f"/invocations/{id}"
    assert record["requested_device"] == "cpu"
    assert record["input"] == client.get(f"/invocations/{id}").json()["input"]
    shutil.rmtree(node.state / "blobs" / id)  # the replay has a copy of its own
    third = client.post(f"{record['links']['self']}/replay", headers=ASYNC)
    assert third.status_code == 202
    assert third.json()["links"]["replayed_from"] == record["links"]["self"]
    assert ends(client, third.json()["id"])["status"] == "succeeded"


def test_a_replay_of_what_lies_in_the_blob_store_copies_it(client: httpx.Client) -> None:
    note = "n" * (INLINE + 1)
    first = client.post("/invoke/echo", json={"note": note})
    again = client.post(f"/invocations/{first.headers['invocation-id']}/replay")
    assert again.json() == first.json()


def test_a_replay_whose_upload_is_gone_is_a_404(node: RunningNode, client: httpx.Client) -> None:
    answer = client.post("/invoke/equal", files={"left": b"l", "right": b"r"})
    id = answer.headers["invocation-id"]
    client.get("/audit")  # it is written down by then, and what is small is no longer in memory
    (node.state / "blobs" / id / "right").unlink()
    before = blobs_of(node)
    assert "send it anew" in problem(client.post(f"/invocations/{id}/replay"), 404)["detail"]
    assert blobs_of(node) == before


def test_a_list_is_filtered_by_what_no_index_knows(client: httpx.Client) -> None:
    ids = [
        client.post("/invoke/add", json={"a": 1, "b": n}).headers["invocation-id"] for n in (1, 2)
    ]
    found = client.get("/invocations", params={"id": ids[0]}).json()
    assert [item["id"] for item in found["items"]] == [ids[0]]
    assert found["items"][0]["input"]["parameters"] == {"a": 1, "b": 1}
    slow = client.get("/invocations", params={"slower": "3600", "since": "1h"}).json()
    assert slow == {"items": [], "next": None}


def test_a_search_goes_on_at_its_next(client: httpx.Client) -> None:
    for n in range(3):
        client.post("/invoke/add", json={"a": 7, "b": n}).raise_for_status()
    first = client.get("/invocations", params={"function": "add", "slower": "0", "limit": 2}).json()
    second = client.get(first["next"]).json()
    together = [item["id"] for item in (*first["items"], *second["items"])]
    assert len(first["items"]) == 2
    assert len(set(together)) == len(together) >= 3


def test_what_a_form_sends_empty_filters_nothing(client: httpx.Client) -> None:
    client.post("/invoke/add", json={"a": 1, "b": 2}).raise_for_status()
    query = "function=&status=&device=&since=&cold=&slower=&id=&limit=1"
    assert len(client.get(f"/invocations?{query}").json()["items"]) == 1
