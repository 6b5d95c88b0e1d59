"""The endpoints of the dead-letter desk.

What is done to many is told as it is done, one line of JSON for each letter (NDJSON), and a last
line that adds up.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any
from urllib.parse import quote

import orjson
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from runtime.admission import Admission
from runtime.answers import Answers, json_answer
from runtime.clearance import Clearance, Cleared
from runtime.errors import InvalidInput, LumbreError
from runtime.intake import parse_object
from runtime.letters import Letter, Letters
from runtime.model import Attempt, Invocation
from runtime.query import Headers, device_asked, whole
from runtime.views import MAX_LIMIT, attempt_view, input_view, instant, list_view

NDJSON = "application/x-ndjson"
PREVIEW = 500  # bytes of what is no message of ours
MOST_IDS = 10_000  # named in one request


class _LetterId(StringConvertor):
    """An id in a path: neither of the words that stand in its place."""

    regex = r"(?!(?:replay|discard)$)[^/]+"


register_url_convertor("letter", _LetterId())


class LetterRoutes:
    """Lists, replays and discards dead letters over HTTP."""

    def __init__(
        self, letters: Letters, clearance: Clearance, admission: Admission, answers: Answers
    ) -> None:
        self._letters = letters
        self._clearance = clearance
        self._admission = admission
        self._answers = answers

    def routes(self) -> list[Route]:
        all = "/dead-letters"
        return [
            Route(all, self.list_letters, methods=["GET"]),
            Route(f"{all}/replay", self.replay_many, methods=["POST"]),
            Route(f"{all}/discard", self.discard_many, methods=["POST"]),
            Route(f"{all}/{{id:letter}}", self.discard_letter, methods=["DELETE"]),
            Route(f"{all}/{{id}}/replay", self.replay_letter, methods=["POST"]),
        ]

    async def list_letters(self, request: Request) -> Response:
        query = request.query_params
        limit = whole(query.get("limit", "50"), "limit", 1, MAX_LIMIT)
        await self._admission.catalog_ready()
        letters = await self._letters.listed(query.get("function"), limit)
        return json_answer(list_view(map(letter_view, letters), "/dead-letters", {}))

    async def replay_letter(self, request: Request) -> Response:
        headers: Headers = dict(request.scope["headers"])
        body = await self._admission.body(headers, request.receive)
        invocation = await self._letters.replay(
            request.path_params["id"],
            request.query_params.get("function"),
            _device(request),
            headers,
            body or None,
        )
        return await self._answers.when_done(invocation, headers)

    async def discard_letter(self, request: Request) -> Response:
        id = request.path_params["id"]
        await self._letters.discard(id, request.query_params.get("function"))
        return json_answer({"id": id, "discarded": True})

    async def replay_many(self, request: Request) -> Response:
        function, ids = await self._asked(request)
        await self._admission.function(function)  # a name that is wrong is told before all else
        device = _device(request)
        if ids is None:
            return _told(self._clearance.replay_all(function, device), "replayed")
        return _told(self._clearance.replay(function, ids, device), "replayed")

    async def discard_many(self, request: Request) -> Response:
        function, ids = await self._asked(request)
        if ids is None:
            return _told(self._clearance.discard_all(function), "discarded")
        return _told(self._clearance.discard(function, ids), "discarded")

    async def _asked(self, request: Request) -> tuple[str, list[str] | None]:
        """The function, and the ids; None is all of them."""
        headers: Headers = dict(request.scope["headers"])
        given = parse_object(await self._admission.body(headers, request.receive))
        function, ids, every = given.get("function"), given.get("ids"), given.get("all")
        if not isinstance(function, str) or not function:
            raise InvalidInput("function", 'is missing: send {"function": NAME, "all": true}')
        if unknown := given.keys() - {"function", "ids", "all"}:
            raise InvalidInput(min(unknown), "is not known here: send function, and ids or all")
        if every not in (None, True, False) or bool(every) == (ids is not None):
            raise InvalidInput("all", 'send either "all": true, or "ids": [ID, …]')
        if ids is None:
            return function, None
        if not isinstance(ids, list) or not all(isinstance(id, str) for id in ids):
            raise InvalidInput("ids", "must be a list of ids")
        if len(ids) > MOST_IDS:
            raise InvalidInput(
                "ids", f"are {len(ids):,}: send {MOST_IDS:,} at most at once, or all"
            )
        return function, ids


def letter_view(letter: Letter) -> dict[str, Any]:
    """A dead letter as the API shows it."""
    dead, record = letter.dead, letter.record
    message = dead.message
    name, id = quote(message.function, safe=""), quote(message.id, safe="")
    view: dict[str, Any] = {
        "id": message.id,
        "function": message.function,
        "device": message.device,
        "queue": dead.queue,
        "reason": dead.reason,
        "at": instant(dead.at),
        "unreadable": dead.unreadable is not None,
    }
    if dead.unreadable is not None:
        text = dead.unreadable[:PREVIEW].decode(errors="replace")
        view |= {"device": None, "attempts": [], "input": None, "links": {"self": None}}
        return view | {"preview": text, "size": len(dead.unreadable)}
    attempts = [attempt_view(each) for each in letter.attempts]
    if record:
        attempts.append(attempt_view(_last(record)))
    return view | {
        "attempts": attempts,
        "input": input_view(message.payload),
        "links": {
            "self": f"/invocations/{message.id}" if record else None,
            "replay": f"/dead-letters/{id}/replay?function={name}",
        },
    }


def _last(record: Invocation) -> Attempt:
    """The attempt that its outcome is of."""
    message = record.message
    return Attempt(
        record.id,
        message.attempt,
        record.replica,
        message.device,
        record.started_at,
        record.finished_at,
        record.error,
    )


def _device(request: Request) -> str | None:
    query: bytes = request.scope["query_string"]
    return device_asked(query) if "device" in request.query_params else None


def _told(parts: AsyncIterator[list[Cleared]], what: str) -> Response:
    return StreamingResponse(_lines(parts, what), media_type=NDJSON)


async def _lines(parts: AsyncIterator[list[Cleared]], what: str) -> AsyncGenerator[bytes, None]:
    done = kept = 0
    stopped = None
    try:
        async for part in parts:
            for each in part:
                kept += each.error is not None
                done += each.error is None
            yield b"".join(_line(each, what) for each in part)
    except LumbreError as error:
        stopped = str(error)
    yield orjson.dumps({what: done, "kept": kept, "stopped": stopped}) + b"\n"


def _line(each: Cleared, what: str) -> bytes:
    view: dict[str, Any] = {"id": each.id, "error": each.error}
    if what == "replayed":
        view["replayed_as"] = each.replayed_as
    return orjson.dumps(view) + b"\n"
