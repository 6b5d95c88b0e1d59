"""The page of all invocations: its rows, its filters, what is new, and what is older."""

import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from console.app import Console
from console.invocations import ON_A_PAGE, InvocationList
from console.sources import Sources
from runtime.errors import Unavailable
from runtime.ledger import Ledger
from runtime.model import TERMINAL, Device, Invocation, Message, Payload, Status, new_id
from tests.console.test_app import HTML, PARTIAL, Front, sources

PATH = "/invocations"


class Recorder:
    healthy = True

    async def flush(self) -> None:
        return


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    ledger = await Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    yield ledger
    await ledger.close()


@pytest.fixture
async def client(ledger: Ledger) -> AsyncIterator[httpx.AsyncClient]:
    given = cast(Any, sources())
    given.ledger = ledger
    given.invocations = SimpleNamespace(recorder=Recorder())
    given.catalog = SimpleNamespace(functions={"matmul": None, "image_filter": None})
    console = Console(cast(Sources, given), [InvocationList(cast(Sources, given))])
    transport = httpx.ASGITransport(Front(console))
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        yield client
    await console.close()


def make(
    status: Status = Status.SUCCEEDED, device: Device = "cpu", age: float = 10.0, **fields: Any
) -> Invocation:
    at = time.time() - age
    id, function = fields.pop("id", None) or new_id(), fields.pop("function", "matmul")
    message = Message(id, function, device, Payload(), at)
    if status in TERMINAL:
        fields = {"started_at": at + 0.25, "finished_at": at + 1.0} | fields
    return Invocation(message, "auto", "v1", status, **fields)


def ids(html: str) -> list[str]:
    return re.findall(r'<tr id="row-([^"]+)"', html)


async def asked(client: httpx.AsyncClient, path: str = PATH, **query: str) -> str:
    answer = await client.get(path, params=query or None, headers=HTML)
    assert answer.status_code == 200, answer.text
    return answer.text


async def part(client: httpx.AsyncClient, html: str, name: str) -> str:
    """What a live region of a page gets when it asks."""
    found = re.search(rf'id="{name}" data-live hx-get="([^"]+)"', html)
    assert found, name
    headers = PARTIAL | {"HX-Target": f"p#{name}"}
    answer = await client.get(found[1].replace("&amp;", "&"), headers=headers)
    assert answer.status_code == 200
    assert not answer.text.startswith("<!doctype")
    return answer.text


async def test_a_row_says_what_where_how_and_how_long(
    client: httpx.AsyncClient, ledger: Ledger
) -> None:
    timings = {"queue": 0.05, "start": 0.2, "run": 0.75}
    invocation = make(device="gpu", replica="matmul-gpu-simulated-1", timings=timings, cold=True)
    await ledger.write([invocation])
    html = await asked(client)
    assert ids(html) == [invocation.id]
    assert f'href="/invocations/{invocation.id}"' in html
    assert "waited 50.0 ms, cold start 200 ms, ran 750 ms" in html
    assert "succeeded" in html and ">GPU<" in html and "simulated" in html and "1.00 s" in html
    assert "style=" not in html


async def test_programs_get_what_the_api_says(client: httpx.AsyncClient) -> None:
    assert (await client.get(PATH)).text == "api /invocations"
    assert (await client.get(f"{PATH}.json", headers=HTML)).text == "api /invocations"


async def test_filters_choose_and_stay_in_the_form(
    client: httpx.AsyncClient, ledger: Ledger
) -> None:
    failed, gpu = make(Status.FAILED), make(device="gpu")
    await ledger.write([failed, gpu, make(function="image_filter")])
    html = await asked(client, status="failed", function="matmul", device="", slower="0.5")
    assert ids(html) == [failed.id]
    assert '<option value="failed" selected>' in html and 'value="matmul"' in html
    assert ids(await asked(client, device="gpu")) == [gpu.id]
    assert ids(await asked(client, id=gpu.id[:31])) == [gpu.id]


async def test_nothing_yet_and_nothing_that_matches_are_told_apart(
    client: httpx.AsyncClient, ledger: Ledger
) -> None:
    html = await asked(client)
    assert "No invocations yet" in html
    assert "curl -X POST http://here/invoke/image_filter" in html
    await ledger.write([make()])
    html = await asked(client, status="dead", every="5")
    assert "No invocation matches" in html
    assert 'href="/invocations?every=5">Clear filters</a>' in html


async def test_without_a_function_the_way_to_one_is_shown(
    client: httpx.AsyncClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(InvocationList, "_example", lambda self, request: None)
    assert "There are no functions yet" in await asked(client)


async def test_new_ones_wait_until_somebody_asks_for_them(
    client: httpx.AsyncClient, ledger: Ledger
) -> None:
    old = make()
    await ledger.write([old])
    assert "new — show" not in await part(client, await asked(client), "news")
    html = await asked(client, function="matmul")
    await ledger.write([make(age=5.0) for _ in range(12)] + [make(age=1.0, function="other")])
    news = await part(client, html, "news")
    assert "12 new — show" in news and 'href="/invocations?function=matmul"' in news
    assert ids(await part(client, html, "rows")) == [old.id]
    assert len(ids(await asked(client, function="matmul"))) == 13


async def test_very_many_new_ones_are_not_counted_to_their_end(
    client: httpx.AsyncClient, ledger: Ledger
) -> None:
    html = await asked(client)
    await ledger.write([make() for _ in range(1200)])
    assert "1,000+ new — show" in await part(client, html, "news")


async def test_rows_are_brought_up_to_date_in_their_places(
    client: httpx.AsyncClient, ledger: Ledger
) -> None:
    running = make(Status.RUNNING, started_at=time.time() - 9.0)
    await ledger.write([running])
    html = await asked(client)
    assert "data-over" not in html and "so far" in html
    running.status, running.finished_at = Status.SUCCEEDED, time.time()
    await ledger.write([running, make(age=1.0)])
    rows = await part(client, html, "rows")
    assert ids(rows) == [running.id]
    assert "succeeded" in rows and "data-over" in rows


async def test_pages_follow_one_another(client: httpx.AsyncClient, ledger: Ledger) -> None:
    written = [make(age=100.0 + n) for n in range(2 * ON_A_PAGE + 1)]
    await ledger.write(written)
    html, seen = await asked(client, device="cpu"), list[str]()
    for _ in range(2):
        seen += ids(html)
        following = re.search(r'href="([^"]+)" rel="next"', html)
        assert following
        html = await asked(client, following[1].replace("&amp;", "&"))
        assert 'id="news"' not in html and "To the newest" in html
    assert seen + ids(html) == [invocation.id for invocation in written]
    assert 'rel="next"' not in html


async def test_it_says_how_far_it_looked(
    client: httpx.AsyncClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger.search, "_most", 20)
    await ledger.write([make(age=100.0 + n, cold=n > 25) for n in range(30)])
    html = await asked(client, cold="yes")
    assert not ids(html) and "Nothing found so far" in html and "Search further" in html
    following = re.search(r'href="([^"]+)" rel="next"', html)
    assert following
    assert len(ids(await asked(client, following[1].replace("&amp;", "&")))) == 4


async def test_what_cannot_be_understood_is_said(client: httpx.AsyncClient) -> None:
    for query, said in (("status=lost", "status: is"), ("older=x", "is no place in a list")):
        answer = await client.get(f"{PATH}?{query}", headers=HTML)
        assert answer.status_code in (400, 422) and said in answer.text


async def test_a_ledger_that_is_away_is_a_page_that_says_so(
    client: httpx.AsyncClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> Any:
        raise Unavailable("the ledger cannot be read (no such host): try again", 5)

    monkeypatch.setattr(ledger.search, "find", away)
    answer = await client.get(PATH, headers=HTML)
    assert answer.status_code == 503 and "the ledger cannot be read" in answer.text


async def test_names_that_are_markup_stay_text(client: httpx.AsyncClient, ledger: Ledger) -> None:
    await ledger.write([make(function="<script>x</script>" + "n" * 60)])
    html = await asked(client)
    assert "<script>x" not in html and "&lt;script&gt;x" in html
