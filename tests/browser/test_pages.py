"""Every page, light and dark, wide and narrow: whole, quiet, still, and readable by everybody."""

from collections.abc import Callable, Iterator

import pytest

from tests.browser.conftest import Open
from tests.browser.opened import Opened
from tests.browser.seed import AFTER, BEFORE, LONG, Seeded, running
from tests.support import RunningNode

Where = Callable[[Seeded], str]
PAGES: dict[str, Where] = {
    "overview": lambda ids: "/",
    "functions": lambda ids: "/functions",
    "function": lambda ids: "/functions/matmul",
    "invocations": lambda ids: "/invocations",
    "invocation": lambda ids: f"/invocations/{ids.succeeded}",
    "replicas": lambda ids: "/replicas",
    "queues": lambda ids: "/queues",
    "letters": lambda ids: "/queues/dead",
    "letter": lambda ids: f"/queues/dead/{ids.dead}",
    "scaling": lambda ids: "/scaling",
    "benchmarks": lambda ids: "/benchmarks?function=matmul",
    "signin": lambda ids: "/signin?failed=1",
}
STATES: dict[str, Where] = {  # pages that the above show in another state
    "overview-24h": lambda ids: "/?range=24h",
    "function-every-type": lambda ids: "/functions/every_type",
    "function-long": lambda ids: f"/functions/{LONG}",
    "invocations-failed": lambda ids: "/invocations?status=failed",
    "invocations-none": lambda ids: "/invocations?function=nobody",
    "invocation-failed": lambda ids: f"/invocations/{ids.failed}",
    "invocation-dead": lambda ids: f"/invocations/{ids.dead}",
    "invocation-cancelled": lambda ids: f"/invocations/{ids.cancelled}",
    "invocation-large": lambda ids: f"/invocations/{ids.large}",
    "invocation-image": lambda ids: f"/invocations/{ids.image}",
    "invocation-long": lambda ids: f"/invocations/{ids.long}",
    "invocation-steps": lambda ids: f"/invocations/{ids.steps}",
    "scaling-what-if": lambda ids: "/scaling?function=matmul&device=cpu&target=1&max=2",
    "benchmark": lambda ids: f"/benchmarks/{AFTER}",
    "benchmarks-compared": lambda ids: f"/benchmarks/compare?a={BEFORE}&b={AFTER}",
    "benchmarks-not-compared": lambda ids: "/benchmarks/compare",
}
EMPTY = ("/", "/functions", "/invocations", "/replicas", "/queues", "/scaling", "/benchmarks")
# Both themes and both widths are in two looks; those have axe-core's scan, which takes longest.
SCANNED = [("light", 1440), ("dark", 390)]
LOOKS = [*SCANNED, ("dark", 1440), ("light", 390)]


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(("theme", "width"), LOOKS)
def test_a_page_is_whole_quiet_still_and_readable(
    node: RunningNode, seeded: Seeded, page_at: Open, name: str, theme: str, width: int
) -> None:
    path = PAGES[name](seeded)
    opened = page_at(node.url + path, theme=theme, width=width, name=f"{name}-{theme}-{width}")
    _assert_good(opened)
    if (theme, width) in SCANNED:
        opened.assert_accessible()


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize(("theme", "width"), SCANNED)
def test_a_page_is_good_in_every_state(
    node: RunningNode, seeded: Seeded, page_at: Open, name: str, theme: str, width: int
) -> None:
    path = STATES[name](seeded)
    opened = page_at(node.url + path, theme=theme, width=width, name=f"{name}-{theme}-{width}")
    _assert_good(opened)
    opened.assert_accessible()


@pytest.fixture(scope="module")
def going_on(node: RunningNode, seeded: Seeded) -> Iterator[str]:
    id = running(node)
    yield id
    node.client.delete(f"/invocations/{id}")


@pytest.mark.parametrize(("theme", "width"), SCANNED)
def test_the_page_of_what_runs_is_good_while_it_runs(
    node: RunningNode, page_at: Open, going_on: str, theme: str, width: int
) -> None:
    name = f"invocation-running-{theme}-{width}"
    opened = page_at(f"{node.url}/invocations/{going_on}", theme=theme, width=width, name=name)
    _assert_good(opened)
    opened.assert_accessible()


@pytest.mark.parametrize("path", EMPTY)
@pytest.mark.parametrize(("theme", "width"), SCANNED)
def test_a_page_where_nothing_ever_happened_is_good_too(
    bare: RunningNode, page_at: Open, path: str, theme: str, width: int
) -> None:
    name = f"empty-{path.strip('/') or 'overview'}-{theme}-{width}"
    opened = page_at(bare.url + path, theme=theme, width=width, name=name)
    _assert_good(opened)
    opened.assert_accessible()


def test_a_page_that_is_not_there_is_a_page(node: RunningNode, page_at: Open) -> None:
    opened = page_at(f"{node.url}/signin", name="not-there")
    opened.expected |= {404}
    opened.page.goto(f"{node.url}/invocations/019a0000-0000-7000-8000-000000000000")
    opened.shot()
    opened.assert_accessible()
    assert opened.page.locator("h1").count() == 1


def _assert_good(opened: Opened) -> None:
    opened.settle()
    opened.shot()
    assert opened.page.locator("h1").count() == 1
    opened.assert_no_error()
    opened.assert_fits()
    opened.assert_still()
