"""The console by its keys alone, and what a page keeps for somebody while it renews itself."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open
from tests.browser.opened import TURN
from tests.browser.seed import Seeded
from tests.support import RunningNode

MANY = 150  # tabs: more than any page has stops
SOON = 30_000  # milliseconds for a replica to start and run something short, on a busy machine

# What has the focus, in a chart's shadow, too: its words, and whether somebody sees that it does.
FOCUSED = """
() => {
  let at = document.activeElement;
  while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
  if (!at || at === document.body || at === document.documentElement) return null;
  window.firstStop ??= at;
  const style = getComputedStyle(at), box = at.getBoundingClientRect();
  const bar = document.querySelector("header.top").getBoundingClientRect();
  const inBar = at.closest?.("header.top, .skip");
  return {
    words: (at.labels?.[0]?.innerText ?? at.ariaLabel ?? at.innerText ?? "").trim(),
    tag: at.localName, first: at === window.firstStop,
    outlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    seen: box.width > 0 && box.bottom > (inBar ? 0 : bar.bottom) && box.top < innerHeight,
    html: at.outerHTML.slice(0, 120), box: [box.left, box.top, box.width, box.height],
  };
}
"""
TOP = "(node) => node.getBoundingClientRect().top"  # where it is seen
GROUND = "parseInt(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])"  # its red


def test_from_the_address_to_a_result_and_its_page_by_tab_space_and_enter(
    node: RunningNode, page_at: Open
) -> None:
    opened = page_at(node.url, name="keyboard")
    page = opened.page
    _skip(page)
    expect(page.locator("main")).to_be_focused()
    page.evaluate("document.activeElement.blur()")
    page.reload()
    _tab_to(page, "Functions", "a")
    page.keyboard.press("Enter")
    page.wait_for_url("**/functions")
    _skip(page)
    _tab_to(page, "Invoke fails", "a")
    page.keyboard.press("Enter")
    page.wait_for_url("**/functions/fails*")
    _tab_to(page, "text", "textarea", "input")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type('{"number": 42}')
    _tab_to(page, "auto", "input")
    page.keyboard.press("ArrowDown")
    _tab_to(page, "Run", "button")
    opened.shot("-focus")
    page.keyboard.press("Space")
    expect(page.locator("section.result .status")).to_have_text("succeeded", timeout=SOON)
    expect(page.locator("section.result .outcome .number")).to_have_text("42")
    _tab_to(page, "All about this invocation", "a")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Where the time went")).to_be_visible()


@pytest.mark.parametrize(
    "path", ["/?", "/functions/matmul?", "/invocations?function=fails&", "/replicas?"]
)
def test_focus_goes_through_a_page_is_always_seen_and_comes_out_again(
    node: RunningNode, seeded: Seeded, page_at: Open, path: str
) -> None:
    opened = page_at(f"{node.url}{path}every=0")
    opened.settle()
    there = _stops(opened.page, "Tab")
    assert there[0]["words"] == "Skip to the content"
    assert len(there) > 10
    back = _stops(opened.page, "Shift+Tab")
    assert len(back) == len(there)


def test_a_page_that_renews_itself_keeps_focus_what_is_open_and_where_it_is_scrolled(
    node: RunningNode, seeded: Seeded, page_at: Open
) -> None:
    opened = page_at(f"{node.url}/?every=2", name="kept")
    page = opened.page
    opened.settle()
    numbers = page.locator("#throughput-numbers")
    numbers.locator("summary").click()
    link = page.locator("#function-matmul a.name")
    link.focus()
    page.evaluate("scrollBy(0, 37)")
    assert page.evaluate("scrollY") > 100
    before = link.evaluate(TOP)
    for n in (8, 9):
        node.client.post("/invoke/matmul", json={"n": n}).raise_for_status()
        with page.expect_response(
            lambda answer: answer.request.headers.get("hx-request-type") == "partial"
        ) as renewed:
            pass  # by itself: nobody asks for it
        assert renewed.value.ok
        page.evaluate(TURN)
    expect(link).to_be_focused()
    expect(numbers).to_have_attribute("open", "")
    assert link.evaluate(TOP) == pytest.approx(before, abs=2)  # pixels
    opened.shot()


def test_what_is_typed_into_a_form_stays_while_the_page_renews_itself(
    node: RunningNode, page_at: Open
) -> None:
    page = page_at(f"{node.url}/functions/every_type?every=2").page
    text = page.locator("form.invoke").get_by_label("text", exact=False).first
    text.press_sequentially("half a sent")
    with page.expect_response(
        lambda answer: answer.request.headers.get("hx-request-type") == "partial"
    ):
        pass
    page.evaluate(TURN)
    expect(text).to_be_focused()
    page.keyboard.type("ence")
    expect(text).to_have_value("half a sentence")


def test_the_id_of_an_invocation_is_copied_whole(
    node: RunningNode, seeded: Seeded, page_at: Open
) -> None:
    page = page_at(f"{node.url}/invocations/{seeded.succeeded}").page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    button = page.get_by_role("button", name="Copy the id").first
    button.click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == seeded.succeeded
    expect(button).to_be_visible()  # it says what it does again


def test_a_theme_that_was_chosen_is_there_on_the_next_page_before_anything_is_drawn(
    node: RunningNode, page_at: Open
) -> None:
    page = page_at(f"{node.url}/queues").page
    assert page.evaluate(GROUND) > 200
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")
    assert page.evaluate(GROUND) < 60
    with page.expect_response(re.compile("/scaling$")) as answer:
        page.get_by_role("link", name="Scaling").click()
    sent = answer.value.text()
    assert '<html lang="en" data-theme="dark">' in sent  # by the server: nothing flashes
    assert page.evaluate(GROUND) < 60
    page.get_by_role("button", name="System").click()
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(GROUND) < 60
    page.emulate_media(color_scheme="light")
    assert page.evaluate(GROUND) > 200
    page.get_by_role("button", name="Light").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")


def _stops(page: Page, key: str) -> list[dict[str, Any]]:
    """What a key stops at until it comes out of the page; each stop must be seen."""
    stops: list[dict[str, Any]] = []
    page.evaluate("delete window.firstStop")
    for _ in range(MANY):
        page.keyboard.press(key)
        found = page.evaluate(FOCUSED)
        if found is None and not stops:
            continue  # from the end, by the beginning
        if found is None or (stops and found["first"]):
            break  # out, or from the end to the beginning
        stops.append(found)
    else:
        pytest.fail(f"it never comes out: {stops[-4:]}")
    lost = [stop for stop in stops if not (stop["outlined"] and stop["seen"])]
    assert not lost, "\n".join(map(str, lost))
    return stops


def _skip(page: Page) -> None:
    """The first stop leads past the navigation."""
    page.keyboard.press("Tab")
    found = page.evaluate(FOCUSED)
    assert found["words"] == "Skip to the content" and found["seen"] and found["outlined"]
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.id === 'content'")


def _tab_to(page: Page, words: str, *tags: str) -> None:
    """Press Tab until something with these words has the focus; each stop must be seen."""
    for _ in range(MANY):
        page.keyboard.press("Tab")
        found = page.evaluate(FOCUSED)
        if found is None:
            continue
        assert found["outlined"] and found["seen"], found
        if found["words"].split("\n")[0] == words and found["tag"] in tags:
            return
    raise AssertionError(f"Tab does not come to {words}")
