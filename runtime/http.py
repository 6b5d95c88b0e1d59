"""uvicorn's HTTP protocol with one system call for each answer, and a short cut for short ones.

uvicorn writes the head of an answer and its body apart, and each write is a packet of its own.
By py-spy on 2 cores, the two writes were a quarter of a short request before they were one.  The
short cut past uvicorn's way through the head, header by header, knows its insides; so it is taken
only with versions it was tested with, and others go uvicorn's own way.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

import uvicorn
from starlette.types import Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

KNOWN = uvicorn.__version__.startswith("0.54.")

Headers = list[tuple[bytes, bytes]]


class JoiningTransport(asyncio.Transport):
    """Holds the head of an answer back until its body follows, or this turn of the loop ends."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._held = b""
        self._loop = asyncio.get_running_loop()
        self.is_closing = transport.is_closing  # type: ignore[method-assign]
        self.pause_reading = transport.pause_reading  # type: ignore[method-assign]
        self.resume_reading = transport.resume_reading  # type: ignore[method-assign]
        self.get_extra_info = transport.get_extra_info  # type: ignore[method-assign]

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._held:
            head, self._held = self._held, b""
            self._transport.write(head + data)
        elif data[:7] == b"HTTP/1.":
            self._held = bytes(data)
            self._loop.call_soon(self._release)
        else:
            self._transport.write(data)

    def write_whole(self, answer: bytes) -> None:
        """Write head and body together, behind what is held back."""
        head, self._held = self._held, b""
        self._transport.write(head + answer)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        self._release()
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def _release(self) -> None:
        if self._held:
            head, self._held = self._held, b""
            self._transport.write(head)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Protocol(HttpToolsProtocol):
    """HttpToolsProtocol over a JoiningTransport."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(JoiningTransport(transport))


class DefaultHead:
    """The headers that uvicorn adds to every answer, as bytes; they change once a second."""

    def __init__(self) -> None:
        self._headers: Headers = []
        self._bytes = b""

    def of(self, headers: Headers) -> bytes:
        if headers is not self._headers:
            self._headers = headers
            self._bytes = b"".join(b"%s: %s\r\n" % header for header in headers)
        return self._bytes


DEFAULT_HEAD = DefaultHead()


def send_whole(send: Send, head: bytes, body: bytes) -> bool:
    """Send a 200 with these header lines in one write; False where uvicorn's own way must be gone.

    `head` is what follows the status line and uvicorn's own headers, up to the empty line and with
    it; the caller answers for its being well formed.
    """
    cycle = getattr(send, "__self__", None)
    if not KNOWN or type(cycle) is not RequestResponseCycle or cycle.response_started:
        return False
    transport = cycle.transport
    if cycle.disconnected or cycle.flow.write_paused or type(transport) is not JoiningTransport:
        return False
    if not cycle.keep_alive or cycle.waiting_for_100_continue:
        return False
    cycle.response_started = cycle.response_complete = True
    default = DEFAULT_HEAD.of(cycle.default_headers)
    transport.write_whole(b"HTTP/1.1 200 OK\r\n" + default + head + body)
    cycle.message_event.set()
    cycle.on_response()
    return True


def hang_up(send: Send) -> bool:
    """Close a connection in the middle of an answer, so that its reader sees that some is missing.

    False where it is no connection of uvicorn's.
    """
    cycle = getattr(send, "__self__", None)
    if not isinstance(cycle, RequestResponseCycle):
        return False
    cycle.transport.close()
    return True
