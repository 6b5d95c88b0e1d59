"""A server that answers as a test wants: late, wrongly, with 429s, or not at all."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

import orjson

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came."""

    number: int  # from 1, over all connections
    connection: int  # from 1
    line: str
    head: str
    body: bytes


Reply = bytes | None  # None: the connection is cut
Answerer = Callable[[Asked], Awaitable[Reply]]


def http(
    body: bytes = b"{}",
    status: int = 200,
    headers: dict[str, str] | None = None,
    length: bool = True,
) -> bytes:
    """An answer as bytes."""
    lines = [f"HTTP/1.1 {status} x", *(f"{k}: {v}" for k, v in (headers or {}).items())]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def problem(status: int, kind: str, detail: str, headers: dict[str, str] | None = None) -> bytes:
    """Problem details as an answer."""
    body = orjson.dumps({"type": kind, "title": "t", "status": status, "detail": detail})
    return http(body, status, {"Content-Type": "application/problem+json", **(headers or {})})


async def ok(asked: Asked) -> Reply:
    """Answers `{}` at once."""
    return http()


class StandIn:
    """Listens on a port of loopback while it is entered; may be stopped and started again."""

    def __init__(self, answer: Answerer = ok, tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.tls = tls
        self.connections = 0  # on which something was asked
        self.requests = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://{LOOPBACK}:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, LOOPBACK, self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Cut every connection, and refuse new ones."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._converse(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # either side has ended it
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = 0
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next(
                int(line.partition(":")[2])
                for line in head.splitlines()
                if line.lower().startswith("content-length:")
            )
            body = await reader.readexactly(length)
            self.requests += 1
            if not connection:
                self.connections += 1
                connection = self.connections
            line = head.partition("\r\n")[0]
            reply = await self.answer(Asked(self.requests, connection, line, head, body))
            if reply is None:
                return
            writer.write(reply)
            if b"Connection: close" in reply:
                await writer.drain()
                writer.close()
                await writer.wait_closed()
                return
