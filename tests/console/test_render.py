"""From a view to HTML."""

import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from console import render

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON_VALUES)
def test_json_in_a_script_element_never_ends_it_and_reads_back_the_same(value: Any) -> None:
    text = str(render.in_script(value))
    assert "<" not in text
    assert ">" not in text
    assert json.loads(text) == value


def test_what_is_no_number_becomes_null_in_json() -> None:
    assert json.loads(str(render.in_script([math.nan, math.inf, 1.5]))) == [None, None, 1.5]


def test_a_block_that_a_page_has_not_is_none() -> None:
    assert render.block("error.html", "no_such_block", {}) is None


def test_a_block_is_rendered_with_the_shared_macros() -> None:
    view = {"error": {"title": "T", "status": 400, "detail": "<script>"}}
    told = render.block("error.html", "problem", {"view": view})
    assert told is not None
    assert "&lt;script&gt;" in told


def test_the_url_of_a_static_file_changes_with_its_contents() -> None:
    url = render.static("flame.svg")
    assert url.startswith("/static/flame.svg?v=")
    assert len(url.partition("v=")[2]) == 12


def test_the_cells_of_a_table_are_escaped_and_labelled() -> None:
    assert render.rows(["a", '"b"'], [(1, "<i>")]) == (
        '<tr><td data-label="a">1</td><td data-label="&#34;b&#34;">&lt;i&gt;</td></tr>'
    )


@given(st.text("ab`<&\n "))
def test_a_text_with_code_in_it_keeps_all_of_its_words_and_nothing_in_it_is_markup(
    text: str,
) -> None:
    told = str(render.prose(text))
    plain = told.replace("<code>", "").replace("</code>", "")
    assert "<" not in plain
    assert plain.replace("`", "") == text.replace("&", "&amp;").replace("<", "&lt;").replace(
        "`", ""
    )


def test_what_stands_between_backticks_is_code() -> None:
    assert render.prose("with `n` < 2 and ``m``") == (
        "with <code>n</code> &lt; 2 and <code>m</code>"
    )
