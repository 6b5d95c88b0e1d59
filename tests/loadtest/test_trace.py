"""Recorded loads: what is read of them, what cannot be, and what is wrong with a file."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from loadtest.trace import read_trace
from runtime.cli import app
from runtime.errors import ConfigurationError
from tests.support import ROOT, NodeFactory

FUNCTIONS = ROOT / "tests" / "runtime" / "http_functions"
NOON = "2026-11-23T12:00:"


def record(second: str, **changes: Any) -> dict[str, Any]:
    """An invocation as the API shows it; `second` of a minute at noon."""
    return {
        "id": "0" * 32,
        "function": "matmul",
        "device": "cpu",
        "requested_device": "auto",
        "status": "succeeded",
        "created_at": f"{NOON}{second}Z",
        "timings": {"queue": 0.1},
        "input": {"parameters": {"n": 64}, "parts": {}},
        **changes,
    }


def write(folder: Path, text: str) -> Path:
    path = folder / "trace.ndjson"
    path.write_text(text)
    return path


def lines(*values: Any) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


def refusal(path: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_trace(path)
    return str(caught.value).removeprefix(str(path))


RECORDS = (
    record("05.500000", requested_device="cpu", input={"parameters": {"n": 3}, "parts": {}}),
    record("03.250000", function="vector_add", requested_device="gpu"),
    record("01.000000"),
)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"items": RECORDS, "next": None}),
        json.dumps({"items": RECORDS, "next": "/invocations?cursor=x"}, indent=2),
        json.dumps(RECORDS),
        lines(*RECORDS),
        "\n" + lines(*RECORDS).replace("\n", "\r\n\n"),
    ],
    ids=["page", "indented", "list", "lines", "blank lines"],
)
def test_a_record_of_invocations_is_replayed_in_the_order_they_came(
    tmp_path: Path, text: str
) -> None:
    trace = read_trace(write(tmp_path, text))
    assert [entry.at for entry in trace.entries] == pytest.approx([0, 2.25, 4.5])
    assert [(e.request.target, e.request.body) for e in trace.entries] == [
        ("/invoke/matmul", b'{"n":64}'),
        ("/invoke/vector_add?device=gpu", b'{"n":64}'),
        ("/invoke/matmul?device=cpu", b'{"n":3}'),
    ]
    assert trace.seconds == pytest.approx(4.5)
    assert (trace.skipped, trace.note) == (0, None)


def test_lines_that_somebody_wrote_are_sorted_and_counted_from_the_first(tmp_path: Path) -> None:
    text = lines(
        {"at": 12.5, "function": "f", "device": "gpu", "parameters": {"n": 1}, "wait": False},
        {"at": 10, "function": "g"},
    )
    trace = read_trace(write(tmp_path, text))
    assert [
        (e.at, e.request.function, e.request.device, e.request.wait) for e in trace.entries
    ] == [
        (0, "g", "auto", True),
        (2.5, "f", "gpu", False),
    ]
    assert trace.entries[0].request.body == b"{}"


def test_one_line_is_a_trace(tmp_path: Path) -> None:
    assert len(read_trace(write(tmp_path, '{"at": 0, "function": "f"}')).entries) == 1


@pytest.mark.parametrize(
    "lost",
    [
        {"input": {"parameters": {}, "parts": {"image": {"media_type": "image/png", "size": 9}}}},
        {"input": {"parameters": None, "parts": {}}},
        {"input": None},
    ],
    ids=["bytes", "too large", "no input"],
)
def test_what_is_not_whole_is_skipped_counted_and_told(
    tmp_path: Path, lost: dict[str, Any]
) -> None:
    text = lines(record("00", **lost), *RECORDS, record("09", **lost))
    trace = read_trace(write(tmp_path, text))
    assert (len(trace.entries), trace.skipped, trace.entries[0].at) == (3, 2, 0)
    assert trace.note == (
        "2 of 5 recorded invocations were not replayed: their files, or parameters of over 256 KiB,"
        " are not in the trace"
    )


def test_requests_that_are_alike_are_one_object(tmp_path: Path) -> None:
    text = lines(*({"at": k, "function": "f", "parameters": {"n": k % 3}} for k in range(30)))
    trace = read_trace(write(tmp_path, text))
    assert len({id(entry.request) for entry in trace.entries}) == 3


@given(instants=st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20))
def test_offsets_always_begin_at_zero_and_never_decrease(
    tmp_path_factory: pytest.TempPathFactory, instants: list[float]
) -> None:
    text = lines(*({"at": at, "function": "f"} for at in instants))
    entries = read_trace(write(tmp_path_factory.getbasetemp(), text)).entries
    assert entries[0].at == 0
    assert [entry.at for entry in entries] == sorted(at - min(instants) for at in instants)


REMEDY = (
    'write lines such as {"at": 0.5, "function": "matmul", "parameters": {"n": 64}}, or what'
    " `lumbre invocations --all --json` prints"
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"at": 0, "function": "f"}\n\n{"at": 1,\n', ":3: is no JSON (unexpected end of data"),
        (lines({"at": 0, "function": "f"}, {"at": 1}), f":2: function: Field required: {REMEDY}"),
        (lines({"at": "x", "function": "f"}, 5), ":1: at: Input should be a valid number"),
        (lines({"at": 0, "function": "F/x"}, 5), ":1: function: String should match pattern"),
        (lines({"at": 0, "function": "f", "n": 3}, 5), ":1: n: Extra inputs are not permitted"),
        (lines({"at": 0, "function": "f", "device": "tpu"}, 5), ":1: device: Input should be"),
        ('{"at": 0, "function": "f"}\n{"at": NaN, "function": "f"}\n', ":2: is no JSON ("),
        (lines(1, 2), ":1: Input should be a valid dictionary"),
        (
            json.dumps({"items": [record("00"), 5]}),
            ": items[1]: Input should be a valid dictionary",
        ),
        (json.dumps({"items": 5}), f": items is no list: {REMEDY}"),
        (lines(record("00"), record("61")), ":2: created_at: Input should be a valid datetime"),
        ("", ": has nothing that can be replayed (0 invocations"),
        ('{"items": [], "next": null}', ": has nothing that can be replayed (0 invocations"),
        (lines(record("00", input=None)), ": has nothing that can be replayed (1 invocations"),
    ],
)
def test_what_is_no_trace_is_told_by_line(tmp_path: Path, text: str, why: str) -> None:
    assert refusal(write(tmp_path, text)).startswith(why)


def test_a_trace_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.json") == (
        ": cannot be read (No such file or directory): name a trace that is there, relative to the"
        " plan"
    )


def test_what_the_command_line_prints_can_be_replayed(
    tmp_path: Path, start_node: NodeFactory
) -> None:
    node = start_node(FUNCTIONS)
    node.client.post("/invoke/add", json={"a": 1}).raise_for_status()
    node.client.post("/invoke/echo?device=cpu&n=3", json={"kind": "square"}).raise_for_status()
    sent = node.client.post("/invoke/optional", files={"data": b"meow"})
    sent.raise_for_status()
    command = ["invocations", "--all", "--json", "--url", node.url]
    printed = CliRunner().invoke(app, command, prog_name="lumbre")
    assert printed.exit_code == 0, printed.stderr
    trace = read_trace(write(tmp_path, printed.stdout))
    assert [(e.request.target, json.loads(e.request.body)) for e in trace.entries] == [
        ("/invoke/add", {"a": 1}),
        ("/invoke/echo?device=cpu", {"n": 3, "kind": "square"}),
    ]
    assert (trace.skipped, 0 < trace.seconds < 60) == (1, True)
