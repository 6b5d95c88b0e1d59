"""The dead-letter desk in a browser without scripts, over a real node."""

import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest

from console.letter_views import notice_of
from tests.support import ROOT, NodeFactory, RunningNode, eventually

FUNCTIONS = ROOT / "tests" / "runtime" / "letter_functions"
BROWSER = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}
LIST = "/queues/dead"


@pytest.fixture(scope="module")
def node(start_node: NodeFactory) -> Iterator[RunningNode]:
    node = start_node(FUNCTIONS)
    yield node
    assert node.client.get("/audit").json()["holds"]
    assert "Traceback" not in node.log.read_text()


class Browser:
    """Follows links and sends forms."""

    def __init__(self, node: RunningNode) -> None:
        self.client = httpx.Client(base_url=node.url, headers=BROWSER, timeout=60)
        self.client.follow_redirects = True

    def page(self, url: str, **query: str) -> str:
        answer = self.client.get(url, params=query or None)
        assert answer.status_code == 200, answer.text
        return answer.text

    def send(self, url: str, **fields: Any) -> str:
        answer = self.client.post(url, data=fields)
        assert answer.status_code == 200, answer.text
        return answer.text


@pytest.fixture
def browser(node: RunningNode) -> Iterator[Browser]:
    browser = Browser(node)
    yield browser
    browser.client.close()


def die(node: RunningNode, saved: Path, count: int = 1, **parameters: Any) -> list[str]:
    """Letters of `mortal`, the oldest first; it lives once there is a file at `saved`."""
    ids = []
    for n in range(count):
        given = {"saved": str(saved), "n": n} | parameters
        headers = {"Prefer": "respond-async"}
        ids.append(node.client.post("/invoke/mortal", json=given, headers=headers).json()["id"])
    eventually(lambda: set(ids) <= set(listed(node)), within=60)
    return ids


def listed(node: RunningNode) -> list[str]:
    view = node.client.get("/queues/dead.json?limit=500").json()
    return [letter["id"] for letter in view["letters"]]


def notice(page: str) -> str:
    told = page.partition('<div id="notice"')[2].partition("<div id=")[0]
    return unescape(re.sub(r"<[^>]+>", "", told.partition(">")[2])).strip()


def new_invocation(page: str) -> str:
    found = re.search(r'href="(/invocations/\w+)">its new invocation', page)
    assert found, notice(page)
    return found.group(1)


def test_looking_at_letters_moves_nothing(
    node: RunningNode, browser: Browser, tmp_path: Path
) -> None:
    (id,) = die(node, tmp_path / "saved", n=41)
    first = browser.page(LIST, function="mortal")
    assert "ReplicaDied" in first
    assert "2 attempts" in first
    assert id in first
    before = node.client.get("/queues.json").json()["totals"]["dead"]
    for _ in range(3):
        browser.page(LIST)
        browser.page(f"{LIST}/{id}", function="mortal")
    assert id in listed(node)
    assert node.client.get("/queues.json").json()["totals"]["dead"] == before


def test_one_is_replayed_and_leads_to_its_new_invocation(
    node: RunningNode, browser: Browser, tmp_path: Path
) -> None:
    saved = tmp_path / "saved"
    (id,) = die(node, saved, n=42)
    saved.touch()
    page = browser.send("/queues/replay", letter=f"mortal/{id}", filter="mortal", limit="50")
    assert notice(page) == "1 dead letter was replayed. See its new invocation."
    url = new_invocation(page)
    view = eventually(lambda: _over(node, url))
    assert view["status"] == "succeeded"
    assert view["links"]["replayed_from"] == f"/invocations/{id}"
    assert id not in listed(node)
    again = browser.page(f"{LIST}/{id}", function="mortal")
    assert "It was replayed already" in again


def _over(node: RunningNode, url: str) -> Any:
    view = node.client.get(url).json()
    return view if view["finished_at"] else None


def test_one_is_edited_and_what_changes_is_shown_before_it_goes(
    node: RunningNode, browser: Browser, tmp_path: Path
) -> None:
    saved = tmp_path / "saved"
    (id,) = die(node, saved, n=1, padding="<b>")
    saved.touch()
    url = f"{LIST}/{id}?function=mortal"
    assert "&lt;b&gt;" in browser.page(url)
    edited = json.dumps({"saved": str(saved), "n": 7, "padding": "<i>"})
    shown = browser.send(url, parameters=edited)
    assert '<del><span aria-hidden="true">−</span>' in shown
    assert "&#34;n&#34;: 1" in shown and "&#34;n&#34;: 7" in shown
    assert id in listed(node)  # nothing went yet
    sent = re.search(r'name="parameters" value="([^"]*)"', shown)
    assert sent
    page = browser.send(url, step="send", parameters=unescape(sent.group(1)), device="cpu")
    new = new_invocation(page)
    assert eventually(lambda: _over(node, new))["status"] == "succeeded"
    assert node.client.get(f"{new}/result").json() == 7


def test_what_does_not_fit_the_schema_is_told_and_not_sent(
    node: RunningNode, browser: Browser, tmp_path: Path
) -> None:
    (id,) = die(node, tmp_path / "saved", n=1)
    url = f"{LIST}/{id}?function=mortal"
    shown = browser.send(url, parameters='{"saved": "x", "n": "many"}')
    assert "n: &#34;many&#34; is not of type" in shown
    assert 'value="send"' not in shown
    answer = browser.client.post(url, data={"parameters": '{"saved": 3}', "step": "send"})
    assert answer.status_code == 422
    assert "It was not sent." in answer.text
    assert id in listed(node)


def test_an_unchanged_draft_is_replayed_as_it_was(
    node: RunningNode, browser: Browser, tmp_path: Path
) -> None:
    saved = tmp_path / "saved"
    (id,) = die(node, saved, n=3)
    saved.touch()
    url = f"{LIST}/{id}?function=mortal"
    shown = browser.send(url, parameters=json.dumps({"n": 3, "saved": str(saved)}, indent=8))
    assert "Nothing: these are the parameters it had." in shown
    assert "Replay as it was" in shown
    page = browser.send(url, step="send", same="1", parameters="{}", device="")
    new = new_invocation(page)
    eventually(lambda: _over(node, new))
    assert node.client.get(f"{new}/result").json() == 3


def test_one_is_discarded_and_its_invocation_stays(
    node: RunningNode, browser: Browser, tmp_path: Path
) -> None:
    (id,) = die(node, tmp_path / "saved")
    page = browser.send("/queues/discard", letter=f"mortal/{id}")
    assert notice(page) == "1 dead letter was discarded."
    assert id not in listed(node)
    assert node.client.get(f"/invocations/{id}").json()["status"] == "dead"
    assert "It was discarded." in browser.page(f"{LIST}/{id}", function="mortal")


def test_those_that_are_ticked_are_dealt_with_together(
    node: RunningNode, browser: Browser, tmp_path: Path
) -> None:
    saved = tmp_path / "saved"
    ids = die(node, saved, 5)
    saved.touch()
    ticked = [f"mortal/{id}" for id in ids]
    page = browser.send("/queues/replay", letter=ticked[:3])
    assert notice(page) == "3 dead letters were replayed."
    assert page.count("was replayed as") == 3
    page = browser.send("/queues/discard", letter=ticked[2:])
    assert notice(page).startswith("2 dead letters were discarded. 1 stays")
    assert f"dead letter &#39;{ids[2]}&#39; was replayed as" in page
    assert not set(ids) & set(listed(node))


def test_all_of_a_function_are_replayed(
    node: RunningNode, browser: Browser, tmp_path: Path
) -> None:
    saved = tmp_path / "saved"
    ids = die(node, saved, 4)
    saved.touch()
    page = browser.send("/queues/replay", all="mortal", filter="mortal")
    assert re.match(r"\d+ dead letters were replayed\.", notice(page))
    assert not set(ids) & set(listed(node))


def test_nothing_ticked_does_nothing(browser: Browser) -> None:
    page = browser.send("/queues/replay", filter="mortal", limit="50")
    assert notice(page) == "No letter was ticked: nothing was done."


@pytest.mark.parametrize("path", ["/queues/replay", "/queues/discard"])
def test_a_letter_that_there_is_not_is_told(browser: Browser, path: str) -> None:
    answer = browser.client.post(path, data={"letter": "mortal/nothing"})
    assert answer.status_code == 404
    assert "mortal has no dead letter" in unescape(answer.text)
    assert browser.client.post(path, data={"letter": "nothing"}).status_code == 400


def test_a_page_of_another_site_can_send_nothing(
    node: RunningNode, browser: Browser, tmp_path: Path
) -> None:
    (id,) = die(node, tmp_path / "saved")
    foreign = {"Sec-Fetch-Site": "cross-site"}
    letter = {"letter": f"mortal/{id}"}
    answer = browser.client.post("/queues/discard", data=letter, headers=foreign)
    assert answer.status_code == 403
    assert id in listed(node)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({}, None),
        ({"done": "replayed:3"}, "3 dead letters were replayed."),
        ({"done": "discarded:1", "kept": "2"}, "2 stay: why is told below."),
        ({"done": "going:7"}, "it goes on"),
        ({"done": "<script>:3"}, None),
        ({"done": "replayed:many"}, None),
    ],
)
def test_a_url_tells_what_was_done_and_nothing_else(
    query: dict[str, str], told: str | None
) -> None:
    found = notice_of(query)
    assert (found is None) == (told is None)
    assert told is None or (found and told in found["text"])
