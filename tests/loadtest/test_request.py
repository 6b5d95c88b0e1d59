"""What goes over the wire, and that a node reads from it what was meant."""

import asyncio
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httptools
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.request import Request, Upload, of_body, of_form, of_parameters
from runtime.blobs import Blobs
from runtime.function import MARK, describe, function
from runtime.intake import Intake, Validator
from runtime.model import Payload

HOST = "127.0.0.1:8080"


@function
def take(
    image: bytes,
    other: bytes | None = None,
    n: int = 1,
    ratio: float = 0.5,
    word: str = "",
    rows: list[list[float]] | None = None,
) -> None:
    """Take some of everything."""


TAKE = Validator.of(describe(take, file="take.py", attribute=getattr(take, MARK).name))

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False)
parameters = st.fixed_dictionaries(
    {},
    optional={
        "n": st.integers(-(2**53), 2**53),
        "ratio": numbers,
        "word": texts,
        "rows": st.lists(st.lists(numbers, max_size=3), max_size=3),
    },
)


class Parsed:
    """A request as a server's parser sees it."""

    def __init__(self, data: bytes) -> None:
        self.url, self.body, self.headers, self.complete = "", b"", dict[str, str](), False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url += url.decode()

    def on_header(self, name: bytes, value: bytes) -> None:
        assert name.decode() not in self.headers
        self.headers[name.decode()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.url).query, keep_blank_values=True)


def read(folder: Path, request: Request) -> Payload:
    """What a node makes of a request."""
    parsed = Parsed(request.encode(HOST))
    messages = [{"type": "http.request", "body": parsed.body}]

    async def receive() -> MutableMapping[str, Any]:
        return messages.pop()

    headers = {name.lower().encode(): value.encode() for name, value in parsed.headers.items()}
    query = urlsplit(parsed.url).query.encode()
    reading = Intake(Blobs(folder.as_uri()), 2**20).read(TAKE, "0" * 32, headers, query, receive)
    return asyncio.run(reading)


def test_a_request_is_these_bytes() -> None:
    request = of_parameters("matmul", "gpu", {"n": 64, "dtype": "tf32"}, wait=False)
    assert request.encode(HOST) == (
        b"POST /invoke/matmul?device=gpu HTTP/1.1\r\n"
        b"Host: 127.0.0.1:8080\r\n"
        b"User-Agent: lumbre-loadtest\r\n"
        b"Content-Length: 23\r\n"
        b"Content-Type: application/json\r\n"
        b"Prefer: respond-async\r\n"
        b"\r\n"
        b'{"n":64,"dtype":"tf32"}'
    )


def test_auto_is_not_said_and_who_waits_prefers_nothing() -> None:
    parsed = Parsed(of_parameters("matmul", "auto", {}).encode(HOST))
    assert (parsed.url, "Prefer" in parsed.headers) == ("/invoke/matmul", False)


def test_a_request_is_encoded_once_for_each_host() -> None:
    request = of_parameters("matmul", "cpu", {"n": 1})
    assert request.encode(HOST) is request.encode(HOST)
    assert Parsed(request.encode("[::1]:80")).headers["Host"] == "[::1]:80"
    assert Parsed(request.encode(HOST)).headers["Host"] == HOST


def test_requests_that_say_the_same_are_equal_whatever_was_encoded() -> None:
    one, other = (of_parameters("matmul", "cpu", {"n": 1}) for _ in range(2))
    one.encode(HOST)
    assert one == other and hash(one) == hash(other)
    assert one != of_parameters("matmul", "cpu", {"n": 2})


@given(given=st.dictionaries(texts, st.none() | numbers | texts | st.lists(texts), max_size=5))
def test_a_request_is_always_one_whole_message(given: dict[str, Any]) -> None:
    parsed = Parsed(of_parameters("matmul", "cpu", given).encode(HOST))
    assert parsed.complete and orjson.loads(parsed.body) == given


@given(given=parameters, data=st.binary(min_size=1, max_size=200))
@settings(max_examples=50, deadline=None)
def test_a_node_reads_from_a_raw_body_what_was_meant(
    tmp_path_factory: pytest.TempPathFactory, given: dict[str, Any], data: bytes
) -> None:
    request = of_body("take", "gpu", given, Upload("a.png", "image/png", data))
    assert Parsed(request.encode(HOST)).query["device"] == ["gpu"]
    payload = read(tmp_path_factory.getbasetemp(), request)
    assert orjson.loads(payload.parameters or b"") == given
    assert [(p.name, p.media_type, p.data) for p in payload.parts] == [("image", "image/png", data)]


@given(given=parameters, data=st.binary(max_size=200), more=st.binary(max_size=200))
@settings(max_examples=50, deadline=None)
def test_a_node_reads_from_a_form_what_was_meant(
    tmp_path_factory: pytest.TempPathFactory, given: dict[str, Any], data: bytes, more: bytes
) -> None:
    files = {
        "image": Upload('odd "name"\r\n.png', "image/png", data),
        "other": Upload("x.npy", "application/x-npy", more),
    }
    request = of_form("take", "auto", given, files)
    payload = read(tmp_path_factory.getbasetemp(), request)
    assert orjson.loads(payload.parameters or b"") == given
    assert {p.name: (p.media_type, p.data) for p in payload.parts} == {
        "image": ("image/png", data),
        "other": ("application/x-npy", more),
    }


def test_the_same_form_is_the_same_bytes() -> None:
    def form(n: int) -> Request:
        return of_form("take", "cpu", {"n": n}, {"image": Upload("x", "image/png", b"123")})

    assert form(1) == form(1)
    assert form(1).content_type != form(2).content_type  # the boundary


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.png", "image/png"),
        ("a.JPG", "image/jpeg"),
        ("a.jpeg", "image/jpeg"),
        ("a.npy", "application/x-npy"),
        ("a.csv", "application/octet-stream"),
        ("a", "application/octet-stream"),
    ],
)
def test_the_suffix_of_a_file_tells_its_media_type(
    tmp_path: Path, name: str, media_type: str
) -> None:
    (tmp_path / name).write_bytes(b"data")
    assert Upload.read(tmp_path / name) == Upload(name, media_type, b"data")
