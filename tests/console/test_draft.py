"""Parameters that are edited: what is different, and what is wrong."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.draft import COMPARED, difference, draft_of, readable
from runtime.intake import Validator
from tests.console.stage import spec

LINES = st.lists(st.sampled_from(["a", "b", "c", "{", "}"]), max_size=40)
OBJECTS = st.dictionaries(
    st.text(max_size=5), st.none() | st.integers(-(2**53), 2**53) | st.text(max_size=9), max_size=6
)


def applied(before: list[str], after: list[str]) -> tuple[list[str], list[str]]:
    """Both texts as their difference tells them, each gap filled from the original."""
    old: list[str] = []
    new: list[str] = []
    for line in difference("\n".join(before), "\n".join(after)):
        if line.kind == "gap":
            count = int(line.text.split()[0].replace(",", ""))
            kept = before[len(old) : len(old) + count]
            old, new = old + kept, new + kept
            continue
        if line.kind != "added":
            old.append(line.text)
        if line.kind != "removed":
            new.append(line.text)
    return old, new


@given(LINES, LINES)
def test_a_difference_always_tells_both_texts(before: list[str], after: list[str]) -> None:
    if before == after:
        assert list(difference("\n".join(before), "\n".join(after))) == []
    else:
        assert applied(before, after) == (before, after)


def test_texts_that_are_too_long_to_compare_are_wholly_different() -> None:
    before = [f"{n}" for n in range(1000)]
    after = [f"{n + 1}" for n in range(1000)]
    assert len(before) * len(after) > COMPARED
    assert applied(before, after) == (before, after)
    kinds = {line.kind for line in difference("\n".join(before), "\n".join(after))}
    assert kinds == {"removed", "added"}


@given(OBJECTS)
def test_an_unchanged_draft_is_never_different_however_it_is_indented(value: Any) -> None:
    original = json.dumps(value).encode()
    draft = draft_of(json.dumps(value, indent=7), original, None, frozenset())
    assert not draft.lines
    assert not draft.faults
    assert json.loads(draft.compact) == value
    assert json.loads(readable(original)) == value


def test_the_order_of_parameters_is_no_difference_and_their_type_is() -> None:
    original = b'{"a": 1, "b": [1, 2]}'
    assert not draft_of('{"b": [1, 2], "a": 1}', original, None, frozenset()).lines
    assert draft_of('{"b": [2, 1], "a": 1}', original, None, frozenset()).lines
    assert draft_of('{"b": [1, 2], "a": true}', original, None, frozenset()).lines


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"n": 1', "is no JSON"),
        ("[1, 2]", "must be a JSON object"),
        ('{"n": NaN}', "is no JSON"),
        ('{"n": "x"}', "n: "),
        ('{"m": 1}', "m: is no parameter of matmul"),
    ],
)
def test_what_cannot_be_sent_says_why(text: str, told: str) -> None:
    draft = draft_of(text, b'{"n":1}', Validator.of(spec()), frozenset())
    assert any(told in fault for fault in draft.faults), draft.faults


def test_parameters_that_are_no_json_are_shown_as_they_are() -> None:
    assert readable(b"\xff no JSON") == "\ufffd no JSON"
    assert readable(b"") == "{}"
