"""Five hundred functions with long names: pages open soon, keep still, and are of use."""

import re
from itertools import cycle, islice, product
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.support import NodeFactory, RunningNode

COUNT = 500
LONGEST = 60  # characters of a name
WORDS = ("resize", "estimate", "transcribe", "embed", "classify", "denoise", "summarize", "rank")
THINGS = ("invoices", "photographs", "sentences", "molecules", "recordings", "trajectories")
PAGES = ("", "functions", "queues", "replicas", "scaling")
LOOKS = [*((path, 1440) for path in PAGES), ("functions", 390), ("queues", 390)]
SOON = 6_000  # milliseconds until a page is loaded: 2 s, on a machine that does other work, too
HEAD = "from runtime import function\n"
BODY = '''
@function(devices=({devices}))
def {name}(n: int = 1) -> int:
    """{summary}."""
    return n
'''


def names() -> list[str]:
    """Names of 12 to 60 characters, all different."""
    pairs = cycle(product(WORDS, THINGS))
    return [
        f"{word}_{thing}_{number:03}{'_of_the_quarter_by_region_and_by_customer'[: number % 45]}"[
            :LONGEST
        ].rstrip("_")
        for number, (word, thing) in enumerate(islice(pairs, COUNT))
    ]


def source() -> str:
    """A file with all of them; every third can use a GPU, too."""
    made = [
        BODY.format(
            name=name,
            devices='"cpu", "gpu"' if number % 3 == 0 else '"cpu",',
            summary=f"Do what {name.replace('_', ' ')} says",
        )
        for number, name in enumerate(names())
    ]
    return HEAD + "".join(made)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, start_node: NodeFactory) -> RunningNode:
    """A node with all of these, of which some have run."""
    folder: Path = tmp_path_factory.mktemp("many")
    (folder / "many.py").write_text(source())
    node = start_node(folder, LUMBRE_SIMULATE_GPU="1")
    for name in names()[::100]:
        assert node.client.post(f"/invoke/{name}", json={"n": 7}).json() == 7
    return node


def test_names_are_as_long_as_they_should_be() -> None:
    made = names()
    assert len(set(made)) == COUNT
    assert max(map(len, made)) == LONGEST


@pytest.mark.parametrize(("path", "width"), LOOKS)
def test_a_page_of_hundreds_is_soon_open_still_and_within_its_width(
    many: RunningNode, page_at: Open, path: str, width: int
) -> None:
    name = f"many-{path or 'overview'}-{width}"
    many.client.get(f"/{path}", headers={"Accept": "text/html"})  # what is made once is made
    opened = page_at(f"{many.url}/signin", width=width, name=name)
    opened.page.goto(f"{many.url}/{path}", wait_until="load", timeout=SOON)
    opened.settle()
    if width > 1000:  # a narrow one is forty screens high
        opened.shot()
    opened.assert_fits()
    opened.assert_still()


def test_a_filter_finds_the_one_and_pages_lead_to_the_rest(
    many: RunningNode, page_at: Open
) -> None:
    wanted = names()[477]
    opened = page_at(f"{many.url}/functions", name="many-filter")
    page = opened.page
    rows = page.locator("main tbody tr")
    first = rows.first.text_content()
    page.get_by_role("link", name="Next").click()
    expect(rows.first).not_to_have_text(first or "")
    expect(page.locator(".paging")).to_contain_text(re.compile(rf"of {COUNT} functions"))

    page.get_by_label("Name").fill(wanted[:30])
    page.get_by_role("button", name="Filter").click()
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text(wanted)
    opened.shot()
    rows.get_by_role("link", name=wanted, exact=True).click()
    expect(page.locator("h1")).to_have_text(wanted)
    opened.assert_fits()

    page.goto(f"{many.url}/queues")
    page.get_by_label("Function").fill(wanted)
    page.get_by_role("button", name="Filter").click()
    expect(rows).to_have_count(2 if names().index(wanted) % 3 == 0 else 1)
    page.get_by_label("Function").fill("nobody")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("main")).to_contain_text("No queue matches.")
