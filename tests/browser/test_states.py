"""Pages of invocations that are out of the ordinary: clocks that disagree, results of megabytes."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import expect

from runtime.ledger import Ledger
from runtime.model import Attempt, Failure, Invocation, Message, Payload, Status, new_id
from tests.browser.conftest import Open, executable
from tests.browser.opened import HERE
from tests.browser.seed import Seeded
from tests.support import RunningNode, eventually

LEAST = 200_000  # characters of HTML that no page of a large result may have
AHEAD = 4.0  # seconds that the gateway's clock was ahead of the worker's
SKEWED, RETRIED = new_id(), new_id()


@pytest.fixture(scope="module")
def skewed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """A node whose ledger has what came from workers with clocks of their own."""
    executable()
    folder = tmp_path_factory.mktemp("skewed")
    (folder / "functions").mkdir()
    (folder / "functions" / "steps.py").write_text((HERE / "functions" / "steps.py").read_text())
    node = RunningNode(folder, folder / "functions", {})
    with ThreadPoolExecutor(1) as other:  # this thread has Playwright's loop
        other.submit(asyncio.run, _write(node.state)).result()
    node.start()
    yield node
    node.stop()


async def _write(state: Path) -> None:
    began = time.time() - 60
    message = Message(SKEWED, "steps", "cpu", Payload(parameters=b'{"count": 3}'), began)
    early = Invocation(
        message,
        "auto",
        "v1",
        Status.SUCCEEDED,
        started_at=began - AHEAD,
        finished_at=began - AHEAD + 0.5,
        timings={"queue": 0.0, "start": 0.0, "run": 0.5},
        replica="steps-cpu-1",
    )
    again = replace(message, id=RETRIED, attempt=2)
    lost = Attempt(
        RETRIED,
        1,
        "steps-cpu-1",
        "cpu",
        began - AHEAD,
        began - 1,
        Failure("ReplicaDied", "its process was killed by SIGKILL"),
    )
    late = replace(early, message=again, started_at=began - 0.5, finished_at=began + 0.1)
    ledger = await Ledger.open(f"sqlite:///{state / 'ledger.db'}")
    try:
        await ledger.write([early, late], [lost])
    finally:
        await ledger.close()


@pytest.mark.parametrize(("id", "parts"), [(SKEWED, 3), (RETRIED, 5)], ids=["once", "again"])
@pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("dark", 390)])
def test_clocks_that_disagree_are_told_and_nothing_takes_less_than_no_time(
    skewed: RunningNode, page_at: Open, id: str, parts: int, theme: str, width: int
) -> None:
    name = f"skewed-{parts}-{theme}-{width}"
    opened = page_at(f"{skewed.url}/invocations/{id}", theme=theme, width=width, name=name)
    page = opened.page
    fall = page.locator(".waterfall")
    expect(fall.locator("> .note")).to_contain_text("The clocks of two machines disagree by 4.")
    rows = fall.locator("ol > .row:not(.phase)")
    expect(rows).to_have_count(parts + 1)
    expect(rows.first.locator("> .long")).to_have_text("0 ms")
    expect(fall).not_to_contain_text("-")
    bars = fall.locator("rect.part").evaluate_all(
        "all => all.map((bar) => bar.getBoundingClientRect())"
        ".map(({left, right, width}) => [left, right, width])"
    )
    whole = fall.locator("svg.fall").first.bounding_box()
    assert whole
    for left, right, wide in bars:
        assert wide >= 0
        assert left >= whole["x"] - 1
        assert right <= whole["x"] + whole["width"] + 1
    opened.shot()
    opened.assert_fits()
    opened.assert_still()
    opened.assert_accessible()


@pytest.mark.parametrize("width", [1440, 390])
def test_of_a_result_of_two_megabytes_a_page_shows_the_first_lines_and_leads_to_all_of_it(
    node: RunningNode, seeded: Seeded, page_at: Open, width: int
) -> None:
    opened = page_at(f"{node.url}/invocations/{seeded.large}", width=width, name=f"large-{width}")
    page = opened.page
    output = page.locator("section.output")
    expect(output).to_contain_text("The result is 2.00 MB: these are its first lines.")
    assert len(page.content()) < LEAST
    address = output.get_by_role("link", name="See all of it").get_attribute("href")
    whole = page.request.get(f"{node.url}{address}")
    assert whole.ok and len(whole.body()) == 2_000_002  # with its quotes: it is JSON
    with page.expect_download() as saved:
        output.get_by_role("link", name="download it").click()
    assert saved.value.path().stat().st_size == 2_000_002
    opened.shot()
    opened.assert_fits()


@pytest.mark.parametrize("width", [1440, 390])
def test_a_result_of_two_megabytes_is_as_light_where_it_was_run(
    node: RunningNode, page_at: Open, width: int
) -> None:
    opened = page_at(f"{node.url}/functions/large", width=width, name=f"large-run-{width}")
    page = opened.page
    page.get_by_role("button", name="Run", exact=True).click()
    result = page.locator("section.result")
    expect(result.locator(".status")).to_have_text("succeeded", timeout=30_000)
    expect(result).to_contain_text("these are its first lines")
    assert len(page.content()) < LEAST
    opened.settle()
    opened.shot()
    opened.assert_fits()
    listed = eventually(
        lambda: node.client.get("/invocations", params={"function": "large"}).json()["items"]
    )
    assert listed[0]["status"] == "succeeded"
