"""What was given up on, as somebody finds it, mends it, sends it again or throws it away."""

import re
import shutil
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open
from tests.browser.opened import HERE
from tests.browser.seed import mercy
from tests.support import NodeFactory, RunningNode, eventually

ASYNC = {"Prefer": "respond-async"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the functions are, and the file that lets them live once it is there."""
    folder = tmp_path_factory.mktemp("letters")
    (folder / "functions").mkdir()
    shutil.copy(HERE / "functions" / "dies.py", folder / "functions")
    return folder


@pytest.fixture(scope="module")
def deadly(folder: Path, start_node: NodeFactory) -> RunningNode:
    """A node whose only function kills its replicas."""
    return start_node(folder / "functions", BROWSER_MERCY=str(mercy(folder)))


@pytest.fixture(autouse=True)
def merciless(folder: Path) -> None:
    mercy(folder).unlink(missing_ok=True)


def test_a_dead_letter_is_found_edited_and_replayed_and_its_new_invocation_succeeds(
    deadly: RunningNode, folder: Path, page_at: Open
) -> None:
    (id,) = _given_up(deadly, "first")
    opened = page_at(deadly.url, name="letters-story")
    page = opened.page
    failures = page.get_by_role("region", name="Last failures")
    expect(failures).to_contain_text("dead")
    opened.shot("-1-overview")
    failures.get_by_role("link", name=re.compile(id[-4:])).click()
    page.get_by_role("link", name="its dead letter").click()
    expect(page.locator("main .facts")).to_contain_text("at attempt 2")

    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Queues").click()
    expect(page.locator("#queue-dies\\.cpu")).to_contain_text("dies")
    page.get_by_role("link", name="Dead letters").last.click()
    letter = page.locator(f"#letter-{id}")
    expect(letter).to_contain_text("first")
    letter.get_by_text("2 attempts").click()
    expect(letter.get_by_role("listitem")).to_have_count(2)
    expect(letter).to_contain_text("SIGKILL")
    opened.shot("-2-letters")
    opened.assert_fits()

    letter.get_by_role("link", name="Edit and replay").click()
    parameters = page.get_by_label("A JSON object")
    parameters.fill(parameters.input_value().replace("first", 5 * "mended "))
    page.get_by_role("button", name="Show what changes").click()
    changes = page.get_by_role("group", name="The original against what you wrote")
    expect(changes.locator("del")).to_contain_text('"first"')
    expect(changes.locator("ins")).to_contain_text("mended mended")
    assert deadly.client.get("/dead-letters").json()["items"], "nothing was sent yet"
    opened.shot("-3-changes")
    opened.assert_fits()

    mercy(folder).touch()
    page.get_by_role("button", name="Replay with these").click()
    notice = page.locator("#notice")
    expect(notice).to_contain_text("1 dead letter was replayed.")
    expect(page.locator("main")).to_contain_text("No dead letter of dies.")
    opened.shot("-4-replayed")
    notice.get_by_role("link", name="its new invocation").click()
    expect(page.locator("#live .status")).to_have_text("succeeded")
    expect(page.locator("#story")).to_contain_text("lived: mended mended")
    opened.shot("-5-succeeded")

    page.get_by_role("link", name=re.compile(id[-4:])).first.click()
    expect(page.locator("#story")).to_contain_text("Run again as")


def test_what_cannot_be_sent_is_told_and_what_is_the_same_says_so(
    deadly: RunningNode, page_at: Open
) -> None:
    (id,) = _given_up(deadly, "strange")
    opened = page_at(f"{deadly.url}/queues/dead/{id}?function=dies", name="letters-faults")
    page = opened.page
    page.get_by_role("button", name="Show what changes").click()
    expect(page.locator("main")).to_contain_text("Nothing: these are the parameters it had.")
    page.get_by_label("A JSON object").fill('{"note": 7}')
    page.get_by_role("button", name="Show what changes").click()
    expect(page.locator("#faults")).to_contain_text("note")
    expect(page.get_by_role("button", name=re.compile("^Replay"))).to_have_count(0)
    opened.shot()
    opened.assert_fits()
    opened.assert_accessible()
    _discard(page, deadly, id)


def test_a_dead_letter_is_discarded_after_one_question_on_its_row(
    deadly: RunningNode, page_at: Open
) -> None:
    kept, gone = _given_up(deadly, "keep", "discard")
    opened = page_at(f"{deadly.url}/queues/dead", width=390, name="letters-discard")
    page = opened.page
    row = page.locator(f"#letter-{gone}")
    sure = row.get_by_role("button", name="Discard it for good")
    expect(sure).to_be_hidden()
    row.get_by_text("Discard…").click()
    opened.shot("-asked")
    opened.assert_fits()
    sure.click()
    expect(page.locator("#notice")).to_contain_text("1 dead letter was discarded.")
    expect(row).to_have_count(0)
    expect(page.locator(f"#letter-{kept}")).to_be_visible()
    _discard(page, deadly, kept)
    expect(page.locator("main")).to_contain_text("Nothing was given up on.")


def test_those_that_are_ticked_are_replayed_and_the_others_stay(
    deadly: RunningNode, folder: Path, page_at: Open
) -> None:
    first, second, third = _given_up(deadly, "one", "two", "three")
    opened = page_at(f"{deadly.url}/queues/dead", name="letters-many")
    page = opened.page
    page.get_by_role("button", name="Replay selected").click()
    expect(page.locator("#notice")).to_contain_text("No letter was ticked")
    page.get_by_label("All that are listed").check()
    expect(page.locator("tbody input:checked")).to_have_count(3)
    page.locator(f"#letter-{second}").get_by_role("checkbox").uncheck()
    mercy(folder).touch()
    opened.shot("-ticked")
    page.get_by_role("button", name="Replay selected").click()
    expect(page.locator("#notice")).to_contain_text("2 dead letters were replayed.")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator(f"#letter-{second}")).to_be_visible()
    told = page.locator("#standing .order").first
    told.get_by_text("What became of each").click()
    for id in (first, third):
        expect(told.locator(f'a[href$="{id}"]')).to_be_visible()
    opened.shot("-replayed")
    opened.assert_fits()
    told.get_by_role("listitem").first.get_by_role("link").last.click()
    expect(page.locator("#live .status")).to_have_text("succeeded")


def _given_up(node: RunningNode, *notes: str) -> list[str]:
    """Ids of dead letters with these notes."""
    ids = [_sent(node.client, note) for note in notes]
    eventually(lambda: set(ids) <= _dead(node), within=30)
    return ids


def _sent(client: httpx.Client, note: str) -> str:
    answer = client.post("/invoke/dies", json={"note": note}, headers=ASYNC)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def _dead(node: RunningNode) -> set[str]:
    return {item["id"] for item in node.client.get("/dead-letters").json()["items"]}


def _discard(page: Page, node: RunningNode, id: str) -> None:
    page.goto(f"{node.url}/queues/dead")
    row = page.locator(f"#letter-{id}")
    row.get_by_text("Discard…").click()
    row.get_by_role("button", name="Discard it for good").click()
    expect(row).to_have_count(0)
