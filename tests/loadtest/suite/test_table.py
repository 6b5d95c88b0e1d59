"""Tables of a Markdown page, of texts that may hold anything."""

import re

from hypothesis import given
from hypothesis import strategies as st

from loadtest.suite.table import bullets, markdown, plain, texts


def test_a_table_has_a_head_a_rule_and_rows() -> None:
    assert texts(("a", "b"), [("1", "x|y")]) == "| a | b |\n| --- | --- |\n| 1 | x\\|y |"
    assert markdown(("a", "b"), [("1", "**2**")]).splitlines() == [
        "| a | b |",
        "| --- | ---: |",
        "| 1 | **2** |",
    ]


@given(st.text())
def test_a_text_never_leaves_its_cell(text: str) -> None:
    written = plain(text)
    assert len(written.splitlines()) <= 1
    assert not re.search(r"(?<!\\)(?:\\\\)*[|`*<[]", written)


@given(st.text())
def test_no_word_of_a_text_is_lost(text: str) -> None:
    assert re.sub(r"\\(.)", r"\1", plain(text)).split() == text.split()


def test_a_list_has_a_line_for_each() -> None:
    assert bullets(["a", "b"]) == "- a\n- b"
