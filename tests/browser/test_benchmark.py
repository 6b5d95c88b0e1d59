"""A benchmark as somebody asks for it on a page, watches it, reads it, stops one, compares two."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open
from tests.browser.opened import HERE, Opened
from tests.support import NodeFactory, RunningNode

# Sleeps of 10 and 30 ms, `{most}` on each device: enough to see it move, or to stop it in time.
PLAN = """
precision: 0.0001
least: 3
most: {most}
limit: {limit}
discard: 1
cold: 2
ceilings: false
quick: {{most: {most}, precision: 0.0001}}
cases:
  - case: a nap
    function: naps
    axis: n
    ladder: [10, 30]
    seconds: seconds
    parity:
      - {{field: n, tolerance: "0.5"}}
"""
SHORT, LONG = PLAN.format(most=20, limit=20), PLAN.format(most=1000, limit=600)
ENDS = 60_000  # milliseconds until a short run has written its reports


@pytest.fixture(scope="module")
def quiet(start_node: NodeFactory) -> RunningNode:
    """A node with a simulated GPU that does nothing else."""
    return start_node(HERE / "bench_functions", LUMBRE_SIMULATE_GPU="1")


def test_a_benchmark_is_started_watched_read_another_is_stopped_and_both_are_compared(
    quiet: RunningNode, page_at: Open
) -> None:
    opened = page_at(f"{quiet.url}/functions/naps", name="benchmark-story")
    page = opened.page
    page.get_by_role("link", name="Benchmark CPU against GPU").click()
    expect(page.get_by_role("checkbox", name="naps")).to_be_checked()
    _start(page, SHORT)
    first = page.url.rpartition("/")[2]
    _watch(opened)
    _read(opened)

    page.goto(f"{quiet.url}/benchmarks?function=naps")
    _start(page, LONG)
    second = page.url.rpartition("/")[2]
    expect(page.get_by_role("heading", name="Measured by now")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#live .status").first).to_have_text("stopped", timeout=ENDS)
    expect(page.get_by_role("heading", name="What was found")).to_be_visible()
    opened.shot("-4-stopped")

    page.get_by_role("link", name="Benchmarks").last.click()
    for id in (first, second):
        page.locator(f"#run-{id}").get_by_role("checkbox").check()
    opened.shot("-5-ticked")
    page.get_by_role("button", name="Compare two").click()
    expect(page.locator(".bench-headline")).not_to_be_empty()
    rows = page.locator("table", has_text="Every comparison").locator("tbody tr")
    expect(rows.first).to_contain_text("a nap")
    opened.settle()
    opened.shot("-6-compared")
    opened.assert_fits()
    opened.assert_still()
    opened.assert_accessible()


def test_a_form_that_cannot_be_measured_is_shown_again_as_it_was(
    quiet: RunningNode, page_at: Open
) -> None:
    opened = page_at(f"{quiet.url}/benchmarks?function=naps", name="benchmark-fault")
    opened.expected |= {422}
    page = opened.page
    plan = SHORT.replace("ladder: [10, 30]", "ladder: []")
    _start(page, plan)
    expect(page.get_by_role("alert")).to_contain_text("plan. case 'a nap'/ladder: List should have")
    expect(page.get_by_label("Plan")).to_have_value(plan.strip())
    opened.shot()
    opened.assert_fits()


def _start(page: Page, plan: str) -> None:
    """Send the form of the page, for what its link has ticked."""
    page.get_by_label("Plan").fill(plan)
    page.get_by_role("radio", name=re.compile("^Quick")).check()
    page.get_by_role("button", name="Start").click()


def _watch(opened: Opened) -> None:
    """Its bar moves, by itself, until it is over."""
    page = opened.page
    bar = page.get_by_role("progressbar")
    expect(bar).to_be_visible()
    page.wait_for_function("() => document.querySelector('main progress')?.value > 0")
    before = float(bar.evaluate("bar => bar.value"))
    table = page.locator("table", has_text="a nap")
    expect(table).to_contain_text("simulated")
    opened.shot("-1-running")
    page.wait_for_function(
        "before => !(document.querySelector('main progress')?.value <= before)", arg=before
    )
    expect(page.locator("#live .status").first).to_have_text("ended", timeout=ENDS)


def _read(opened: Opened) -> None:
    """What it found, what to take along, and how to do the same in a shell."""
    page = opened.page
    opened.settle()
    opened.shot("-2-ended")
    opened.assert_fits()
    expect(page.locator("main")).to_contain_text("The GPU is simulated")
    table = page.get_by_role("table", name="a nap: medians")
    expect(table.get_by_role("columnheader", name="speedup (of a simulation)")).to_be_visible()
    expect(table.locator("tbody tr")).to_have_count(2)
    expect(table.locator("tbody")).to_contain_text("agree")
    expect(page.get_by_role("group", name="Speedup")).to_contain_text("simulat")

    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("button.copy", has_text="Copy as Markdown").click()
    page.wait_for_function("async () => (await navigator.clipboard.readText()).includes('a nap')")
    assert "simulated" in page.evaluate("navigator.clipboard.readText()")

    command = page.locator("pre", has_text="lumbre bench")
    expect(command).to_contain_text("lumbre bench naps")
    expect(command).to_contain_text("--simulate-gpu")
    page.get_by_text("Machine and versions").click()
    expect(page.locator("#machine dl")).to_be_visible()
    opened.shot("-3-machine")
