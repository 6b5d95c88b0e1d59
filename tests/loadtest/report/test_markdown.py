"""A report as Markdown."""

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from loadtest.report.block import Code, Paragraph, Points, Report, Section, Table
from loadtest.report.contents import contents
from loadtest.report.markdown import escaped, markdown
from loadtest.report.summary import Summary
from tests.loadtest import outcomes

PARSER = MarkdownIt("commonmark").enable("table")


@cache
def made(name: str) -> str:
    return markdown(contents(Summary(getattr(outcomes, name)())), "load_test.html")


def report(*blocks: Paragraph | Points | Table | Code) -> Report:
    return Report("title", (), (), (Section("section", blocks),))


def words(text: str) -> str:
    """What a reader sees of the inline content."""
    tokens = [child for token in PARSER.parse(text) for child in token.children or ()]
    assert {token.type for token in tokens} <= {"text", "text_special"}, tokens
    return "".join(token.content for token in tokens)


@given(st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")) | st.just(" ")))
def test_an_escaped_text_always_reads_as_it_was(text: str) -> None:
    flat = " ".join(text.split())
    assert words(escaped(flat)) == flat


@pytest.mark.parametrize(
    "text", ["# no heading", "- no list", "1. no list", "2) no", "> no", "==="]
)
def test_a_text_does_not_begin_a_block(text: str) -> None:
    assert PARSER.parse(escaped(text))[0].type == "paragraph_open"


def test_a_cell_with_a_pipe_and_a_newline_stays_one_cell() -> None:
    table = Table("caption", ("a", "b"), (("x | y\nz", "1"),))
    html = PARSER.render(markdown(report(table), "page.html"))
    assert '<td style="text-align:left">x | y z</td>' in html and html.count("<td") == 2


def test_code_with_fences_stays_code() -> None:
    html = PARSER.render(markdown(report(Code("```\n# plan\n```", "yaml")), "page.html"))
    assert '<code class="language-yaml">```\n# plan\n```\n</code>' in html


def test_hostile_texts_make_no_markup() -> None:
    html = PARSER.render(made("hostile"))
    assert "<script" not in html and "<em>" not in html and 'href="f"' not in html
    assert "\x1b" not in html


@pytest.mark.parametrize(
    "name", ["mixed", "interrupted", "saturated", "unanswered", "empty", "brief"]
)
def test_every_outcome_has_a_report_without_nan_or_none(name: str) -> None:
    text = made(name)
    assert text.startswith("# Load test of http://127.0.0.1:8080\n")
    assert "nan" not in text.lower().replace("explanation", "") and "None |" not in text


def test_an_interrupted_run_says_so_at_the_top() -> None:
    assert made("interrupted").splitlines()[2].startswith("> **Interrupted: Ctrl-C after 20.4 s")
