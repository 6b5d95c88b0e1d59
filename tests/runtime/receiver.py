"""A server on loopback that receives callbacks, answers what it is told to, and remembers."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Reply:
    """What a request is answered with."""

    status: int = 200
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    silent: bool = False  # never answer, keep the connection
    endless: bool = False  # a body without an end
    cut: bool = False  # close the connection without an answer


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes
    connection: int  # the n-th connection it came on, from 1


@dataclass(slots=True)
class Receiver:
    """Answers with `replies`, one after the other, the last one for ever; 200 where there is none.

    While `gate` is not set, requests are received and not answered.
    """

    replies: list[Reply] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    connections: int = 0
    under_way: int = 0
    most_under_way: int = 0
    port: int = 0
    names: list[str | None] = field(default_factory=list)  # SNI

    @property
    def ids(self) -> list[str]:
        return [request.headers["webhook-id"] for request in self.received]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        number = self.connections
        try:
            while await self._exchange(reader, writer, number):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the other side went
        finally:
            writer.close()

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = [line.split(": ", 1) for line in head[1:] if line]
        headers = {name.lower(): value for name, value in pairs}
        body = await reader.readexactly(int(headers["content-length"]))
        self.received.append(Received(head[0], headers, body, number))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.gate.wait()
            return await self._answer(self._next(), writer)
        finally:
            self.under_way -= 1

    def _next(self) -> Reply:
        if not self.replies:
            return Reply()
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    async def _answer(self, reply: Reply, writer: asyncio.StreamWriter) -> bool:
        if reply.cut:
            return False
        if reply.silent:
            await asyncio.Event().wait()
        size = [] if reply.endless else [("Content-Length", str(len(reply.body)))]
        lines = [f"{name}: {value}" for name, value in [*size, *reply.headers]]
        writer.write("\r\n".join([f"HTTP/1.1 {reply.status} x", *lines, "", ""]).encode("latin-1"))
        writer.write(reply.body)
        await writer.drain()
        while reply.endless:
            writer.write(b"x" * 65536)
            await writer.drain()
        return True


@asynccontextmanager
async def receiving(
    *replies: Reply, context: ssl.SSLContext | None = None, held: bool = False
) -> AsyncIterator[Receiver]:
    """A receiver on a free port of 127.0.0.1; `held` until its gate is set."""
    receiver = Receiver([*replies])
    if not held:
        receiver.gate.set()
    if context is not None:
        context.sni_callback = lambda _, name, __: receiver.names.append(name)
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(task := asyncio.create_task(receiver.serve(reader, writer)))
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
