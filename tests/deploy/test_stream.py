"""YAML that every parser reads as the same objects."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from deploy.stream import as_stream

WORDS = ["y", "N", "on", "Yes", "null", "~", "true", ".nan", "="]
NUMBERS = ["1", "12e5", "123e456789", "0x1f", "0o7", "1_000", "12:30:00", "2001-01-01", ".5", "+1"]
TEXTS = st.text(st.characters(blacklist_categories=["Cs", "Cc"])) | st.sampled_from(WORDS + NUMBERS)
VALUES = st.recursive(
    TEXTS | st.integers() | st.booleans() | TEXTS.map("a\n{}\nb\n".format),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@given(st.lists(st.dictionaries(TEXTS, VALUES, min_size=1, max_size=4), min_size=1, max_size=3))
def test_what_is_written_is_what_is_read(objects: list[dict[str, Any]]) -> None:
    assert [*yaml.safe_load_all(as_stream(objects, "a head\nof two lines"))] == objects


@pytest.mark.parametrize("text", WORDS + NUMBERS)
def test_what_kubernetes_takes_for_something_else_is_quoted(text: str) -> None:
    assert as_stream([{"value": text, text: 1}]) == f'---\nvalue: "{text}"\n"{text}": 1\n'


@pytest.mark.parametrize("text", ["matmul", "512Mi", "10s", "10.0.0.0/8", "a-b.c/d"])
def test_what_nobody_takes_for_something_else_is_plain(text: str) -> None:
    assert as_stream([{"value": text}]) == f"---\nvalue: {text}\n"


def test_the_same_object_twice_is_written_twice() -> None:
    labels = {"app": "one"}
    assert as_stream([{"first": labels, "second": labels}]) == (
        "---\nfirst:\n  app: one\nsecond:\n  app: one\n"
    )


def test_texts_of_several_lines_are_blocks_and_lists_are_indented() -> None:
    written = as_stream([{"script": "one\ntwo\n", "list": ["a", {"b": 1}]}], "made by a test")
    assert written == ("# made by a test\n---\nscript: |\n  one\n  two\nlist:\n  - a\n  - b: 1\n")
