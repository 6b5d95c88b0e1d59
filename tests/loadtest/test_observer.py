"""What is seen of a node while the load runs, and what is said where there is nothing to see."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from loadtest.observer import Observer, Unobserved, decision, described, seen
from tests.loadtest.standin import LOOPBACK

FUNCTIONS = {
    "items": [
        {
            "name": "matmul",
            "devices": ["cpu", "gpu"],
            "error": None,
            "backlog": {
                "cpu": {"ready": 3, "unacknowledged": 2, "dead": 1},
                "gpu": {"ready": 0, "unacknowledged": 0, "dead": 0},
            },
            "replicas": {"cpu": {"starting": 1, "ready": 2, "busy": 3, "draining": 4}, "gpu": {}},
        },
        {"name": "broken", "devices": [], "error": {"type": "x"}, "backlog": {}, "replicas": {}},
    ]
}
DECISION = {
    "at": "2026-05-09T12:00:03.500000Z",
    "function": "matmul",
    "device": "gpu",
    "before": 0,
    "after": 1,
    "backlog": 2,
    "reason": "backlog 2, target 2",
}
BEGAN = 1778328000.0  # 2026-05-09T12:00:00Z


class Node:
    """Answers GET with what a path stands for; a number is a status."""

    def __init__(self, pages: dict[str, Any]) -> None:
        self.pages = pages
        self.asked: list[str] = []

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        return f"http://{LOOPBACK}:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split(" ")[1].partition("?")[0]
        self.asked.append(path)
        page = self.pages.get(path, 404)
        status, body = (page, b"") if isinstance(page, int) else (200, _body(page))
        writer.write(
            f"HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
            "".encode()
            + body
        )
        await writer.drain()
        writer.close()


def _body(page: Any) -> bytes:
    return page if isinstance(page, bytes) else orjson.dumps(page)


def pages(**more: Any) -> dict[str, Any]:
    return {
        "/": {"name": "lumbre"},
        "/functions": FUNCTIONS,
        "/openapi.json": {"info": {"version": "0.1.0"}},
        "/decisions": {"items": [DECISION, {**DECISION, "at": "2026-05-09T11:59:59Z"}]},
        "/audit": {"holds": True, "accepted": 5},
        **{f"/{name}": page for name, page in more.items()},
    }


async def test_a_node_tells_what_it_is_and_what_happens() -> None:
    node = Node(pages())
    async with node as url, Observer(url) as observer:
        facts = dict(await observer.node())
        task = asyncio.create_task(observer.watch(time.monotonic()))
        while not observer.observed:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        decided = await observer.decided(BEGAN, 10.0)
        audit = await observer.audit()
        assert observer.conclude() == ()
    assert facts["version"] == "0.1.0"
    assert facts["functions"] == "matmul (cpu, gpu)"
    assert facts["devices"] == "cpu, gpu"
    cpu, gpu = observer.observed[:2]
    assert (cpu.function, cpu.device) == ("matmul", "cpu")
    assert (cpu.ready, cpu.unacknowledged, cpu.dead) == (3, 2, 1)
    assert (cpu.starting, cpu.idle, cpu.busy, cpu.draining) == (1, 2, 3, 4)
    assert (gpu.device, gpu.idle) == ("gpu", 0)
    (one,) = decided  # the other was before the load
    assert (one.at, one.before, one.after, one.reason) == (3.5, 0, 1, "backlog 2, target 2")
    assert audit == {"holds": True, "accepted": 5}


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"/": {"name": "other"}},
        {"/": b"<html>"},
        {"/": [1]},
        pages(functions=500),
        pages(functions={"items": 3}),
        pages(functions={"items": [{"name": "f", "error": None}]}),
    ],
)
async def test_a_server_that_is_no_node_works_and_is_a_note(wrong: dict[str, Any]) -> None:
    node = Node(wrong)
    async with node as url, Observer(url) as observer:
        facts = await observer.node()
        await observer.watch(time.monotonic())  # returns at once: there is nothing to see
        assert await observer.decided(BEGAN, 10) == ()
        assert await observer.audit() is None
        (note,) = observer.conclude()
    assert facts == [("url", url)]
    assert note.startswith("the node was not observed: ")
    assert "/decisions" not in node.asked


async def test_what_cannot_be_asked_at_the_end_is_a_note() -> None:
    node = Node(pages(decisions=500, audit=b"no JSON"))
    async with node as url, Observer(url) as observer:
        await observer.node()
        assert await observer.decided(BEGAN, 10) == ()
        assert await observer.audit() is None
        decisions, audit = observer.conclude()
    assert "decisions are not known" in decisions and "500" in decisions
    assert "audit could not be asked" in audit


async def test_looks_that_get_no_answer_are_counted() -> None:
    node = Node(pages())
    async with node as url, Observer(url) as observer:
        await observer.node()
        node.pages["/functions"] = 503
        task = asyncio.create_task(observer.watch(time.monotonic()))
        while node.asked.count("/functions") < 2:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert observer.conclude() == ("1 look at the node's backlog and replicas got no answer",)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: decision({"at": "yesterday"}, 0.0),
        lambda: seen([{"name": "f", "backlog": {"cpu": {}}, "replicas": {}}], 0.0),
        lambda: described([{"name": "f"}], "1"),
    ],
)
def test_another_shape_is_no_observation(ask: Callable[[], Awaitable[None]]) -> None:
    with pytest.raises(Unobserved):
        ask()
