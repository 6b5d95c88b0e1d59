"""The first page: what a newcomer sees, what an operator sees, and each of its three answers."""

import html
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from console.overview import LONGEST, MOST_FAILURES, MOST_FUNCTIONS, Overview
from console.sources import Sources
from runtime.catalog import Broken
from runtime.model import (
    Depth,
    Failure,
    Invocation,
    Message,
    Payload,
    PoolState,
    ReplicaCounts,
    Status,
)
from runtime.rollup import Cell, bin_of
from runtime.scopes import Needs
from runtime.speedup import Speedup
from tests.console.stage import AWAY, LONG, PARTIAL, Stage, shown, spec
from tests.console.windows import START, decision, window

CHARTS = ("times", "speedup", "replicas", "distribution", "throughput", "histogram")
LIVE = PARTIAL | {"HX-Target": "div#live"}
BUSY = Cell(
    {"succeeded": 90, "failed": 10}, {bin_of(0.02): 90}, ready=3, unacknowledged=2, busy=2, idle=1
)


@dataclass
class Front(Stage):
    """The stage, with what the overview asks for besides."""

    rows: list[Invocation] = field(default_factory=list)
    faster: dict[str, Speedup] = field(default_factory=dict)
    folders: list[Path] = field(default_factory=lambda: [Path("/srv/functions")])
    reload: bool = False
    asked: list[str] = field(default_factory=list)

    def sources(self) -> Sources:
        parts = cast(Any, super().sources())
        parts.ledger.find = self._find
        parts.speedups = type("Speedups", (), {"of": staticmethod(self.faster.get)})()
        parts.access.needs = Needs()
        parts.settings.folders, parts.settings.reload = self.folders, self.reload
        return cast(Sources, parts)

    async def _find(self, *, status: str | None = None, limit: int) -> tuple[list[Any], None]:
        self.asked.append(str(status))
        return [row for row in self.rows if status in (None, row.status)][:limit], None


class Outline(HTMLParser):
    """Headings, ids and what else a page is judged by."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.styled: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if id := given.get("id"):
            self.ids.append(id)
        if "style" in given or any(name.startswith("on") for name in given):
            self.styled.append(tag)


def failed(
    number: int, status: Status = Status.FAILED, text: str = "no", function: str = "matmul"
) -> Invocation:
    message = Message(f"{number:032x}", function, "cpu", Payload(), created_at=START + number)
    invocation = Invocation(message, "cpu", "1", status)
    invocation.finished_at = START + number + 1
    invocation.error = Failure("ValueError", text)
    return invocation


@pytest.fixture
def front() -> Iterator[Front]:
    front = Front()
    front.show(spec("matmul", "cpu", "gpu"), spec("vector_add"))
    yield front


@pytest.fixture
async def browser(front: Front) -> AsyncIterator[httpx.AsyncClient]:
    async with shown(front, Overview) as client:
        yield client


async def page(browser: httpx.AsyncClient, path: str = "/", **headers: str) -> str:
    answer = await browser.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.text


def words(text: str) -> str:
    """What is written there, without the JSON of its charts."""
    text = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", text)))


# ── who has just come ─────────────────────────────────────────────────────────────────────────


async def test_with_no_invocation_yet_it_begins_with_what_can_be_run(
    browser: httpx.AsyncClient,
) -> None:
    text = await page(browser)
    outline = Outline(text)
    assert outline.ids.index("welcome") < outline.ids.index("times-title")
    assert 'href="/functions/matmul"' in text and "Run matmul" in words(text)
    assert "curl -X POST http://here/invoke/matmul" in html.unescape(text)
    assert "Nothing has failed yet." in words(text)


async def test_with_no_function_it_shows_how_to_write_one_and_where(
    front: Front, browser: httpx.AsyncClient
) -> None:
    front.specs.clear()
    text = words(await page(browser))
    assert "/srv/functions/hello.py" in text
    assert "def hello(context: Context" in text
    assert "lumbre new hello" in text
    assert "start Lumbre again" in text


async def test_a_node_that_takes_new_files_by_itself_need_not_be_started_again(
    front: Front,
) -> None:
    front.specs.clear()
    front.reload = True
    async with shown(front, Overview) as browser:
        assert "start Lumbre again" not in words(await page(browser))


async def test_the_welcome_goes_with_the_first_invocation_and_stays_away(
    front: Front, browser: httpx.AsyncClient
) -> None:
    front.rows = [failed(1, Status.SUCCEEDED)]
    assert 'id="welcome"' not in await page(browser)
    front.rows = []
    assert 'id="welcome"' not in await page(browser)
    assert front.asked.count("None") == 1  # once there was one, nobody asks again


async def test_a_file_that_cannot_be_used_is_told_above_all(
    front: Front, browser: httpx.AsyncClient
) -> None:
    front.broken["wild"] = Broken("wild", "/srv/wild.py", Failure("SyntaxError", "line 3"))
    assert "/srv/wild.py cannot be used. SyntaxError: line 3" in words(await page(browser))


# ── who operates it ───────────────────────────────────────────────────────────────────────────


async def test_tiles_say_how_much_how_well_how_fast_and_by_whom(
    front: Front, browser: httpx.AsyncClient
) -> None:
    front.window = window({("matmul", "cpu"): [BUSY]}, count=60)
    front.states["matmul", "cpu"] = PoolState(ReplicaCounts(starting=1, ready=1, busy=2), 4)
    front.depths["matmul.cpu"] = Depth(ready=3, unacknowledged=2)
    text = words(await page(browser))
    assert "20.0/min 100 ended in 5 min" in text
    assert "10.0 % failed, timed out or dead" in text
    assert re.search(r"Median time \d\d\.\d ms p95 \d\d\.\d ms", text)
    assert "Replicas ready 3 2 busy, 1 starting" in text
    assert "Backlog 5 3 waiting, 2 running" in text


async def test_every_chart_is_a_figure_with_a_sentence_and_a_table(
    front: Front, browser: httpx.AsyncClient
) -> None:
    front.window = window({("matmul", "cpu"): [BUSY]}, [decision(1, 0, 1, "matmul")])
    front.faster["matmul"] = Speedup(
        3.0,
        2.0,
        4.0,
        {"cpu": 20, "gpu": 20},
        9,
        "same inputs",
        {"cpu": 3.0, "gpu": 1.0},
        True,
        True,
    )
    text = await page(browser)
    for key in CHARTS:
        figure = text[text.index(f'aria-labelledby="{key}-title"') :].partition("</figure>")[0]
        assert f'<lumbre-chart id="{key}"' in figure
        assert f'<details id="{key}-numbers">' in figure
        assert re.search(r"<figcaption>[^<]+\.</figcaption>", figure)
    assert text.count("simulated") > 2


async def test_each_empty_chart_says_why(front: Front, browser: httpx.AsyncClient) -> None:
    text = await page(browser)
    assert "<lumbre-chart" not in text
    assert text.count('<p class="empty">') == len(CHARTS)


async def test_the_last_failures_are_told_in_a_line_each_newest_first(
    front: Front, browser: httpx.AsyncClient
) -> None:
    long = "the sensor <b>melts</b>\nand more " + "x" * 500
    front.rows = [failed(n, text=long) for n in range(20)] + [failed(99, Status.DEAD, "the last")]
    view = (await browser.get("/overview.json")).json()
    assert len(view["failures"]) == MOST_FAILURES
    assert view["failures"][0]["error"] == "ValueError: the last"
    ends = [failure["at"] for failure in view["failures"]]
    assert ends == sorted(ends, reverse=True)
    assert all(len(failure["error"]) <= LONGEST for failure in view["failures"])
    text = await page(browser)
    assert "ValueError: the sensor &lt;b&gt;melts&lt;/b&gt;</div>" in text


async def test_a_function_that_waits_says_why_and_the_busiest_come_first(
    front: Front, browser: httpx.AsyncClient
) -> None:
    front.depths["vector_add.cpu"] = Depth(ready=9)
    view = (await browser.get("/overview.json")).json()
    assert [row["name"] for row in view["functions"]] == ["vector_add", "matmul"]
    (why,) = view["functions"][0]["waiting"]
    assert why["detail"] in words(await page(browser))


async def test_of_500_functions_with_long_names_the_busiest_are_listed(
    front: Front, browser: httpx.AsyncClient
) -> None:
    front.specs.clear()
    front.specs.update({f"{LONG}_{n}": spec(f"{LONG}_{n}", "cpu", "gpu") for n in range(500)})
    front.rows = [failed(1)]
    text = await page(browser)
    assert text.count('id="function-') == MOST_FUNCTIONS
    assert "All 500 functions" in text
    assert len(text) < 200_000


# ── three answers ─────────────────────────────────────────────────────────────────────────────


async def test_the_page_has_one_heading_no_inline_style_and_no_id_twice(
    front: Front, browser: httpx.AsyncClient
) -> None:
    front.window = window({("matmul", "cpu"): [BUSY]})
    front.rows = [failed(n) for n in range(3)]
    for text in (await page(browser), await page(browser, **LIVE)):
        outline = Outline(text)
        assert outline.styled == []
        assert len(outline.ids) == len(set(outline.ids))
    outline = Outline(await page(browser))
    assert outline.tags.count("h1") == 1
    assert {"main", "nav", "header", "footer"} <= set(outline.tags)


async def test_what_htmx_refreshes_is_the_live_region_alone(browser: httpx.AsyncClient) -> None:
    text = await page(browser, **LIVE)
    assert text.lstrip().startswith('<div id="live"')
    assert "<h1" not in text
    live = text.partition('<div id="banner"')[0]
    assert not {"input", "select", "textarea", "form"} & set(Outline(live).tags)


async def test_the_view_is_json_for_a_program(browser: httpx.AsyncClient) -> None:
    answer = await browser.get("/overview.json?range=1h")
    assert answer.headers["content-type"] == "application/json"
    view = answer.json()
    assert view["span"] == "1 h"
    assert set(view["charts"]) == set(CHARTS)


async def test_a_ledger_that_is_away_is_said_and_the_page_has_no_traceback(
    front: Front, browser: httpx.AsyncClient
) -> None:
    front.window = AWAY
    answer = await browser.get("/")
    assert answer.status_code == 503
    assert "the ledger is away" in answer.text
    assert "Traceback" not in answer.text
