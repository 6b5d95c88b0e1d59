"""Which requests are the console's, and in which of three ways each is answered."""

from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Send
from starlette.types import Scope as Request_

from console.app import POLICY, Console, see_other
from console.page import Action, Again, Page, View
from console.sources import Sources
from runtime.access import Identity
from runtime.errors import Forbidden, NotFound, Unavailable
from runtime.scopes import Needs, Scope

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PARTIAL = {"HX-Request": "true", "HX-Request-Type": "partial", "Accept": "text/html, */*"}


class Census:
    async def tallied(self) -> Any:
        raise Unavailable("the ledger is away", 1)


class Paper:
    """A section for tests: a page of its own, one that the API has too, and one that fails."""

    def __init__(self) -> None:
        self.pages = [
            Page("/paper", "signin.html", "paper", self.show),
            Page("/letters/{id}", "signin.html", "paper", self.show, twin=True),
            Page("/lost", "signin.html", "paper", self.lose),
            Page("/board", "signin.html", "paper", self.show, shared=True),
        ]
        self.actions = [Action("/paper/burn", self.burn), Action("/paper/fold", self.fold)]
        self.burnt = self.shown = 0

    async def show(self, request: Request) -> View:
        self.shown += 1
        return {"next": request.path_params.get("id", "none"), "failed": False, "wait": None}

    async def lose(self, request: Request) -> View:
        raise NotFound("there is no such paper; look at /paper")

    async def burn(self, request: Request) -> Response:
        self.burnt += 1
        return see_other("/paper")

    async def fold(self, request: Request) -> Again:
        return Again(self.pages[0], {"next": "folded", "failed": True, "wait": None}, 422)


def sources(**settings: Any) -> Sources:
    values = {
        "read_only": False,
        "broker_url": "amqp://guest:secret@host/",
        "ledger": "sqlite:///x",
    }
    given = SimpleNamespace(
        settings=SimpleNamespace(**values | settings),
        fleet=SimpleNamespace(faults=list, simulated=False, devices=lambda spec: []),
        invocations=SimpleNamespace(recorder=SimpleNamespace(healthy=True)),
        ledger=SimpleNamespace(census=Census()),
        catalog=SimpleNamespace(functions={}),
        latest_audit=SimpleNamespace(look=lambda: None),
        access=SimpleNamespace(enabled=False, needs=Needs()),
    )
    return cast(Sources, given)


class Front:
    """The console before an API that answers everything else with `api PATH`."""

    def __init__(self, console: Console) -> None:
        self._console = console

    async def __call__(self, scope: Request_, receive: Receive, send: Send) -> None:
        app = self._console.takes(scope) or PlainTextResponse(f"api {scope['path']}")
        await app(scope, receive, send)


@pytest.fixture
def paper() -> Paper:
    return Paper()


@pytest.fixture
async def client(paper: Paper) -> Any:
    console = Console(sources(), [paper])
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(Front(console)), base_url="http://here"
    ) as client:
        yield client
    await console.close()


async def test_a_browser_gets_the_whole_page_with_its_policy(client: httpx.AsyncClient) -> None:
    answer = await client.get("/paper", headers=HTML)
    assert answer.status_code == 200
    assert answer.text.startswith("<!doctype html>")
    assert answer.headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    assert "HX-Request" in answer.headers["vary"]


async def test_htmx_gets_the_block_it_asks_for_and_the_pulse(client: httpx.AsyncClient) -> None:
    answer = await client.get("/paper", headers=PARTIAL | {"HX-Target": "main#content"})
    assert not answer.text.startswith("<!doctype")
    assert 'name="key"' in answer.text
    assert 'hx-swap-oob="outerMorph"' in answer.text


async def test_htmx_gets_the_whole_page_for_a_block_there_is_not(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/paper", headers=PARTIAL | {"HX-Target": "div#nothing"})
    assert answer.text.startswith("<!doctype html>")


async def test_a_refresh_of_what_is_shared_is_made_once_for_all(
    client: httpx.AsyncClient, paper: Paper
) -> None:
    headers = PARTIAL | {"HX-Target": "main#content"}
    answers = [await client.get("/board", headers=headers) for _ in range(5)]
    assert len({answer.text for answer in answers}) == 1
    assert paper.shown == 1
    await client.get("/board?range=1h", headers=headers)
    await client.get("/board", headers=HTML)
    assert paper.shown == 3


async def test_a_refresh_is_shared_only_with_those_who_may_the_same(paper: Paper) -> None:
    given = sources()
    keys = {
        name: Identity(name, name, frozenset(scopes), "key")
        for name, scopes in {"looks": (Scope.READ,), "runs": (Scope.READ, Scope.INVOKE)}.items()
    }
    access = cast(Any, given.access)
    access.enabled, access.who = True, lambda headers: keys[headers[b"key"].decode()]
    console = Console(given, [paper])
    transport = httpx.ASGITransport(Front(console))
    headers = PARTIAL | {"HX-Target": "main#content"}
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        for name in ("looks", "runs", "looks"):
            await client.get("/board", headers=headers | {"Key": name})
    await console.close()
    assert paper.shown == 2


async def test_json_behind_the_path_gives_the_view(client: httpx.AsyncClient) -> None:
    answer = await client.get("/paper.json", headers=HTML)
    assert answer.json() == {"next": "none", "failed": False, "wait": None}


async def test_a_program_gets_the_api(client: httpx.AsyncClient) -> None:
    assert (await client.get("/letters/7")).text == "api /letters/7"
    assert (await client.get("/paper", headers={"Accept": "*/*"})).text == "api /paper"


async def test_a_browser_gets_a_page_where_a_program_gets_the_api(
    client: httpx.AsyncClient,
) -> None:
    assert 'value="7"' in (await client.get("/letters/7", headers=HTML)).text
    forced = await client.get("/letters/7.json", headers=HTML)
    assert forced.text == "api /letters/7"


async def test_json_of_what_is_no_page_stays_the_apis(client: httpx.AsyncClient) -> None:
    assert (await client.get("/openapi.json", headers=HTML)).text == "api /openapi.json"


async def test_an_error_is_a_page_that_says_what_to_do(client: httpx.AsyncClient) -> None:
    answer = await client.get("/lost", headers=HTML)
    assert answer.status_code == 404
    assert "look at /paper" in answer.text


async def test_an_error_of_a_refresh_goes_where_notices_are(client: httpx.AsyncClient) -> None:
    answer = await client.get("/lost", headers=PARTIAL | {"HX-Target": "div#live"})
    assert answer.status_code == 404
    assert answer.headers["hx-retarget"] == "#notice"
    assert "<html" not in answer.text


async def test_a_form_is_answered_by_303(client: httpx.AsyncClient, paper: Paper) -> None:
    answer = await client.post("/paper/burn", headers=HTML)
    assert (answer.status_code, answer.headers["location"]) == (303, "/paper")
    assert paper.burnt == 1


async def test_a_form_that_cannot_be_taken_gets_its_page_again(client: httpx.AsyncClient) -> None:
    answer = await client.post("/paper/fold")
    assert answer.status_code == 422
    assert 'value="folded"' in answer.text
    assert answer.headers["content-security-policy"] == POLICY


async def test_a_read_only_console_refuses_what_its_forms_would_do() -> None:
    paper = Paper()
    console = Console(sources(read_only=True), [paper])
    transport = httpx.ASGITransport(Front(console))
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        answer = await client.post("/paper/burn", headers=HTML)
        assert answer.status_code == 403
        assert "read-only" in answer.text
        assert (await client.get("/paper", headers=HTML)).status_code == 200
    assert paper.burnt == 0
    await console.close()


async def test_a_theme_is_kept_in_a_cookie_and_rendered_by_the_server(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post("/theme", data={"theme": "dark", "next": "/paper?range=1h"})
    assert answer.headers["location"] == "/paper?range=1h"
    assert 'data-theme="dark"' in (await client.get("/paper", headers=HTML)).text


async def test_a_theme_that_does_not_exist_is_not_kept(client: httpx.AsyncClient) -> None:
    answer = await client.post("/theme", data={"theme": '"><script>', "next": "/"})
    assert "set-cookie" not in answer.headers


async def test_the_old_address_leads_to_the_overview(client: httpx.AsyncClient) -> None:
    answer = await client.get("/console", headers=HTML)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


async def test_a_static_file_is_kept_for_ever_and_compressed(client: httpx.AsyncClient) -> None:
    answer = await client.get("/static/lumbre.css", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert "immutable" in answer.headers["cache-control"]


@pytest.mark.parametrize("path", ["/static/%2e%2e/app.py", "/static/nothing.css", "/static/"])
async def test_a_static_file_there_is_not_is_a_404(client: httpx.AsyncClient, path: str) -> None:
    request = client.build_request("GET", "http://here/")
    request.url = request.url.copy_with(raw_path=path.encode())
    assert (await client.send(request)).status_code == 404


async def test_the_password_of_the_broker_is_on_no_page(client: httpx.AsyncClient) -> None:
    text = (await client.get("/paper", headers=HTML)).text
    assert "secret" not in text
    assert "amqp://guest:***@host/" in text


@given(st.text(alphabet="/\\:.?#@htpsevil\n\r\t %", max_size=20))
def test_a_redirect_never_leads_to_another_host(path: str) -> None:
    location = see_other(path).headers["location"]
    assert location.startswith("/")
    assert not location.startswith(("//", "/\\"))


def test_an_action_needs_the_scope_it_names() -> None:
    given = sources()
    Console(given, [Paper()])
    assert given.access.needs.of("POST", "/paper/burn").scopes == {Scope.INVOKE}


async def test_who_may_not_have_a_page_is_told_so_by_a_page() -> None:
    console = Console(sources(), [Paper()])
    transport = httpx.ASGITransport(console.refuse(Forbidden("this key lacks the scope read")))
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        answer = await client.get("/", headers=HTML)
    assert answer.status_code == 403
    assert "lacks the scope read" in answer.text
    await console.close()


async def test_the_error_of_a_page_as_json_is_a_problem(client: httpx.AsyncClient) -> None:
    answer = await client.get("/lost.json")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert "look at /paper" in answer.json()["detail"]


async def test_a_static_file_is_only_read(client: httpx.AsyncClient) -> None:
    assert (await client.post("/static/lumbre.css")).status_code == 405
