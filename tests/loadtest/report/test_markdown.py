"""A report as Markdown."""

from functools import cache

import pytest
from markdown_it import MarkdownIt

from loadtest.report.contents import contents
from loadtest.report.markdown import markdown
from loadtest.report.summary import Summary
from tests.loadtest import outcomes

PARSER = MarkdownIt("commonmark").enable("table")


@cache
def made(name: str) -> str:
    return markdown(contents(Summary(getattr(outcomes, name)())), "load_test.html")


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
