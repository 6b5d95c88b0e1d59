"""POST /invoke: every way to send parameters, and every kind of result."""

import hashlib
import os

import httpx
import pytest

from tests.runtime.gateway.asking import CURL, INLINE, MAX_BODY, MAX_RESULT, problem

OCTETS = "application/octet-stream"


def test_a_call_gives_the_result_and_says_how_it_was_run(client: httpx.Client) -> None:
    answer = client.post("/invoke/add", json={"a": 2, "b": 3})
    assert (answer.status_code, answer.json()) == (200, 5)
    assert answer.headers["content-type"] == "application/json"
    assert len(answer.headers["invocation-id"]) == 32
    assert answer.headers["invocation-device"] == "cpu"
    assert answer.headers["invocation-attempt"] == "1"
    phases = dict(p.split(";dur=") for p in answer.headers["server-timing"].split(", "))
    assert phases.keys() == {"queue", "start", "run"}
    assert all(float(milliseconds) >= 0 for milliseconds in phases.values())


@pytest.mark.parametrize("said", [None, CURL, "application/json", "Application/JSON; charset=utf8"])
def test_a_json_body_is_read_whatever_it_is_called(client: httpx.Client, said: str | None) -> None:
    headers = {"Content-Type": said} if said else {}
    answer = client.post("/invoke/add", content=b' {"a": 2}\n', headers=headers)
    assert (answer.status_code, answer.json()) == (200, 3)


def test_no_body_leaves_every_default(client: httpx.Client) -> None:
    told = client.post("/invoke/echo").json()
    assert (told["n"], told["kind"], told["level"], told["note"]) == (1, "round", 1, None)


def test_parameters_may_be_in_the_query_and_the_body_wins(client: httpx.Client) -> None:
    query = {"n": "7", "kind": "square", "level": "2", "note": "12", "layers": '[{"width": 3}]'}
    told = client.post("/invoke/echo", params=query).json()
    assert told["n"] == 7
    assert (told["kind"], told["level"], told["note"]) == ("square", 2, "12")
    assert told["layers"] == [{"width": 3, "scale": 1.0}]
    told = client.post("/invoke/echo", params=query, json={"n": 8, "note": None}).json()
    assert (told["n"], told["kind"], told["note"]) == (8, "square", None)


def test_the_device_is_no_parameter_of_the_function(client: httpx.Client) -> None:
    answer = client.post("/invoke/add?device=cpu", json={"a": 1})
    assert (answer.status_code, answer.headers["invocation-device"]) == (200, "cpu")


@pytest.mark.parametrize("said", ["image/png", "application/octet-stream", CURL, None])
@pytest.mark.parametrize("size", [5, INLINE + 1, MAX_BODY])
def test_a_raw_body_is_the_bytes_parameter(
    client: httpx.Client, said: str | None, size: int
) -> None:
    data = os.urandom(size)
    headers = {"Content-Type": said} if said else {}
    told = client.post("/invoke/digest?scale=3", content=data, headers=headers).json()
    assert told == {"sha256": hashlib.sha256(data).hexdigest(), "size": size, "scale": 3}


def test_an_upload_keeps_its_media_type_and_can_be_fetched(client: httpx.Client) -> None:
    said = {"Content-Type": "image/webp"}
    answer = client.post("/invoke/digest", content=b"picture", headers=said)
    record = client.get(f"/invocations/{answer.headers['invocation-id']}").json()
    part = {"media_type": "image/webp", "size": 7}
    assert record["input"] == {"parameters": {}, "parts": {"image": part}}
    fetched = client.get(f"{record['links']['self']}/blobs/image")
    assert (fetched.content, fetched.headers["content-type"]) == (b"picture", "image/webp")


def test_files_and_fields_of_a_form_are_parameters(client: httpx.Client) -> None:
    for size in (3, INLINE + 7):
        right = ("r.bin", b"r" * 9, "application/x-right")
        files = {"left": ("l.bin", b"l" * size, OCTETS), "right": right}
        answer = client.post("/invoke/equal", files=files, data={"exact": "false"})
        assert answer.json() == {"equal": False, "sizes": [size, 9], "exact": False}
    record = client.get(f"/invocations/{answer.headers['invocation-id']}").json()
    assert record["input"]["parts"] == {
        "left": {"media_type": OCTETS, "size": INLINE + 7},
        "right": {"media_type": "application/x-right", "size": 9},
    }


def test_a_form_without_files_works_for_any_function(client: httpx.Client) -> None:
    form = {"a": (None, "4"), "b": (None, "5")}
    assert client.post("/invoke/add", files=form).json() == 9


@pytest.mark.parametrize("said", ["application/json", CURL])
def test_bytes_that_may_be_left_out_leave_room_for_json(client: httpx.Client, said: str) -> None:
    answer = client.post("/invoke/optional", content=b'{"n": 5}', headers={"Content-Type": said})
    assert answer.json() == {"size": None, "n": 5}
    assert client.post("/invoke/optional").json() == {"size": None, "n": 1}


def test_a_large_json_input_comes_through_whole(client: httpx.Client) -> None:
    note = "n" * (INLINE + 1)
    answer = client.post("/invoke/echo", json={"note": note})
    assert answer.json()["note"] == note
    record = client.get(f"/invocations/{answer.headers['invocation-id']}").json()
    assert record["input"]["parameters"] is None


def test_bytes_come_back_raw_with_the_media_type_of_the_annotation(client: httpx.Client) -> None:
    answer = client.post("/invoke/picture")
    assert (answer.content, answer.headers["content-type"]) == (bytes(range(8)), "image/png")
    either = client.post("/invoke/either", json={"raw": True})
    assert (either.content, either.headers["content-type"]) == (b"png", "image/png")
    assert client.post("/invoke/either").json() == {"inner": {"depth": 1}}


@pytest.mark.parametrize("size", [0, 8, INLINE, INLINE + 1])
@pytest.mark.parametrize("media_type", ["text/csv", "text/csv; charset=latin-1", "application/zip"])
def test_a_blob_comes_back_with_the_media_type_it_was_given(
    client: httpx.Client, size: int, media_type: str
) -> None:
    parameters = {"media_type": media_type, "size": size}
    answer = client.post("/invoke/blob", json=parameters)
    assert (answer.content, answer.headers["content-type"]) == (b"," * size, media_type)
    later = client.get(f"/invocations/{answer.headers['invocation-id']}/result")
    assert (later.content, later.headers["content-type"]) == (b"," * size, media_type)


@pytest.mark.parametrize("wrong", ["", "no type", "a/b\r\nSet-Cookie: c=d", "größe/→"])
def test_a_media_type_that_is_none_is_told_as_octets(client: httpx.Client, wrong: str) -> None:
    answer = client.post("/invoke/blob", json={"media_type": wrong})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    assert "set-cookie" not in answer.headers


def test_nothing_is_the_result_null(client: httpx.Client) -> None:
    answer = client.post("/invoke/nothing")
    assert (answer.status_code, answer.content) == (200, b"null")


@pytest.mark.parametrize("size", [INLINE - 2, INLINE + 1, MAX_RESULT - 2])
def test_a_large_result_comes_whole_at_once_and_later(client: httpx.Client, size: int) -> None:
    answer = client.post("/invoke/text", json={"size": size})
    assert answer.json() == "x" * size
    later = client.get(f"/invocations/{answer.headers['invocation-id']}/result")
    assert later.json() == "x" * size
    assert later.headers["content-type"] == "application/json"


def test_a_result_over_the_limit_fails_and_says_what_to_do(client: httpx.Client) -> None:
    told = problem(client.post("/invoke/text", json={"size": MAX_RESULT}), 500)
    assert told["error"]["type"] == "ResultTooLarge"
    assert "output_blob" in told["detail"]


@pytest.mark.parametrize("size", [0, 4, INLINE + 1])
def test_bytes_kept_beside_a_result_are_links_in_it(client: httpx.Client, size: int) -> None:
    answer = client.post("/invoke/keep", json={"size": size})
    link = answer.json()["weights"]
    assert link == f"/invocations/{answer.headers['invocation-id']}/blobs/weights.bin"
    fetched = client.get(link)
    assert fetched.content == b"w" * size
    assert fetched.headers["content-type"] == "application/x-weights"
    record = client.get(f"/invocations/{answer.headers['invocation-id']}").json()
    assert record["links"]["blobs"] == {"weights.bin": link}


@pytest.mark.parametrize("phase", ["copy", "größe → x", "a, b;dur=1", "x\r\nSet-Cookie: a=b", ""])
def test_a_phase_may_have_any_name(client: httpx.Client, phase: str) -> None:
    answer = client.post("/invoke/timed", json={"phase": phase})
    assert (answer.status_code, answer.json()) == (200, 1)
    assert "set-cookie" not in answer.headers
    timing = answer.headers["server-timing"].split(", ")
    assert len(timing) == 4
    assert all(entry.count(";dur=") == 1 for entry in timing)
    record = client.get(f"/invocations/{answer.headers['invocation-id']}").json()
    assert phase in record["timings"]
