"""What is refused, and outcomes that are no results: each a problem detail of its own."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.runtime.gateway.asking import (
    ASYNC,
    FUNCTIONS,
    INLINE,
    MAX_BODY,
    blobs_of,
    faults,
    is_running,
    problem,
    status_of,
)
from tests.support import NodeFactory, RunningNode, eventually


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"no json",
        b"[1]",
        b'"text"',
        b"null",
        b" ",
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": "\xff"}',
        b'{"a": "\\ud800"}',
        b'\xef\xbb\xbf{"a": 1}',
        '{"a": 1}'.encode("utf-16"),
        b'{"a": ' + b"[" * 64 + b"]" * 64 + b"}",
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 65 + b"1" + b"}" * 65,
    ],
    ids=lambda body: repr(body[:12]),
)
def test_a_body_that_is_no_json_object_is_a_400(client: httpx.Client, body: bytes) -> None:
    problem(client.post("/invoke/add", content=body), 400)


def test_of_a_name_that_comes_twice_the_last_counts(client: httpx.Client) -> None:
    assert client.post("/invoke/add", content=b'{"a": 1, "a": 2, "b": 0}').json() == 2
    assert faults(client.post("/invoke/add", content=b'{"a": 1, "a": "x"}')).keys() == {"/a"}


@pytest.mark.parametrize("body", [b"garbage", b"--limit\r\n\r\nx", b"", b"--limit\r\nA: b\r\n\r\n"])
def test_a_form_that_cannot_be_read_is_refused(client: httpx.Client, body: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=limit"}
    answer = client.post("/invoke/digest", content=body, headers=headers)
    problem(answer, answer.status_code)
    assert answer.status_code in (400, 422)
    headers = {"Content-Type": "multipart/form-data"}
    told = problem(client.post("/invoke/digest", content=body, headers=headers), 400)
    assert "boundary" in told["detail"]


def test_an_unknown_function_is_a_404_that_guesses(client: httpx.Client) -> None:
    assert "did you mean 'append'?" in problem(client.post("/invoke/apend"), 404)["detail"]
    assert "add, " in problem(client.post("/invoke/zzzzzz"), 404)["detail"]
    assert "did you mean 'append'?" in problem(client.get("/functions/apend"), 404)["detail"]
    problem(client.post("/invoke/add/more"), 404)
    problem(client.post("/invoke/"), 404)


def test_a_very_long_name_is_not_told_back(client: httpx.Client) -> None:
    answer = client.post("/invoke/" + "a" * 20_000)
    problem(answer, 404)
    assert len(answer.content) < 1000


def test_an_unknown_id_is_a_404_everywhere(client: httpx.Client) -> None:
    for path in ("", "/result", "/events", "/logs", "/blobs/image"):
        problem(client.get(f"/invocations/unknown{path}"), 404)
    problem(client.delete("/invocations/unknown"), 404)
    problem(client.post("/invocations/unknown/replay"), 404)
    problem(client.get("/nowhere"), 404)


def test_a_method_that_is_not_for_a_path_is_a_405_that_names_those_that_are(
    client: httpx.Client,
) -> None:
    wrong = {
        ("GET", "/invoke/add"): {"POST"},
        ("PUT", "/invoke/add"): {"POST"},
        ("PATCH", "/invocations/x"): {"GET", "HEAD", "PUT", "DELETE"},
        ("POST", "/invocations/x/result"): {"GET", "HEAD"},
        ("GET", "/invocations/x/replay"): {"POST"},
        ("DELETE", "/functions"): {"GET", "HEAD"},
    }
    for (method, path), allowed in wrong.items():
        answer = client.request(method, path)
        problem(answer, 405)
        assert set(answer.headers["allow"].split(", ")) == allowed


def test_a_body_over_the_limit_is_a_413_and_leaves_nothing(
    node: RunningNode, client: httpx.Client
) -> None:
    before = blobs_of(node)
    over = b"x" * (MAX_BODY + 1)

    def unsized() -> Iterator[bytes]:
        for at in range(0, len(over), 100_000):
            yield over[at : at + 100_000]

    for path in ("/invoke/digest", "/invoke/add", "/invocations/too-large?function=digest"):
        method = "PUT" if "function" in path else "POST"
        for content in (over, unsized()):
            told = problem(client.request(method, path, content=content), 413)
            assert "LUMBRE_MAX_BODY" in told["detail"]
    problem(client.post("/invoke/digest", files={"image": over}), 413)
    assert blobs_of(node) == before


@pytest.mark.parametrize("said", ["image/png", "text/plain", "application/xml"])
def test_a_function_without_bytes_takes_no_other_media_type(
    client: httpx.Client, said: str
) -> None:
    answer = client.post("/invoke/add", content=b'{"a": 1}', headers={"Content-Type": said})
    assert said in problem(answer, 415)["detail"]


def test_every_fault_is_told_at_its_own_pointer(client: httpx.Client) -> None:
    wrong = {
        "n": 101,
        "kind": "oval",
        "ratio": "half",
        "layers": [{"width": 1}, {"width": "wide"}],
        "named": {"a/b~c": 1.5},
        "nmae": 1,
    }
    told = faults(client.post("/invoke/echo", json=wrong))
    assert {"/n", "/kind", "/ratio", "/nmae"} <= told.keys()
    assert "100" in told["/n"]
    assert "round" in told["/kind"]
    assert "number" in told["/ratio"]
    assert "integer" in told["/layers/1/width"]
    assert "integer" in told["/named/a~1b~0c"]
    assert "did you mean 'named'?" in told["/nmae"]


def test_parameters_that_are_missing_or_unknown_are_named(client: httpx.Client) -> None:
    told = faults(client.post("/invoke/add", json={"c": 1, "d": 2}))
    assert told == {
        "/a": "is missing",
        "/c": "is no parameter of add, which takes a, b",
        "/d": "is no parameter of add, which takes a, b",
    }
    assert "integer" in faults(client.post("/invoke/add", json={"a": "1"}))["/a"]
    assert "integer" in faults(client.post("/invoke/add?a=one"))["/a"]


def test_a_bytes_parameter_that_is_missing_or_json_says_how_to_upload(
    client: httpx.Client,
) -> None:
    assert "curl -F image=@FILE" in faults(client.post("/invoke/digest"))["/image"]
    told = faults(client.post("/invoke/digest", json={"image": "aGk="}))
    assert "curl -F image=@FILE" in told["/image"]
    told = faults(client.post("/invoke/equal", files={"left": b"l"}))
    assert told.keys() == {"/right"}
    told = faults(client.post("/invoke/equal", files={"left": (None, "l"), "right": b"r"}))
    assert told.keys() == {"/left"}
    told = faults(client.post("/invoke/equal", files={"middle": b"m"}))
    assert "left, right" in told["/middle"]
    twice = [("left", b"1"), ("left", b"2"), ("right", b"3")]
    assert "twice" in faults(client.post("/invoke/equal", files=twice))["/left"]


def test_a_fault_in_something_large_is_told_shortly_and_soon(client: httpx.Client) -> None:
    answer = client.post("/invoke/add", json={"a": "x" * 500_000})
    assert faults(answer).keys() == {"/a"}
    assert len(answer.content) < 2000
    answer = client.post("/invoke/echo", json={"layers": ["x"] * 200_000}, timeout=5)
    assert "GET /functions/echo" in faults(answer)["/layers"]
    answer = client.post("/invoke/echo", json={f"x{n}": n for n in range(1000)})
    assert 1 < len(problem(answer, 422)["errors"]) <= 20


def test_a_function_may_refuse_its_input_itself(client: httpx.Client) -> None:
    answer = client.post("/invoke/picky", content=b"abc")
    told = problem(answer, 422)
    assert told["errors"] == [{"pointer": "/data", "detail": "3 bytes are no image"}]
    assert told["invocation_id"] == answer.headers["invocation-id"]


def test_a_device_that_cannot_be_is_refused(client: httpx.Client) -> None:
    assert faults(client.post("/invoke/add?device=tpu", json={"a": 1})).keys() == {"/device"}
    assert "cpu only" in faults(client.post("/invoke/add?device=gpu", json={"a": 1}))["/device"]
    for call in ("/invoke/anywhere?device=gpu", "/invoke/gpu_only"):
        answer = client.post(call)
        assert "GPU" in problem(answer, 503)["detail"]
        assert int(answer.headers["retry-after"]) > 0


def test_a_broken_file_is_a_503_and_stops_no_other(client: httpx.Client) -> None:
    answer = client.post("/invoke/broken")
    assert "this machine has no such driver" in problem(answer, 503)["detail"]
    assert int(answer.headers["retry-after"]) > 0


def test_a_function_that_raises_is_a_500_without_its_traceback(client: httpx.Client) -> None:
    answer = client.post("/invoke/fail", json={"message": "the disk is full"})
    told = problem(answer, 500)
    assert told["error"] == {"type": "ValueError", "message": "the disk is full"}
    assert "the disk is full" in told["detail"]
    assert told["invocation_id"] == answer.headers["invocation-id"]
    assert answer.headers["invocation-attempt"] == "1"
    assert "Traceback" not in answer.text
    record = client.get(f"/invocations/{told['invocation_id']}").json()
    assert record["status"] == "failed"
    assert record["error"] == {"type": "ValueError", "message": "the disk is full"}
    later = problem(client.get(record["links"]["result"]), 500)
    assert later == told


def test_in_debug_a_500_shows_the_traceback(start_node: NodeFactory) -> None:
    client = start_node(FUNCTIONS, LUMBRE_DEBUG="1").client
    told = problem(client.post("/invoke/fail"), 500)
    assert "plain.py" in told["error"]["traceback"]
    record = client.get(f"/invocations/{told['invocation_id']}").json()
    assert "plain.py" in record["error"]["traceback"]


def test_a_replica_that_dies_on_every_attempt_is_a_502(client: httpx.Client) -> None:
    answer = client.post("/invoke/crash")
    told = problem(answer, 502)
    assert "exit status 3" in told["detail"]
    assert answer.headers["invocation-attempt"] == "2"
    record = client.get(f"/invocations/{told['invocation_id']}").json()
    assert (record["status"], record["attempt"]) == ("dead", 2)
    assert record["error"]["type"] == "ReplicaDied"
    assert "about to end" in record["error"]["last_output"]
    assert [attempt["attempt"] for attempt in record["attempts"]] == [1]


def test_a_function_over_its_timeout_is_a_504(client: httpx.Client, gate: Path) -> None:
    answer = client.post("/invoke/overtime", json={"gate": str(gate)})
    told = problem(answer, 504)
    assert told["error"]["type"] == "FunctionTimeout"
    assert status_of(client, told["invocation_id"]) == "timed_out"
    logs = client.get(f"/invocations/{told['invocation_id']}/logs")
    assert logs.text == "not done\n"


def test_a_full_queue_is_a_429_that_leaves_nothing(start_node: NodeFactory, gate: Path) -> None:
    node = start_node(FUNCTIONS, LUMBRE_QUEUE_LIMIT="2")
    call = f"/invoke/hold_bytes?gate={gate}"
    first = node.client.post(call, content=b"1", headers=ASYNC).json()["id"]
    eventually(is_running(node.client, first))
    for _ in range(2):
        assert node.client.post(call, content=b"2", headers=ASYNC).status_code == 202
    before = blobs_of(node)
    assert len(before) == 3
    for headers in ({}, ASYNC, {"Idempotency-Key": "k"}):
        answer = node.client.post(call, content=b"3" * (INLINE + 1), headers=headers)
        assert "LUMBRE_QUEUE_LIMIT" in problem(answer, 429)["detail"]
        assert 1 <= int(answer.headers["retry-after"]) <= 300
    assert blobs_of(node) == before
    assert len(node.client.get("/invocations").json()["items"]) == 3
    gate.touch()
    eventually(lambda: node.client.post(call, content=b"4").status_code == 200)


@pytest.fixture
def unwritable(node: RunningNode) -> Iterator[None]:
    """The blob store cannot be written: where its folder was is a file, even for root."""
    blobs, away = node.state / "blobs", node.state / "blobs.away"
    blobs.mkdir(exist_ok=True)
    blobs.rename(away)
    blobs.touch()
    yield
    blobs.unlink()
    away.rename(blobs)


@pytest.mark.usefixtures("unwritable")
@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "unwritable"}])
def test_an_input_that_cannot_be_stored_is_a_503_and_not_accepted(
    client: httpx.Client, headers: dict[str, str]
) -> None:
    before = client.get("/audit").json()["accepted"]
    data = b"x" * (INLINE + 1)
    told = problem(client.post("/invoke/digest", content=data, headers=headers), 503)
    assert "cannot be stored" in told["detail"] and "LUMBRE_BLOBS_URL" in told["detail"]
    note = "x" * (INLINE + 1)
    told = problem(client.post("/invoke/echo", json={"note": note}, headers=headers), 503)
    assert client.get("/audit").json()["accepted"] == before


OTHER_SITE = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://other.localhost"},
    {"Origin": "https://example.org"},
    {"Origin": "null"},
]


@pytest.mark.parametrize("headers", OTHER_SITE)
def test_a_page_of_another_site_can_change_nothing(
    client: httpx.Client, headers: dict[str, str]
) -> None:
    """A form of any site can be sent to this machine by the browser of whoever looks at it."""
    before = client.get("/audit").json()["accepted"]
    for method, path in (
        ("POST", "/invoke/add"),
        ("PUT", "/invocations/by-another-site?function=add"),
        ("DELETE", "/invocations/whichever"),
        ("POST", "/invocations/whichever/replay"),
    ):
        problem(client.request(method, path, json={"a": 1}, headers=headers), 403)
    assert client.get("/audit").json()["accepted"] == before


def test_a_page_of_this_node_may_do_what_a_program_may(node: RunningNode) -> None:
    for headers in (
        {"Sec-Fetch-Site": "same-origin", "Origin": node.url},
        {"Sec-Fetch-Site": "none"},
        {"Origin": node.url},
    ):
        answer = node.client.post("/invoke/add", json={"a": 1}, headers=headers)
        assert answer.status_code == 200


def test_what_a_function_made_runs_no_script_in_a_browser(client: httpx.Client) -> None:
    answer = client.post("/invoke/blob", json={"media_type": "text/html"})
    assert answer.headers["content-type"] == "text/html"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "sandbox"
