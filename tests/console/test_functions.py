"""The page of all functions: with many, with none, filtered, sorted, and with broken files."""

import html
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from console.functions import EXAMPLE, ON_A_PAGE
from tests.support import NodeFactory, RunningNode, eventually

HTML = {"Accept": "text/html"}
MANY = 250
LONG = "z" * 60


@pytest.fixture(scope="module")
def node(
    start_node: NodeFactory, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningNode]:
    """A node with very many functions, and a broken file."""
    folder = tmp_path_factory.mktemp("many")
    lines = ["from runtime import function", "@function", f"def {LONG}() -> None: '''Long.'''"]
    for number in range(MANY):
        lines += ["@function", f"def each_{number:03}(n: int = 1) -> int:"]
        lines += [f"    '''Number {number} <of> many.", "", "    More of it.'''", "    return n"]
    (folder / "many.py").write_text("\n".join(lines))
    (folder / "torn.py").write_text("import <nonsense>")
    yield start_node(folder)


def page(client: httpx.Client, path: str) -> str:
    answer = client.get(path, headers=HTML)
    assert answer.status_code == 200, answer.text
    return answer.text


def names(text: str) -> list[str]:
    return re.findall(r'<tr id="function-(\w+)">', text)


def test_many_functions_are_on_several_pages(node: RunningNode) -> None:
    first = page(node.client, "/functions")
    assert names(first) == [f"each_{number:03}" for number in range(ON_A_PAGE)]
    assert "1 to 100 of 251 functions" in first
    (following,) = re.findall(r'href="([^"]*)">Next', first)
    assert "Previous" not in first
    second = page(node.client, html.unescape(following))
    assert names(second)[0] == f"each_{ON_A_PAGE:03}"
    last = page(node.client, "/functions?page=99")
    assert names(last)[-1] == LONG
    assert "Next" not in last


def test_functions_are_filtered_by_a_part_of_their_name(node: RunningNode) -> None:
    shown = page(node.client, "/functions?name=H_12")
    assert names(shown) == [f"each_{number}" for number in range(120, 130)]
    assert 'value="H_12"' in shown
    assert "torn.py" not in shown


def test_a_filter_that_matches_nothing_says_so(node: RunningNode) -> None:
    shown = page(node.client, "/functions?name=%3Cb%3E")
    assert "No function has “&lt;b&gt;” in its name." in shown
    assert "Clear filters" in shown


def test_a_broken_file_is_on_top_with_its_error(node: RunningNode) -> None:
    shown = page(node.client, "/functions")
    assert "torn.py cannot be used" in shown
    assert "SyntaxError" in shown
    assert shown.index("torn.py cannot") < shown.index('<tr id="function-')


def test_a_summary_is_the_first_paragraph_of_the_docstring(node: RunningNode) -> None:
    shown = page(node.client, "/functions?name=each_007")
    assert "Number 7 &lt;of&gt; many." in shown
    assert "More of it" not in shown


def test_what_was_busy_is_first_where_it_is_sorted_by_rate(node: RunningNode) -> None:
    for _ in range(2):
        node.client.post("/invoke/each_200", json={}).raise_for_status()
    assert node.client.post("/invoke/each_100", json={"n": 2}).json() == 2
    busiest = ["each_200", "each_100", "each_000"]
    eventually(lambda: names(page(node.client, "/functions?sort=rate"))[:3] == busiest)
    shown = page(node.client, "/functions?sort=rate")
    row = shown[shown.index('id="function-each_200"') :].partition("</tr>")[0]
    assert "0.400/min" in row
    assert "<polyline" in row
    assert "0 %" in row
    assert names(page(node.client, "/functions?sort=nonsense"))[0] == "each_000"


def test_the_live_region_is_answered_alone(node: RunningNode) -> None:
    headers = {**HTML, "HX-Request": "true", "HX-Request-Type": "partial"}
    answer = node.client.get("/functions", headers=headers | {"HX-Target": "div#live"})
    assert answer.text.lstrip().startswith('<div id="live"')
    assert "<input" not in answer.text.partition('id="banner"')[0]


def test_a_node_without_functions_says_how_to_make_one(
    start_node: NodeFactory, tmp_path: Path
) -> None:
    node = start_node(tmp_path, LUMBRE_READ_ONLY="1")
    shown = html.unescape(page(node.client, "/functions"))
    assert "No functions yet." in shown
    assert EXAMPLE.strip() in shown
    assert f"{tmp_path}/hello.py" in shown
    assert "lumbre new hello" in shown


def test_the_example_is_six_lines_and_works(start_node: NodeFactory, tmp_path: Path) -> None:
    assert len([line for line in EXAMPLE.splitlines() if line]) <= 6
    (tmp_path / "hello.py").write_text(EXAMPLE)
    node = start_node(tmp_path)
    assert node.client.post("/invoke/hello", json={}).json() == "Hello, world!"


def test_a_console_that_is_read_only_offers_no_button(
    start_node: NodeFactory, tmp_path: Path
) -> None:
    (tmp_path / "hello.py").write_text(EXAMPLE)
    node = start_node(tmp_path, LUMBRE_READ_ONLY="1")
    assert ">Invoke</a>" not in page(node.client, "/functions")
    shown = page(node.client, "/functions/hello")
    assert '<button class="primary" name="action"' not in shown
    assert re.search(r'<fieldset class="plain" disabled', shown)
    files = [("value.name", (None, b"x"))]
    answer = node.client.post("/functions/hello/run", files=files, headers=HTML)
    assert answer.status_code == 403
