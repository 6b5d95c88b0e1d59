"""How a result or a failure is shown, and never more of it than a page should hold."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console import render
from console.outcome import FIRST, SHOWN, Outcome, laid_out, outcome, outcome_of
from runtime.blobs import Blobs
from runtime.model import JSON, Failure, Invocation, Message, Part, Payload, Status

PROPERTY = settings(deadline=None)
ID = "0198f3a1c0de7000a000000000000001"


def record(
    result: Part | None = None, status: Status = Status.SUCCEEDED, **fields: Any
) -> Invocation:
    message = Message(ID, "matmul", "cpu", Payload(), 1.0)
    return Invocation(message, "auto", "v1", status, result=result, finished_at=2.0, **fields)


def part(data: bytes, media_type: str = JSON) -> Part:
    return Part("result", media_type, len(data), data)


def stored(size: int, media_type: str) -> Part:
    return Part("result", media_type, size, key=f"{ID}/result")


def drawn(shown: Outcome) -> str:
    template = '{% import "outcome.html" as outcomes %}{{ outcomes.outcome(o, "out") }}'
    html = render.environment().from_string(template).render(o=shown)
    assert "style=" not in html
    return html


def test_json_is_laid_out_for_people() -> None:
    shown = outcome(record(part(b'{"a":{"b":[1,2,3]},"c":"\xc3\xa9"}')))
    assert shown.kind == "json" and shown.whole
    assert shown.text == '{\n  "a": {\n    "b": [1, 2, 3]\n  },\n  "c": "é"\n}'
    assert "application/json, 28 B" in drawn(shown)


def test_a_number_is_shown_as_it_was_told() -> None:
    shown = outcome(record(part(b"123456789012345678901234567890")))
    assert shown.kind == "number" and "123456789012345678901234567890" in drawn(shown)


def test_a_truth_is_no_number() -> None:
    assert outcome(record(part(b"true"))).kind == "json"


def test_losses_are_drawn_as_a_curve() -> None:
    shown = outcome(record(part(b'{"epochs": 3, "losses": [3, 2, 1]}')))
    assert [chart["title"] for chart in shown.charts] == ["Losses"]
    assert '<lumbre-chart id="out-curve-1" kind="lines"' in drawn(shown)


def test_of_a_large_result_only_the_first_lines_are_in_the_page() -> None:
    data = json.dumps({"rows": ["x" * 50] * 4000}).encode()
    shown = outcome(record(part(data)))
    assert not shown.whole and shown.text is not None and len(shown.text) <= FIRST
    html = drawn(shown)
    assert "216 kB" in html
    assert f'href="/invocations/{ID}/result"' in html and len(html) < 2 * FIRST


async def test_of_a_result_that_is_a_blob_the_first_lines_are_read(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path.as_uri())
    data = b"[" + b"1, " * 700_000 + b"1]"
    blobs.write(f"{ID}/result", data)
    shown = await outcome_of(record(stored(len(data), JSON)), blobs)
    assert not shown.whole and shown.text is not None and shown.text.startswith("[1, 1, ")
    assert len(shown.text) <= FIRST and not shown.lost


async def test_a_text_that_is_a_blob_is_shown_whole_where_it_is_short(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path.as_uri())
    blobs.write(f"{ID}/result", "grüße".encode())
    shown = await outcome_of(record(stored(7, "text/plain; charset=utf-8")), blobs)
    assert shown.kind == "text" and shown.whole and shown.text == "grüße"


async def test_a_result_that_is_no_longer_kept_says_so(tmp_path: Path) -> None:
    shown = await outcome_of(record(stored(7, "text/plain")), Blobs(tmp_path.as_uri()))
    assert shown.lost and "no longer kept" in drawn(shown)


def test_a_picture_is_shown_as_one() -> None:
    shown = outcome(record(stored(5_000_000, "image/png")))
    assert shown.kind == "image"
    assert f'<img class="result" src="/invocations/{ID}/result"' in drawn(shown)


def test_other_bytes_are_a_link_that_says_how_large_they_are() -> None:
    shown = outcome(record(stored(5_000_000, "application/x-npy")))
    html = drawn(shown)
    assert shown.kind == "bytes" and "download" in html and "5.00 MB" in html


def test_blobs_are_links_and_pictures_among_them_are_shown() -> None:
    blobs = (
        Part("weights.safetensors", "application/octet-stream", 1234, key=f"{ID}/weights"),
        Part("plot.png", "image/png", 99, key=f"{ID}/plot.png"),
    )
    html = drawn(outcome(record(part(b"{}"), blobs=blobs)))
    assert f'href="/invocations/{ID}/blobs/weights.safetensors"' in html
    assert f'<img class="result" src="/invocations/{ID}/blobs/plot.png"' in html


def test_nothing_returned_and_nothing_yet_are_told_apart() -> None:
    assert "returned nothing" in drawn(outcome(record()))
    running = record(status=Status.RUNNING)
    assert outcome(running).kind == "pending" and "no result yet" in drawn(outcome(running))


def test_a_failure_shows_its_traceback_folded() -> None:
    traceback = "\n".join(
        [
            "Traceback (most recent call last):",
            '  File "/home/me/train.py", line 1, in train',
            '  File "/x/site-packages/torch/nn.py", line 2, in forward',
            "<b>ValueError</b>: no",
        ]
    )
    error = Failure("ValueError", "<script>no</script>", traceback)
    html = drawn(outcome(record(status=Status.FAILED, error=error)))
    assert "1 frame of libraries" in html and '<details id="out-frames-2">' in html
    assert "<script>" not in html and "&lt;script&gt;no" in html


def test_an_input_that_was_refused_names_its_fields() -> None:
    error = Failure("InvalidInput", "n: too small", None, {"errors": [["/n", "too small"]]})
    shown = outcome(record(status=Status.FAILED, error=error))
    assert shown.trouble and shown.trouble.fields == (("/n", "too small"),)
    assert "<code>/n</code>" in drawn(shown)


def test_a_dead_replica_leaves_its_last_output() -> None:
    error = Failure("ReplicaDied", "the replica ended: SIGKILL", None, {"last_output": "epoch 3"})
    html = drawn(outcome(record(status=Status.DEAD, error=error)))
    assert "Its last output" in html and "epoch 3" in html


@pytest.mark.parametrize("data", [b"{", b"[" * 5000 + b"]" * 5000, b"9" * 5000, b"\xff\xfe", b""])
def test_what_is_no_json_for_us_is_shown_as_it_came(data: bytes) -> None:
    shown = outcome(record(part(data)))
    assert shown.text == data.decode("utf-8", "replace")
    drawn(shown)


def test_half_a_character_is_shown_as_it_was_escaped() -> None:
    shown = outcome(
        record(part(b'{"\\ud800": ["\\udfff", "\\ud83d\\ude00"], "l\\ud800": [3, 2, 1]}'))
    )
    assert shown.text and '"\\ud800": ["\\udfff", "\N{GRINNING FACE}"]' in shown.text
    assert drawn(shown).encode()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=60,
)


@PROPERTY
@given(json_values)
def test_what_is_laid_out_always_says_the_same(value: Any) -> None:
    text, whole = laid_out(json.dumps(value).encode())
    assert whole and json.loads(text) == value


@PROPERTY
@given(st.integers(1, 40_000), st.integers(0, 58))
def test_a_page_never_holds_more_than_so_much_of_a_result(items: int, depth: int) -> None:
    data = b"[" * depth + b"[" + b"{}," * items + b"{}]" + b"]" * depth
    text, _ = laid_out(data)
    assert len(text) <= SHOWN
