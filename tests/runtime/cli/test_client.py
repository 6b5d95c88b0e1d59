"""Reading what is given on a command line, and what a node sends."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.cli.client import Client, NoNode, parse_events, parse_server_timing, read_input

NAMES = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, width=32)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
).filter(lambda value: value not in (float("inf"), float("-inf")))  # fmt: skip


def parameters(*arguments: str, stdin: bytes = b"") -> dict[str, Any]:
    return read_input(arguments, io.BytesIO(stdin)).parameters


@given(NAMES, VALUES)
def test_a_value_written_as_json_is_always_read_as_itself(name: str, value: Any) -> None:
    if "Infinity" in (text := json.dumps(value)):
        return  # which is no JSON
    assert parameters(f"{name}={text}") == {name: value}


@given(NAMES, st.text().filter(lambda text: not text.startswith("@")))
def test_what_is_no_json_is_always_the_string_itself(name: str, text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        expected = text
    given = parameters(f"{name}={text}")[name]
    assert given == expected or given == text  # json.loads takes NaN and what orjson does not


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("a=1", 1),
        ("a=sobel", "sobel"),
        ("a=[[1, 2]]", [[1, 2]]),
        ('a="1"', "1"),
        ("a=", ""),
        ("a=b=c", "b=c"),
        ("a=NaN", "NaN"),
    ],
)
def test_a_value_is_json_if_it_parses_and_else_a_string(argument: str, value: Any) -> None:
    assert parameters(argument) == {"a": value}


def test_later_arguments_win_over_earlier_ones(tmp_path: Path) -> None:
    file = tmp_path / "given.json"
    file.write_text('{"a": 1, "b": 2}')
    assert parameters("a=0", f"@{file}", "b=3") == {"a": 1, "b": 3}


def test_standard_input_holds_the_object_or_a_file() -> None:
    assert parameters("@-", stdin=b'{"a": 1}') == {"a": 1}
    assert read_input(["a=@-"], io.BytesIO(b"bytes")).files == {"a": b"bytes"}


def test_a_file_is_read_when_it_is_sent_and_not_before(tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(b"x")
    assert read_input([f"a=@{file}"], io.BytesIO()).files == {"a": file}


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("a", "write name=value"),
        ("=1", "write name=value"),
        ("a=@", "write a=@FILE"),
        ("a=@/no/such/file", "cannot be read (No such file"),
        ("@/no/such/file", "cannot be read (No such file"),
        ("@/", "cannot be read (Is a directory"),
    ],
)
def test_an_argument_that_cannot_be_read_says_how_to_write_it(argument: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        read_input([argument], io.BytesIO())


@pytest.mark.parametrize(("stdin", "said"), [(b"[1]", "a JSON object"), (b"{", "is no JSON")])
def test_standard_input_that_is_no_object_is_explained(stdin: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_input(["@-"], io.BytesIO(stdin))


def test_events_are_parsed_and_comments_left_out() -> None:
    lines = [
        *("id: 1", "event: queued", 'data: {"n": 1}', ""),
        *(": still here", "", "event: log", 'data: {"text": "a\\nb"}', ""),
        *("event: cut", 'data: {"n": 2}'),  # a stream that breaks off in an event
    ]
    assert list(parse_events(lines)) == [("queued", {"n": 1}), ("log", {"text": "a\nb"})]


@given(st.dictionaries(NAMES, st.floats(0, 1e4), max_size=5))
def test_server_timing_is_always_read_as_the_gateway_writes_it(timings: dict[str, float]) -> None:
    header = ", ".join(f"{name};dur={seconds * 1e3:.3f}" for name, seconds in timings.items())
    read = parse_server_timing(header)
    assert list(read) == list(timings)
    assert all(abs(read[name] - seconds) < 1e-6 for name, seconds in timings.items())


@pytest.mark.parametrize("header", ["", "db", "cache;desc=hit", "a;dur=x"])
def test_a_server_timing_of_another_kind_is_left_out(header: str) -> None:
    assert parse_server_timing(header) == {}


@pytest.mark.parametrize(
    "url", ["localhost:8080", "", "ftp://host", "http://", "http://h:x", "http://["]
)
def test_a_url_that_names_no_node_is_refused(url: str) -> None:
    with pytest.raises(NoNode, match="write http://HOST:PORT"):
        Client(url)
