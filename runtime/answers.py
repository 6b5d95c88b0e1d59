"""What leaves the gateway: results, failures, 202s and event streams."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

import orjson
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from runtime.blobs import Blobs
from runtime.http import send_whole
from runtime.invocations import Invocations
from runtime.model import JSON, Invocation, Part, Status
from runtime.problem import problem_of_outcome
from runtime.query import Headers, preference
from runtime.settings import Settings
from runtime.views import invocation_view, is_simulated

NO_TOKEN = re.compile(r"[^!#$%&'*+.^_`|~0-9A-Za-z-]")  # characters no HTTP token has (RFC 9110)
MEDIA_TYPE = re.compile(r"[\x21-\x7e]+/[\x21-\x7e]+( *;[\x20-\x7e]*)?")
OCTETS = "application/octet-stream"
# What functions and callers made is shown by browsers as what it says it is, and runs no script.
UNTRUSTED = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox"}
KEEP_ALIVE = 15.0  # seconds between comments on a silent event stream


class Answers:
    """Answers about invocations, as their callers prefer them."""

    def __init__(self, settings: Settings, blobs: Blobs, invocations: Invocations) -> None:
        self._settings = settings
        self._blobs = blobs
        self._invocations = invocations

    async def when_done(self, invocation: Invocation, headers: Headers) -> Response:
        """Wait as the caller prefers, and give the result, a failure, or 202 and where to ask."""
        if b"text/event-stream" in headers.get(b"accept", b""):
            return self.events(invocation)
        preferred = headers.get(b"prefer")
        wait, applied = preference(preferred) if preferred else (None, None)
        seconds = min(
            self._settings.max_wait, wait if wait is not None else self._settings.max_wait
        )
        if over := await self._invocations.wait(invocation, seconds):
            return await self.outcome(over, applied)
        return await self.accepted(invocation, applied)

    async def outcome(self, invocation: Invocation, applied: str | None = None) -> Response:
        """The result of a terminal invocation, or why there is none."""
        message = invocation.message
        headers = {
            "Invocation-Id": message.id,
            "Invocation-Device": message.device,
            "Invocation-Attempt": str(message.attempt),
        }
        if message.device == "gpu" and is_simulated(invocation):
            headers["Invocation-Simulated"] = "true"
        if message.traceparent:
            headers["traceparent"] = message.traceparent
        if invocation.timings:
            headers["Server-Timing"] = server_timing(invocation.timings)
        if applied and (waited := applied.replace("respond-async", "").strip(", ")):
            headers["Preference-Applied"] = waited  # an outcome is no answer before the outcome
        if invocation.status is not Status.SUCCEEDED:
            return problem_of_outcome(invocation, self._settings.debug, headers)
        result = invocation.result
        if result is None:
            return Response(status_code=204, headers=headers)
        if result.data is not None and result.media_type == JSON:
            return Answer(result.data, JSON, headers)
        return await self.part(result, headers)

    async def part(self, part: Part, headers: Mapping[str, str]) -> Response:
        """A result or blob as the raw body of an answer, from memory or from the store."""
        if part.media_type != JSON:
            headers = {**headers, **UNTRUSTED}
        if part.data is not None:
            return Answer(part.data, media_type_of(part), headers)
        key = part.key or ""
        headers = {**headers, "Content-Type": media_type_of(part)}  # as it is, without a charset
        if self._blobs.local:
            return FileResponse(self._blobs.path(key), headers=headers)
        data = await asyncio.to_thread(self._blobs.read, key)
        return Response(data, headers=headers)

    async def accepted(self, invocation: Invocation, applied: str | None) -> Response:
        """202: the invocation is durable, and its outcome will be at the link."""
        await self._invocations.secure(invocation)
        link = f"/invocations/{invocation.id}"
        headers = {
            "Location": link,
            "Retry-After": "1",
            "Invocation-Id": invocation.id,
            "Invocation-Device": invocation.message.device,
            "traceparent": invocation.traceparent,
        }
        if applied:
            headers["Preference-Applied"] = applied
        return json_answer(invocation_view(invocation), 202, headers)

    def events(self, invocation: Invocation) -> Response:
        """Its story as server-sent events, from the beginning to its end."""
        headers = {
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
            "Invocation-Id": invocation.id,
        }
        stream = sse(self._invocations.follow(invocation))
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


class Answer(Response):
    """A 200 with a body in memory, without what Response does for cookies and charsets."""

    def __init__(self, body: bytes, media_type: str, headers: Mapping[str, str]) -> None:
        self.status_code = 200
        self.background = None
        self._body = body
        self._given = headers
        self._media_type = media_type

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._media_type == JSON and send_whole(send, self._head(), self._body):
            return
        headers = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in self._given.items()]
        headers.append((b"content-type", self._media_type.encode("latin-1")))
        headers.append((b"content-length", b"%d" % len(self._body)))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self._body})

    def _head(self) -> bytes:
        lines = "".join([f"{name}: {value}\r\n" for name, value in self._given.items()])
        end = f"content-type: {JSON}\r\ncontent-length: {len(self._body)}\r\n\r\n"
        return (lines + end).encode("latin-1")


def json_answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A value as the JSON body of an answer."""
    return Response(orjson.dumps(value), status, headers or {}, JSON)


def server_timing(timings: dict[str, float]) -> str:
    """Milliseconds per phase (W3C Server Timing); a function's phases may have any name."""
    if len(timings) == 3:  # no phases but ours: the path of every short invocation
        queue, start, run = timings["queue"] * 1e3, timings["start"] * 1e3, timings["run"] * 1e3
        return f"queue;dur={queue:.3f}, start;dur={start:.3f}, run;dur={run:.3f}"
    return ", ".join(
        f"{NO_TOKEN.sub('_', name)};dur={seconds * 1e3:.3f}" for name, seconds in timings.items()
    )


def media_type_of(part: Part) -> str:
    """The media type of bytes, where what a function or caller said is one."""
    name = part.media_type
    return name if name == JSON or MEDIA_TYPE.fullmatch(name) else OCTETS


async def sse(events: AsyncGenerator[tuple[str, bytes], None]) -> AsyncIterator[bytes]:
    """Events as text/event-stream, with a comment now and then so that proxies keep it open."""
    pending: asyncio.Future[tuple[str, bytes]] | None = None
    number = 0
    try:
        while True:
            pending = pending or asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait([pending], timeout=KEEP_ALIVE)
            if not done:
                yield b": still here\n\n"
                continue
            try:
                name, data = pending.result()
            except StopAsyncIteration:
                return
            pending = None
            number += 1
            yield b"id: %d\nevent: %s\ndata: %s\n\n" % (number, name.encode(), data)
    finally:
        if pending and not pending.done():
            pending.cancel()  # which ends the generator it waits for
        else:
            await events.aclose()
