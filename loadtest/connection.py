"""One connection to a server, kept as long as both sides like, with one request in flight.

Answers are parsed by httptools (llhttp); the bodies of successes are counted off, not kept.
"""

import asyncio
import time
from typing import Protocol

import httptools

from loadtest.answer import Answer
from loadtest.faults import Cut
from loadtest.turn import Turn

MOST_KEPT = 1 << 16  # bytes of a failure's body: enough for any problem details
clock = time.monotonic


class Owner(Protocol):
    """Who a connection tells what happens; `at` is on the clock of `time.monotonic`."""

    def answered(self, connection: "Connection", answer: Answer, at: float) -> None: ...

    def lost(self, connection: "Connection", error: Exception, at: float) -> None:
        """It is of no more use.  Told once, whether or not a request was in flight."""


class Connection(asyncio.Protocol):
    """One connection; `send` may be called whenever it is `free`."""

    __slots__ = (
        "_answer",
        "_begun",
        "_chunks",
        "_ends_with_connection",
        "_keeps",
        "_kept",
        "_owner",
        "_parser",
        "_received_at",
        "_transport",
        "_turn",
        "_whole",
        "gone",
        "idle_since",
        "waiting",
    )

    def __init__(self, owner: Owner, turn: Turn) -> None:
        self.waiting = False  # for an answer
        self.idle_since = 0.0
        self.gone = False
        self._owner = owner
        self._turn = turn
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._received_at = 0.0
        self._whole: Answer | None = None
        self._keeps = False
        self._begin()

    @property
    def free(self) -> bool:
        """Whether a request may be sent."""
        transport = self._transport
        return not (self.waiting or self.gone or transport is None or transport.is_closing())

    def send(self, request: bytes) -> None:
        """Send a whole request; its answer, or its loss, is told to the owner."""
        assert self._transport is not None
        self.waiting = True
        self._transport.write(request)

    def give_up(self, error: Exception) -> None:
        """Close at once; the owner is told that it was lost to `error`."""
        if not self.gone:
            self._lose(error)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self.idle_since = clock()

    def data_received(self, data: bytes) -> None:
        self._received_at = self._turn.began()
        if not self.waiting:
            if not self.gone:
                self._lose(Cut("the server said something that it was not asked for"))
            return
        trouble: httptools.HttpParserError | None = None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            trouble = error
        if self._whole is not None:
            self._complete(self._keeps and trouble is None and not self._begun)
        elif trouble is not None and not self.gone:
            self._lose(trouble)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.gone:
            return
        if self.waiting and exc is None and self._ends_with_connection:
            self._received_at = clock()
            self.on_message_complete()
            self._complete(kept=False)
            return
        self._lose(exc or Cut("the server closed the connection before its answer was whole"))

    # ── called by the parser ──────────────────────────────────────────────────────────────────

    def on_message_begin(self) -> None:
        self._begun = True

    def on_header(self, name: bytes, value: bytes) -> None:
        self._answer.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        answer, status = self._answer, self._parser.get_status_code()
        answer.status = status
        headers = answer.headers
        # RFC 9112 §6.3: without a length, the body ends where the connection does.
        self._ends_with_connection = (
            status >= 200
            and status not in (204, 304)
            and b"content-length" not in headers
            and b"transfer-encoding" not in headers
        )

    def on_body(self, body: bytes) -> None:
        if self._answer.status >= 300 and self._kept < MOST_KEPT:
            self._kept += len(body)
            self._chunks.append(body)

    def on_message_complete(self) -> None:
        answer = self._answer
        if self._chunks:
            answer.body = b"".join(self._chunks)
        if self._whole is not None:
            self._keeps = False  # more than was asked for
        elif answer.status >= 200:  # after a 100 or 103, the answer is still to come
            # The owner is told once the parser is done: an error of his is none of the parser's.
            self._whole = answer
            self._keeps = self._parser.should_keep_alive()
        self._begin()

    # ──────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self) -> None:
        """Be ready for the next answer."""
        self._answer = Answer(0, {}, b"")
        self._chunks: list[bytes] = []
        self._kept = 0
        self._begun = False
        self._ends_with_connection = False

    def _complete(self, kept: bool) -> None:
        answer, self._whole = self._whole, None
        assert answer is not None
        self.waiting = False
        self.idle_since = self._received_at
        if not kept:
            self.close()
        self._owner.answered(self, answer, self._received_at)

    def close(self) -> None:
        """Close without telling the owner; nothing may be in flight."""
        self.gone = True
        if self._transport is not None:
            self._transport.abort()

    def _lose(self, error: Exception) -> None:
        self.close()
        self._owner.lost(self, error, clock())
        self.waiting = False
