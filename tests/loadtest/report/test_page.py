"""A report as a page."""

import re
from functools import cache
from html.parser import HTMLParser

import pytest

from loadtest.report.contents import contents
from loadtest.report.page import page
from loadtest.report.plots import PLOTS
from loadtest.report.summary import Summary
from tests.loadtest import outcomes

SVG = "<svg></svg>"
VOID = {"meta", "br", "hr", "img", "link"}


@cache
def made(name: str) -> str:
    report = contents(Summary(getattr(outcomes, name)()))
    return page(report, dict.fromkeys(PLOTS, SVG), "load_test.json")


class Tags(HTMLParser):
    """The elements of a page, and whether each is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert not self.opened

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.opened.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.opened.pop() == tag


@pytest.mark.parametrize(
    "name", ["mixed", "interrupted", "unanswered", "empty", "brief", "hostile"]
)
def test_a_page_is_well_formed_and_runs_and_loads_nothing(name: str) -> None:
    tags = Tags(made(name)).seen
    names = {tag for tag, _ in tags}
    assert {"h1", "h2", "main", "section", "table"} <= names
    assert not names & {"script", "link", "img", "iframe", "object", "form", "base"}
    assert not any(key.startswith("on") or key in ("src", "href") for _, a in tags for key in a)


def test_hostile_texts_are_shown_and_not_obeyed() -> None:
    text = made("hostile")
    assert "<script>" not in text and "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;" in text
    assert "&amp;amp;" in text and "\x1b" not in text


def test_tables_have_captions_and_heads_and_scroll_by_themselves() -> None:
    text = made("mixed")
    tables = re.findall(
        r'<div class="scroll" tabindex="0" role="region"[^>]*><table>.*?</table>', text, re.S
    )
    assert len(tables) == text.count("<table>") > 5
    assert all("<caption>" in each and 'scope="col"' in each for each in tables)


def test_every_plot_has_words_that_say_what_it_shows() -> None:
    text = made("mixed")
    figures = re.findall(r"<figure>.*?</figure>", text, re.S)
    assert len(figures) == len(PLOTS)
    assert all(re.search(r"<figcaption>\w.{20,}</figcaption>", each) for each in figures)


def test_a_simulated_gpu_is_never_shown_as_a_gpu() -> None:
    cells = re.findall(r"<t[hd][^>]*>(gpu[^<]*)</t[hd]>", made("mixed"))
    assert set(cells) == {"gpu (simulated)", "gpu"}  # the node's own fact says just `gpu`
    assert cells.count("gpu") == 1


def test_the_same_outcome_gives_the_same_page() -> None:
    made.cache_clear()
    first = made("brief")
    made.cache_clear()
    assert made("brief") == first
