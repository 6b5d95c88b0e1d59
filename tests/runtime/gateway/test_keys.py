"""API keys over HTTP, against a node that runs: who is let in, and what everybody else is told."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from runtime.keys import Key, new_key
from runtime.ledger import Ledger
from runtime.scopes import Scope
from tests.runtime.gateway.asking import ASYNC, FUNCTIONS, problem
from tests.support import ROOT, NodeFactory, RunningNode, eventually

SEEN = 5.0  # seconds within which a node knows of a change
EVENTS = {"Accept": "text/event-stream"}
PAGE = {"Accept": "text/html"}


class Keyring:
    """Keys of a node's ledger, made beside it while it runs."""

    def __init__(self, node: RunningNode) -> None:
        self.node = node
        self._url = f"sqlite:///{node.state / 'ledger.db'}"

    def make(self, *scopes: Scope, rate: float | None = None) -> tuple[Key, str]:
        made, text = new_key("-".join(scopes), scopes, time.time(), rate=rate)

        async def add() -> None:
            ledger = await Ledger.open(self._url)
            await ledger.keys.add(made)
            await ledger.close()

        asyncio.run(add())
        return made, text

    def revoke(self, key: Key) -> None:
        async def change() -> None:
            ledger = await Ledger.open(self._url)
            await ledger.keys.revoke(key.id, time.time())
            await ledger.close()

        asyncio.run(change())

    def client(self, text: str | None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {text}"} if text else {}
        return httpx.Client(base_url=self.node.url, headers=headers, timeout=60)


@pytest.fixture(scope="module")
def keyring(start_node: NodeFactory) -> Keyring:
    return Keyring(start_node(FUNCTIONS))


@pytest.fixture(scope="module")
def keys(keyring: Keyring) -> dict[Scope, str]:
    """A key for each scope, once the node knows of them."""
    texts = {scope: keyring.make(scope)[1] for scope in Scope}
    with keyring.client(None) as anybody:
        eventually(lambda: anybody.get("/functions").status_code == 401, SEEN)
        for text in texts.values():
            sent = {"Authorization": f"Bearer {text}"}
            eventually(lambda: anybody.get("/", headers=sent).status_code != 401, SEEN)  # noqa: B023
    return texts


@pytest.fixture
def anybody(keyring: Keyring, keys: dict[Scope, str]) -> Iterator[httpx.Client]:
    with keyring.client(None) as client:
        yield client


@pytest.fixture
def invoker(keyring: Keyring, keys: dict[Scope, str]) -> Iterator[httpx.Client]:
    with keyring.client(keys[Scope.INVOKE]) as client:
        yield client


@pytest.fixture
def reader(keyring: Keyring, keys: dict[Scope, str]) -> Iterator[httpx.Client]:
    with keyring.client(keys[Scope.READ]) as client:
        yield client


@pytest.fixture
def admin(keyring: Keyring, keys: dict[Scope, str]) -> Iterator[httpx.Client]:
    with keyring.client(keys[Scope.ADMIN]) as client:
        yield client


@pytest.mark.parametrize(
    "call",
    [
        "POST /invoke/add",
        "POST /invoke/no_such_function",
        "GET /functions",
        "GET /invocations/unknown",
        "PUT /invocations/mine?function=add",
        "POST /batches?function=add",
        "GET /metrics",
        "POST /audit/repair",
        "GET /no/such/path",
        "OPTIONS /functions",
    ],
)
def test_without_a_key_everything_is_a_401_that_says_what_to_do(
    anybody: httpx.Client, call: str
) -> None:
    method, _, path = call.partition(" ")
    answer = anybody.request(method, path, json={"a": 1} if method != "GET" else None)
    told = problem(answer, 401)
    assert told["type"] == "lumbre:Unauthorized"
    assert "Authorization: Bearer KEY" in told["detail"] and "lumbre keys create" in told["detail"]
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_health_is_open_to_everybody(anybody: httpx.Client) -> None:
    assert anybody.get("/healthz").status_code == 200
    assert anybody.get("/readyz").status_code == 200


def test_a_key_that_may_invoke_runs_and_reads_its_own_and_lists_nothing(
    invoker: httpx.Client,
) -> None:
    answer = invoker.post("/invoke/add", json={"a": 1})
    assert (answer.status_code, answer.json()) == (200, 2)
    own = f"/invocations/{answer.headers['Invocation-Id']}"
    for path in (own, f"{own}/result", f"{own}/logs"):
        assert invoker.get(path).status_code == 200
    assert invoker.post(f"{own}/replay").json() == 2
    assert invoker.put("/invocations/mine-1?function=add", json={"a": 2}).json() == 3
    assert invoker.delete("/invocations/mine-1").status_code == 409  # let in, and too late
    for path in ("/invocations", "/functions", "/metrics", "/batches", "/"):
        told = problem(invoker.get(path), 403)
        assert "the scope read or admin" in told["detail"]
    assert "the scope admin" in problem(invoker.post("/audit/repair"), 403)["detail"]


def test_a_key_that_may_read_changes_nothing(reader: httpx.Client) -> None:
    for path in ("/", "/functions", "/functions/add", "/invocations", "/metrics", "/audit"):
        assert reader.get(path).status_code == 200
    before = reader.get("/invocations").json()["items"]
    for method, path in (("POST", "/invoke/add"), ("PUT", "/invocations/new-1?function=add")):
        told = problem(reader.request(method, path, json={"a": 1}), 403)
        assert "the scope invoke or admin, and the API key 'read' has read" in told["detail"]
    problem(reader.post("/dead-letters/discard", json={"function": "add", "all": True}), 403)
    assert reader.get("/invocations").json()["items"] == before


def test_a_key_for_everything_does_everything(admin: httpx.Client) -> None:
    assert admin.post("/invoke/add", json={"a": 1}).json() == 2
    assert admin.post("/audit/repair").status_code == 200
    assert admin.get("/dead-letters").status_code == 200


def test_a_stream_of_events_needs_a_key_as_all_else(
    invoker: httpx.Client, anybody: httpx.Client
) -> None:
    problem(anybody.post("/invoke/stream", json={"n": 2}, headers=EVENTS), 401)
    with invoker.stream("POST", "/invoke/stream", json={"n": 2}, headers=EVENTS) as answer:
        text = answer.read().decode()
        id = answer.headers["Invocation-Id"]
    assert text.count("event: progress") == 2 and "event: succeeded" in text
    assert "event: succeeded" in invoker.get(f"/invocations/{id}/events").text
    problem(anybody.get(f"/invocations/{id}/events"), 401)


def test_a_batch_needs_a_key_and_is_read_by_who_sent_it(
    invoker: httpx.Client, reader: httpx.Client, anybody: httpx.Client
) -> None:
    def send(client: httpx.Client) -> httpx.Response:
        headers = {"Content-Type": "application/x-ndjson"}
        body = b'{"a": 1}\n{"a": 2}\n'
        return client.post("/batches?function=add", content=body, headers=headers)

    problem(send(anybody), 401)
    problem(send(reader), 403)
    link = send(invoker).headers["Location"]
    assert invoker.get(f"{link}/results?wait=1").text.count("\n") == 2
    assert invoker.get(link).status_code == reader.get(link).status_code == 200
    problem(invoker.get("/batches"), 403)


def test_a_wrong_key_is_told_so(keyring: Keyring, keys: dict[Scope, str]) -> None:
    last = "A" if keys[Scope.READ][-1] != "A" else "B"
    with keyring.client(keys[Scope.READ][:-1] + last) as client:
        assert "there is no such API key" in problem(client.get("/"), 401)["detail"]
        assert problem(client.post("/invoke/add", json={"a": 1}), 401)


def test_a_revoked_key_stops_within_its_time_and_others_go_on(
    keyring: Keyring, reader: httpx.Client
) -> None:
    key, text = keyring.make(Scope.INVOKE)
    with keyring.client(text) as client:
        eventually(lambda: client.post("/invoke/add", json={"a": 1}).status_code == 200, SEEN)
        keyring.revoke(key)
        eventually(lambda: client.post("/invoke/add", json={"a": 1}).status_code == 401, SEEN)
    assert reader.get("/").status_code == 200


def test_over_its_rate_a_key_is_told_when_to_come_again(
    keyring: Keyring, reader: httpx.Client
) -> None:
    _, text = keyring.make(Scope.INVOKE, rate=0.01)
    with keyring.client(text) as client:
        eventually(lambda: client.get("/batches/none").status_code == 404, SEEN)
        assert client.post("/invoke/add", json={"a": 1}, headers=ASYNC).status_code == 202
        answer = client.post("/invoke/add", json={"a": 1})
        assert problem(answer, 429)["type"] == "lumbre:RateExceeded"
        assert 90 <= int(answer.headers["Retry-After"]) <= 100
        for method, path in (("PUT", "/invocations/late?function=add"), ("POST", "/batches")):
            assert client.request(method, path, json={}).status_code == 429
        assert client.get("/batches/none").status_code == 404
    assert reader.get("/invocations/late").status_code == 404


def test_a_batch_counts_every_item_towards_the_rate(keyring: Keyring) -> None:
    _, text = keyring.make(Scope.INVOKE, rate=0.1)
    body = {"function": "add", "items": [{"a": n} for n in range(10)]}
    again = {"Idempotency-Key": "counted-once"}
    with keyring.client(text) as client:
        eventually(lambda: client.get("/batches/none").status_code == 404, SEEN)
        assert client.post("/batches", json=body, headers=again).status_code == 202
        answer = client.post("/invoke/add", json={"a": 1})
        assert problem(answer, 429)
        assert 80 <= int(answer.headers["Retry-After"]) <= 100


# ── browsers ──────────────────────────────────────────────────────────────────────────────────


def test_a_browser_is_led_to_the_sign_in(anybody: httpx.Client) -> None:
    answer = anybody.get("/invocations?status=failed", headers=PAGE)
    assert answer.status_code == 303
    where = urlsplit(answer.headers["Location"])
    assert (where.path, parse_qs(where.query)) == (
        "/signin",
        {"next": ["/invocations?status=failed"]},
    )


def test_somebody_signs_in_reads_and_signs_out(keyring: Keyring, keys: dict[Scope, str]) -> None:
    form = {"key": f" {keys[Scope.READ]}\n", "next": "/functions?range=1h"}
    with keyring.client(None) as browser:
        answer = browser.post("/signin", data=form, headers=PAGE)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/functions?range=1h")
        cookie = answer.headers["Set-Cookie"]
        for manner in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"):
            assert manner in cookie
        assert "Secure" not in cookie
        assert keys[Scope.READ].split("_", 2)[2] not in cookie
        assert browser.get("/functions").status_code == 200
        problem(browser.post("/invoke/add", json={"a": 1}), 403)
        answer = browser.post("/signout", headers=PAGE)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/signin")
        problem(browser.get("/functions"), 401)


def test_a_session_invokes_where_its_key_may_but_not_for_another_site(
    keyring: Keyring, keys: dict[Scope, str]
) -> None:
    with keyring.client(None) as browser:
        browser.post("/signin", data={"key": keys[Scope.INVOKE]})
        assert browser.post("/invoke/add", json={"a": 1}).json() == 2
        for away in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.test"}):
            problem(browser.post("/invoke/add", json={"a": 1}, headers=away), 403)
            problem(browser.put("/invocations/e?function=add", json={}, headers=away), 403)
            problem(browser.post("/signout", headers=away), 403)


@pytest.mark.parametrize("place", [0, 3, 9, 12, 40, 90, -1])
def test_a_changed_cookie_is_no_session(
    keyring: Keyring, keys: dict[Scope, str], place: int
) -> None:
    with keyring.client(None) as browser:
        browser.post("/signin", data={"key": keys[Scope.ADMIN]})
        session = browser.cookies["lumbre_session"]
    changed = list(session)
    changed[place] = "0" if changed[place] != "0" else "1"
    cookie = {"Cookie": f"lumbre_session={''.join(changed)}"}
    with keyring.client(None) as other:
        assert other.get("/", headers={"Cookie": f"lumbre_session={session}"}).status_code == 200
        problem(other.get("/", headers=cookie), 401)


def test_a_wrong_key_leads_back_to_the_form_and_never_elsewhere(anybody: httpx.Client) -> None:
    form = {"key": "lumbre_wrong", "next": "//evil.test/"}
    answer = anybody.post("/signin", data=form, headers=PAGE)
    where = urlsplit(answer.headers["Location"])
    assert (answer.status_code, where.netloc, where.path) == (303, "", "/signin")
    assert parse_qs(where.query) == {"failed": ["1"], "next": ["/"]}
    assert "Set-Cookie" not in answer.headers
    problem(anybody.post("/signin", data=form), 401)
    problem(anybody.post("/signin", data={"key": "x" * 10_000}), 413)


def test_a_session_ends_with_its_key_and_lasts_over_a_restart(start_node: NodeFactory) -> None:
    node = start_node(FUNCTIONS)
    keyring = Keyring(node)
    key, text = keyring.make(Scope.READ)
    node.stop()
    node.start()
    with keyring.client(None) as browser:
        browser.post("/signin", data={"key": text})
        node.stop()
        node.start()  # on another port: the cookie is what counts
        session = {"Cookie": f"lumbre_session={browser.cookies['lumbre_session']}"}
    assert node.client.get("/functions", headers=session).status_code == 200
    keyring.make(Scope.READ)  # so that keys stay on
    keyring.revoke(key)
    eventually(lambda: node.client.get("/functions", headers=session).status_code == 401, SEEN)


# ── after those that sign in, since it slows down everybody at this address ───────────────────


def test_many_wrong_keys_are_slowed_down(start_node: NodeFactory) -> None:
    node = start_node(FUNCTIONS, LUMBRE_KEYS="on")
    _, text = Keyring(node).make(Scope.READ)
    answers = [node.client.post("/signin", data={"key": "wrong"}) for _ in range(12)]
    assert {answer.status_code for answer in answers} == {401, 429}
    last = answers[-1]
    assert problem(last, 429) and int(last.headers["Retry-After"]) >= 1
    page = node.client.post("/signin", data={"key": "wrong"}, headers=PAGE)
    assert "wait=" in page.headers["Location"]
    signed = lambda: node.client.post("/signin", data={"key": text}).status_code == 303  # noqa: E731
    eventually(signed, within=SEEN + 3)


# ── read-only, and other addresses ────────────────────────────────────────────────────────────


def test_a_read_only_node_refuses_pages_and_serves_programs(start_node: NodeFactory) -> None:
    node = start_node(FUNCTIONS, LUMBRE_READ_ONLY="1")
    own = {"Sec-Fetch-Site": "same-origin"}
    assert node.client.post("/invoke/add", json={"a": 1}).json() == 2
    told = problem(node.client.post("/invoke/add", json={"a": 1}, headers=own), 403)
    assert "read-only" in told["detail"]
    problem(node.client.delete("/invocations/x", headers=own), 403)
    assert node.client.get("/functions", headers=own).status_code == 200


def test_another_address_is_served_with_a_key_and_refused_without(
    start_node: NodeFactory, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    command = [sys.executable, "-m", "runtime", "up", "--host=127.0.0.2", "--port=0"]
    refused = subprocess.run(
        [*command, f"--state={state}"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert refused.returncode == 1
    assert "LUMBRE_HOST=127.0.0.2" in refused.stderr and "lumbre keys create" in refused.stderr
    made, text = new_key("first", [Scope.READ], time.time())

    async def add() -> None:
        ledger = await Ledger.open(f"sqlite:///{state / 'ledger.db'}")
        await ledger.keys.add(made)
        await ledger.close()

    asyncio.run(add())
    node = start_node(FUNCTIONS, LUMBRE_HOST="127.0.0.2", LUMBRE_STATE=str(state))
    problem(node.client.get("/functions"), 401)
    key = {"Authorization": f"Bearer {text}"}
    assert node.client.get("/functions", headers=key).status_code == 200
