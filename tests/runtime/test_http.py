"""An answer leaves in one piece, and the short cut through uvicorn sends what uvicorn would."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from runtime import http
from runtime.answers import Answer
from runtime.serving import Server

App = Callable[[Scope, Receive, Send], Awaitable[None]]
ASK = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    await Answer(b'{"x":1}', "application/json", {"Invocation-Id": "7"})(scope, receive, send)


async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for piece in (b"one", b"two"):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def served(app: App) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    config = uvicorn.Config(
        app, port=0, http=http.Protocol, ws="none", lifespan="off", log_config=None
    )
    server = Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0)
    host, port = server.servers[0].sockets[0].getsockname()
    reader, writer = await asyncio.open_connection(host, port)
    yield reader, writer
    writer.close()
    await writer.wait_closed()
    server.should_exit = True
    await serving


async def ask(app: App, times: int = 1) -> list[bytes]:
    """The bytes of so many answers to one client, each read up to the end of its body."""
    async with served(app) as (reader, writer):
        answers = []
        for _ in range(times):
            writer.write(ASK)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
            answers.append(head + await reader.readexactly(length))
        return answers


def known(message: bytes) -> list[bytes]:
    """Head lines and body, without the date."""
    head, _, body = message.partition(b"\r\n\r\n")
    return [*(line for line in head.split(b"\r\n") if not line.startswith(b"date:")), body]


async def test_the_short_cut_sends_what_uvicorn_would_send(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (short,) = await ask(answer)
    monkeypatch.setattr(http, "KNOWN", False)
    (long,) = await ask(answer)
    assert known(short)[0] == b"HTTP/1.1 200 OK"
    assert [line.lower() for line in known(short)] == [line.lower() for line in known(long)]


async def test_the_short_cut_is_taken_with_this_uvicorn(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def note(*arguments: object) -> bool:
        taken.append(http.send_whole(*arguments))  # type: ignore[arg-type]
        return taken[-1]

    monkeypatch.setattr("runtime.answers.send_whole", note)
    assert len(await ask(answer, times=3)) == 3
    assert taken == [http.KNOWN] * 3


async def test_a_client_that_asks_again_before_the_answer_gets_both_in_order() -> None:
    async with served(answer) as (reader, writer):
        writer.write(ASK + ASK)
        for _ in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"content-length: 7" in head
            assert await reader.readexactly(7) == b'{"x":1}'


async def test_who_wants_the_connection_closed_has_it_closed() -> None:
    async with served(answer) as (reader, writer):
        writer.write(ASK.replace(b"Host: h", b"Connection: close"))
        whole = await reader.read()
        assert whole.endswith(b'{"x":1}')
        assert b"connection: close" in whole


async def test_a_stream_is_not_held_back_until_its_end() -> None:
    async with served(stream) as (reader, writer):
        writer.write(ASK)
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readuntil(b"0\r\n\r\n") == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


async def test_an_answer_in_memory_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "KNOWN", False)  # uvicorn's own way, and still one
    writes: list[int] = []
    made = http.JoiningTransport.__init__

    def watch(self: http.JoiningTransport, transport: asyncio.Transport) -> None:
        made(self, transport)
        write = transport.write

        class Watched:
            def __getattr__(self, name: str) -> object:
                return getattr(transport, name)

            def write(self, data: bytes) -> None:
                writes.append(len(data))
                write(data)

        self._transport = Watched()  # type: ignore[assignment]

    monkeypatch.setattr(http.JoiningTransport, "__init__", watch)
    (whole,) = await ask(answer)
    assert writes == [len(whole)]
