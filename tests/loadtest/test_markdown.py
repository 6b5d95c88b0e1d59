"""Markdown of texts that may hold anything."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from loadtest.markdown import bullets, code, paragraph, plain, table, texts

PARSER = MarkdownIt("commonmark").enable("table")
READABLE = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")) | st.just(" "))


def words(text: str) -> str:
    """What a reader sees of the inline content."""
    tokens = [child for token in PARSER.parse(text) for child in token.children or ()]
    assert {token.type for token in tokens} <= {"text", "text_special"}, tokens
    return "".join(token.content for token in tokens)


@given(READABLE)
def test_a_text_always_reads_as_it_was(text: str) -> None:
    flat = " ".join(text.split())
    assert words(paragraph(flat)) == flat
    assert words(f"- a {plain(flat)}") == f"a {flat}".rstrip()


@pytest.mark.parametrize(
    "text", ["# no heading", "- no list", "1. no list", "2) no", "> no", "===", "+ no"]
)
def test_a_text_does_not_begin_a_block(text: str) -> None:
    assert PARSER.parse(paragraph(text))[0].type == "paragraph_open"


@given(st.text())
def test_a_text_never_leaves_its_cell(text: str) -> None:
    written = plain(text)
    assert written.isprintable()
    assert not re.search(r"(?<!\\)(?:\\\\)*[|`*<[]", written)


def test_a_cell_with_a_pipe_and_a_newline_stays_one_cell() -> None:
    html = PARSER.render(texts(("a", "b"), [("x | y\nz", "1")]))
    assert '<td style="text-align:left">x | y z</td>' in html and html.count("<td") == 2


def test_a_table_has_a_head_a_rule_and_rows() -> None:
    assert table(("a", "b"), [("1", "**2**")]) == "| a | b |\n| :--- | ---: |\n| 1 | **2** |"
    assert texts(("a", "b"), [("1", "x|y")]) == "| a | b |\n| :--- | :--- |\n| 1 | x\\|y |"
    assert texts(("a",), [("1",)], {0}) == "| a |\n| ---: |\n| 1 |"


def test_code_with_fences_stays_code() -> None:
    html = PARSER.render(code("```\n# plan\n```", "yaml"))
    assert '<code class="language-yaml">```\n# plan\n```\n</code>' in html


def test_a_list_has_a_line_for_each() -> None:
    assert bullets(["a", "b"]) == "- a\n- b"
