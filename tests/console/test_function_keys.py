"""A function's form where API keys are asked for."""

import asyncio
import html
import time
from pathlib import Path
from typing import Any

import httpx

from runtime.keys import new_key
from runtime.ledger import Ledger
from runtime.scopes import Scope
from tests.support import NodeFactory, RunningNode, eventually

FUNCTIONS = Path(__file__).parent / "form_functions"
HTML = {"Accept": "text/html"}
RATE = 0.1  # invocations a second


def client_of(node: RunningNode, *scopes: Scope, rate: float | None = None) -> httpx.Client:
    """A client with a key of these scopes."""
    key, text = new_key("-".join(scopes), scopes, time.time(), rate=rate)

    async def add() -> None:
        ledger = await Ledger.open(f"sqlite:///{node.state / 'ledger.db'}")
        await ledger.keys.add(key)
        await ledger.close()

    asyncio.run(add())
    headers = {**HTML, "Authorization": f"Bearer {text}"}
    return httpx.Client(base_url=node.url, headers=headers, timeout=60)


def test_a_form_needs_a_key_that_may_invoke_and_counts_all_it_starts(
    start_node: NodeFactory,
) -> None:
    node = start_node(FUNCTIONS, LUMBRE_SIMULATE_GPU="1")
    files: Any = [("action", (None, b"both")), ("file.first", ("a.png", b"x", "image/png"))]
    url = "/functions/digest/run"
    with (
        client_of(node, Scope.READ) as reader,
        client_of(node, Scope.READ, Scope.INVOKE, rate=RATE) as caller,
    ):
        eventually(lambda: node.client.get("/functions/digest").status_code == 401)
        eventually(lambda: caller.get("/functions/digest").status_code == 200)
        assert reader.post(url, files=files).status_code == 403
        answer = caller.post(url, files=files)
        assert "ids=" in answer.headers["location"]
        assert caller.post(url, files=files).status_code == 429
        program = {"Accept": "application/json"}
        answer = caller.post("/invoke/mirror", content=b"x", headers=program)
        assert answer.status_code == 429
        assert 15 <= int(answer.headers["Retry-After"]) <= 20  # for two, at one in ten seconds
        shown = html.unescape(reader.get("/functions/digest").text)
        assert 'Authorization: Bearer $LUMBRE_API_KEY"' in shown
    with client_of(node, Scope.ADMIN) as admin:
        eventually(lambda: admin.get("/functions/digest").status_code == 200)
        assert admin.get("/audit").json()["accepted"] == 2
