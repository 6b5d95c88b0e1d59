"""The dead-letter desk over HTTP: listing, replaying and discarding, one letter or many.

Each test runs with the queues in memory, and with a RabbitMQ that has them.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from loadtest.servers import RabbitServer
from tests.runtime.gateway.asking import ASYNC, ends, faults, problem, start
from tests.support import ROOT, NodeFactory, RunningNode, eventually

MORTALS = ROOT / "tests" / "runtime" / "letter_functions"
INLINE = 256 * 1024  # bytes; what is larger travels as a blob


@pytest.fixture(scope="module", params=["memory", "rabbitmq"])
def settings(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The broker of a node, each in turn."""
    if request.param == "memory":
        yield {}
        return
    rabbit: RabbitServer = request.getfixturevalue("rabbit")
    vhost = f"letters-{uuid4().hex[:8]}"
    rabbit.add_vhost(vhost)
    yield {"LUMBRE_BROKER_URL": rabbit.url(vhost=vhost)}
    rabbit.remove_vhost(vhost)


@pytest.fixture(scope="module")
def node(start_node: NodeFactory, settings: dict[str, str]) -> Iterator[RunningNode]:
    node = start_node(MORTALS, **settings)
    yield node
    assert node.client.get("/audit").json()["holds"]
    assert "Traceback" not in node.log.read_text()


@pytest.fixture
def client(node: RunningNode) -> Iterator[httpx.Client]:
    yield node.client
    for function in ("mortal", "mortal_bytes", "ephemeral"):
        node.client.post("/dead-letters/discard", json={"function": function, "all": True})


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Until this file is there, mortals die."""
    return tmp_path / "saved"


def letters(client: httpx.Client, function: str = "mortal", limit: int = 1000) -> list[Any]:
    answer = client.get("/dead-letters", params={"function": function, "limit": limit})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


def ids(client: httpx.Client, function: str = "mortal") -> list[str]:
    return [letter["id"] for letter in letters(client, function)]


def die(client: httpx.Client, saved: Path, function: str = "mortal", **parameters: Any) -> str:
    """The id of an invocation that has died."""
    id = start(client, function, saved=str(saved), **parameters)
    assert ends(client, id)["status"] == "dead"
    eventually(lambda: id in ids(client, function))
    return id


def replay(client: httpx.Client, id: str, **more: Any) -> httpx.Response:
    return client.post(f"/dead-letters/{id}/replay", **{"params": {"function": "mortal"}, **more})


def dead_of(client: httpx.Client) -> int:
    """How many letters a function is said to have."""
    backlog = client.get("/functions/mortal").json()["backlog"]
    return int(backlog["cpu"]["dead"])


def lines(answer: httpx.Response) -> list[Any]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


# ── listing ───────────────────────────────────────────────────────────────────────────────────


def test_a_letter_tells_what_died_where_and_why(client: httpx.Client, saved: Path) -> None:
    id = die(client, saved, n=5)
    (letter,) = letters(client)
    assert {name: letter[name] for name in ("id", "function", "device", "queue")} == {
        "id": id,
        "function": "mortal",
        "device": "cpu",
        "queue": "mortal.cpu",
    }
    assert letter["reason"] == "the replica ended: exit status 9"
    assert letter["at"].endswith("Z")
    assert letter["unreadable"] is False
    assert letter["input"] == {"parameters": {"saved": str(saved), "n": 5}, "parts": {}}
    assert [attempt["attempt"] for attempt in letter["attempts"]] == [1, 2]
    assert {attempt["error"]["type"] for attempt in letter["attempts"]} == {"ReplicaDied"}
    assert client.get(letter["links"]["self"]).json()["status"] == "dead"
    saved.touch()
    assert client.post(letter["links"]["replay"]).json() == 5


def test_letters_come_oldest_first_of_one_function_or_of_all(
    client: httpx.Client, saved: Path
) -> None:
    first = die(client, saved)
    second = start(client, "ephemeral")
    eventually(lambda: second in ids(client, "ephemeral"))
    third = die(client, saved)
    every = [letter["id"] for letter in client.get("/dead-letters").json()["items"]]
    assert every == [first, second, third]
    assert ids(client) == [first, third]
    assert [letter["id"] for letter in letters(client, limit=1)] == [first]
    assert letters(client, "no_such_function") == []
    assert faults(client.get("/dead-letters?limit=0")).keys() == {"/limit"}


# ── replaying one ─────────────────────────────────────────────────────────────────────────────


def test_a_replay_is_a_new_invocation_that_is_linked_to_the_dead_one(
    client: httpx.Client, saved: Path
) -> None:
    id = die(client, saved, n=7)
    saved.touch()
    answer = replay(client, id)
    assert (answer.status_code, answer.json()) == (200, 7)
    new = client.get(f"/invocations/{answer.headers['Invocation-Id']}").json()
    assert new["id"] != id
    assert new["links"]["replayed_from"] == f"/invocations/{id}"
    assert client.get(f"/invocations/{id}").json()["status"] == "dead"
    assert ids(client) == []
    eventually(lambda: dead_of(client) == 0)


def test_a_replay_that_is_asked_for_twice_is_one(client: httpx.Client, saved: Path) -> None:
    id = die(client, saved)
    saved.touch()
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda _: replay(client, id), range(8)))
    answers = [*together, replay(client, id), replay(client, id, headers=ASYNC)]
    assert [answer.status_code for answer in answers] == [200] * 10
    assert len({answer.headers["Invocation-Id"] for answer in answers}) == 1
    made = client.get("/invocations?function=mortal&limit=2").json()["items"]
    assert made[1]["id"] == id


def test_a_replay_may_have_other_parameters(client: httpx.Client, saved: Path) -> None:
    id = die(client, saved, n=7)
    saved.touch()
    answer = replay(client, id, json={"saved": str(saved), "n": 8})
    assert answer.json() == 8
    given = client.get(f"/invocations/{answer.headers['Invocation-Id']}").json()["input"]
    assert given["parameters"]["n"] == 8
    again = replay(client, id, json={"saved": str(saved), "n": 8})
    assert again.headers["Invocation-Id"] == answer.headers["Invocation-Id"]


def test_what_is_edited_is_checked_like_any_input(client: httpx.Client, saved: Path) -> None:
    id = die(client, saved)
    assert faults(replay(client, id, json={"n": "many"})).keys() == {"/n", "/saved"}
    problem(replay(client, id, content=b"no json"), 400)
    problem(replay(client, id, content=b"x", headers={"Content-Type": "image/png"}), 415)
    assert ids(client) == [id]


def test_an_upload_stays_as_it_was_when_the_rest_is_edited(
    client: httpx.Client, saved: Path
) -> None:
    answer = client.post(
        "/invoke/mortal_bytes",
        files={"data": b"x" * (INLINE + 1)},
        data={"saved": str(saved)},
        headers=ASYNC,
    )
    id = answer.json()["id"]
    eventually(lambda: ids(client, "mortal_bytes") == [id])
    saved.touch()
    body = {"saved": str(saved), "add": 1}
    new = client.post(f"/dead-letters/{id}/replay?function=mortal_bytes", json=body)
    assert new.json() == INLINE + 2


def test_parameters_that_are_too_long_to_travel_are_replayed(
    client: httpx.Client, saved: Path
) -> None:
    id = die(client, saved, padding="x" * INLINE)
    (letter,) = letters(client)
    assert letter["input"]["parameters"] is None
    other = die(client, saved)
    saved.touch()
    assert replay(client, id).json() == 1
    long = {"saved": str(saved), "n": 2, "padding": "y" * INLINE}
    answer = replay(client, other, json=long)
    assert answer.json() == 2
    made = client.get(f"/invocations/{answer.headers['Invocation-Id']}").json()
    assert made["input"]["parameters"] is None


def test_a_letter_that_was_replayed_is_not_replayed_otherwise(
    client: httpx.Client, saved: Path
) -> None:
    id = die(client, saved)
    saved.touch()
    first = replay(client, id)
    detail = problem(replay(client, id, json={"saved": str(saved)}), 409)["detail"]
    assert first.headers["Invocation-Id"] in detail
    assert f"POST /invocations/{id}/replay" in detail


def test_what_has_no_letter_is_not_replayed(client: httpx.Client, saved: Path) -> None:
    saved.touch()
    alive = client.post("/invoke/mortal", json={"saved": str(saved)})
    for id in ("no-such-id", alive.headers["Invocation-Id"]):
        assert "GET /dead-letters" in problem(replay(client, id), 404)["detail"]
        problem(replay(client, id, params={}), 404)
        problem(client.delete(f"/dead-letters/{id}"), 404)
        problem(client.delete(f"/dead-letters/{id}?function=mortal"), 404)


def test_a_letter_is_found_without_its_function_and_not_under_another(
    client: httpx.Client, saved: Path
) -> None:
    id = die(client, saved)
    problem(replay(client, id, params={"function": "ephemeral"}), 404)
    problem(client.delete(f"/dead-letters/{id}?function=ephemeral"), 404)
    saved.touch()
    assert replay(client, id, params={}).status_code == 200


def test_a_letter_may_be_replayed_on_a_device_that_there_is(
    client: httpx.Client, saved: Path
) -> None:
    id = die(client, saved)
    where = {"function": "mortal", "device": "gpu"}
    assert faults(replay(client, id, params=where)).keys() == {"/device"}
    saved.touch()
    answer = replay(client, id, params=where | {"device": "cpu"})
    assert answer.headers["Invocation-Device"] == "cpu"


# ── discarding one ────────────────────────────────────────────────────────────────────────────


def test_a_letter_is_discarded_and_its_invocation_stays_dead(
    client: httpx.Client, saved: Path
) -> None:
    id = die(client, saved)
    link = f"/dead-letters/{id}"
    assert client.delete(link).json() == {"id": id, "discarded": True}
    assert ids(client) == []
    assert client.get(f"/invocations/{id}").json()["status"] == "dead"
    assert client.delete(link).status_code == 200  # its answer may have been lost
    assert "was discarded" in problem(replay(client, id), 404)["detail"]


def test_a_letter_that_was_replayed_is_not_discarded(client: httpx.Client, saved: Path) -> None:
    id = die(client, saved)
    saved.touch()
    new = replay(client, id).headers["Invocation-Id"]
    assert new in problem(client.delete(f"/dead-letters/{id}"), 409)["detail"]


# ── many ──────────────────────────────────────────────────────────────────────────────────────


def test_all_letters_of_a_function_are_replayed(client: httpx.Client, saved: Path) -> None:
    several = [die(client, saved, n=n) for n in range(3)]
    other = start(client, "ephemeral")
    eventually(lambda: ids(client, "ephemeral") == [other])
    saved.touch()
    *each, end = lines(
        client.post("/dead-letters/replay", json={"function": "mortal", "all": True})
    )
    assert end == {"replayed": 3, "kept": 0, "stopped": None}
    assert [line["id"] for line in each] == several
    for n, line in enumerate(each):
        assert ends(client, line["replayed_as"])["status"] == "succeeded"
        assert client.get(f"/invocations/{line['replayed_as']}/result").json() == n
    assert ids(client) == []
    assert ids(client, "ephemeral") == [other]


def test_some_letters_are_replayed_and_the_others_stay(client: httpx.Client, saved: Path) -> None:
    first, second, third = (die(client, saved) for _ in range(3))
    saved.touch()
    asked = {"function": "mortal", "ids": [third, "no-such-id", first, first]}
    *each, end = lines(client.post("/dead-letters/replay", json=asked))
    assert end == {"replayed": 2, "kept": 1, "stopped": None}
    assert [(line["id"], line["replayed_as"] is None) for line in each] == [
        (third, False),
        ("no-such-id", True),
        (first, False),
    ]
    assert "no dead letter" in each[1]["error"]
    assert ids(client) == [second]
    again = lines(client.post("/dead-letters/replay", json=asked))
    assert [line["replayed_as"] for line in again[:3]] == [line["replayed_as"] for line in each]


def test_what_dies_again_is_not_replayed_for_ever(client: httpx.Client) -> None:
    several = [start(client, "ephemeral", n=n) for n in range(3)]
    eventually(lambda: sorted(ids(client, "ephemeral")) == sorted(several))
    asked = {"function": "ephemeral", "all": True}
    *each, end = lines(client.post("/dead-letters/replay", json=asked))
    assert end["replayed"] == 3
    again = {line["replayed_as"] for line in each}
    eventually(lambda: set(ids(client, "ephemeral")) == again)


def test_letters_are_discarded_by_id_and_all_together(client: httpx.Client, saved: Path) -> None:
    first, second, third = (die(client, saved) for _ in range(3))
    asked: dict[str, Any] = {"function": "mortal", "ids": [second, "no-such-id"]}
    *each, end = lines(client.post("/dead-letters/discard", json=asked))
    assert end == {"discarded": 1, "kept": 1, "stopped": None}
    assert [line["error"] is None for line in each] == [True, False]
    assert ids(client) == [first, third]
    *_, end = lines(client.post("/dead-letters/discard", json={"function": "mortal", "all": True}))
    assert end["discarded"] == 2
    assert ids(client) == []


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({}, "/function"),
        ({"function": ""}, "/function"),
        ({"function": "mortal"}, "/all"),
        ({"function": "mortal", "all": True, "ids": []}, "/all"),
        ({"function": "mortal", "all": "yes"}, "/all"),
        ({"function": "mortal", "ids": "one"}, "/ids"),
        ({"function": "mortal", "ids": [1]}, "/ids"),
        ({"function": "mortal", "ids": ["x"] * 10_001}, "/ids"),
        ({"function": "mortal", "every": True}, "/every"),
    ],
)
def test_an_order_about_many_that_cannot_be_is_refused(
    body: dict[str, Any], fault: str, client: httpx.Client
) -> None:
    for what in ("replay", "discard"):
        assert faults(client.post(f"/dead-letters/{what}", json=body)).keys() == {fault}


def test_replaying_all_of_a_function_that_is_not_there_is_refused(client: httpx.Client) -> None:
    asked = {"function": f"gone_{uuid4().hex[:8]}", "all": True}
    problem(client.post("/dead-letters/replay", json=asked), 404)
    assert lines(client.post("/dead-letters/discard", json=asked))[-1]["discarded"] == 0


def test_a_page_of_another_site_replays_and_discards_nothing(
    client: httpx.Client, saved: Path
) -> None:
    id = die(client, saved)
    elsewhere = {"Sec-Fetch-Site": "cross-site"}
    problem(replay(client, id, headers=elsewhere), 403)
    problem(client.delete(f"/dead-letters/{id}", headers=elsewhere), 403)
    assert ids(client) == [id]


# ── after a restart ───────────────────────────────────────────────────────────────────────────


def test_letters_outlive_a_node_that_is_killed(
    start_node: NodeFactory, settings: dict[str, str], tmp_path: Path
) -> None:
    node, saved = start_node(MORTALS, **settings), tmp_path / "saved"
    kept, replayed, discarded = (die(node.client, saved, n=n) for n in range(3))
    assert replay(node.client, replayed).status_code == 502  # it died again
    eventually(lambda: len(ids(node.client)) == 3)
    (again,) = set(ids(node.client)) - {kept, discarded}
    node.client.delete(f"/dead-letters/{discarded}").raise_for_status()
    before = letters(node.client)
    node.kill()
    node.start()
    after = letters(node.client)
    assert sorted(letter["id"] for letter in after) == sorted([kept, again])
    for letter in (*before, *after):
        del letter["at"]  # of the letter, and then of the record: a moment apart
    assert after == before
    eventually(lambda: dead_of(node.client) == 2)
    saved.touch()
    assert replay(node.client, kept).json() == 0
    assert ids(node.client) == [again]
