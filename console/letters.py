"""The dead-letter desk: what was given up on, and what can be done with it.

Looking changes nothing.  The list stays as it was made, so that nobody's ticks move under the
pointer; what is alive on the page is the line that says how many there are by now, and what became
of the orders that were given.
"""

from collections.abc import Sequence
from dataclasses import asdict
from time import time
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from console.app import see_other
from console.clearings import Clearing, Clearings, What
from console.draft import EDITABLE, Draft, draft_of, readable
from console.page import Action, Page, View
from console.queues import dead_by_function
from console.sources import Sources
from runtime.clearance import UNAWAITED
from runtime.errors import BadRequest, LumbreError, NotFound
from runtime.function import FunctionSpec
from runtime.intake import Validator
from runtime.letters import Found, Letter
from runtime.model import Attempt, Invocation, Payload
from runtime.query import whole

HERE = "/queues/dead"
LIMITS = (50, 200, 500)  # letters that are listed
SETTLING = 5.0  # seconds until a server's counts have followed what was done here
SHOWN = 300  # characters of an input, or of an error, in a list


class DeadLetters:
    """The list of dead letters, and the page where one is edited before it is replayed."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._clearings = Clearings(sources)
        self._acted_at = 0.0  # unix seconds

    @property
    def pages(self) -> list[Page]:
        return [
            Page(HERE, "letters.html", "queues", self.show),
            Page(f"{HERE}/{{id:path}}", "letter.html", "queues", self.edit),
        ]

    @property
    def actions(self) -> list[Action]:
        return [
            Action("/queues/replay", self.replay, "admin"),
            Action("/queues/discard", self.discard, "admin"),
            Action("/queues/stop", self.stop, "admin"),
            Action("/queues/{id:path}/edit", self.replay_edited, "admin"),
        ]

    # ── the list ──────────────────────────────────────────────────────────────────────────────

    async def show(self, request: Request) -> View:
        query = request.query_params
        function = query.get("function") or None
        limit = _limit(query.get("limit"))
        dead = dead_by_function(self._sources)
        there = dead.get(function, 0) if function else sum(dead.values())
        view: View = {
            "function": function,
            "limit": limit,
            "limits": LIMITS,
            "by_function": dead,
            "orders": [order_view(each) for each in self._clearings.told()],
            "notice": notice_of(dict(query)),
            "letters": [],
            "more": False,
            "fault": None,
            "there": there,
            "seen": _number(query.get("seen")),
            "settling": time() - self._acted_at < SETTLING and not self._sources.settings.embedded,
        }
        if request.headers.get("hx-target", "").endswith("#standing"):
            return view  # what is alive does not list them again
        try:
            letters = await self._sources.letters.listed(function, limit + 1)
        except LumbreError as error:
            return view | {"fault": str(error)}
        view["letters"] = [letter_row(letter) for letter in letters[:limit]]
        view["more"] = len(letters) > limit
        view["seen"] = max(there, limit + 1) if view["more"] else len(letters)
        return view

    # ── one of them ───────────────────────────────────────────────────────────────────────────

    async def edit(self, request: Request) -> View:
        query = request.query_params
        id, function = request.path_params["id"], query.get("function") or None
        found = await self._found(id, function)
        invocation = found.invocation
        spec = self._sources.catalog.functions.get(invocation.message.function)
        written = query.get("parameters")
        draft = _draft(invocation, written, spec, self._validator(spec)) if written else None
        return letter_view(found, spec) | {
            "text": written if written is not None else _original(invocation),
            "draft": draft_view(draft) if draft else None,
            "device": query.get("device", ""),
        }

    async def _found(self, id: str, function: str | None) -> Found:
        await self._sources.letters.ready()
        found = (await self._sources.letters.find(function, [id]))[id]
        if isinstance(found, LumbreError):
            raise found
        return found

    def _validator(self, spec: FunctionSpec | None) -> Validator | None:
        try:
            return self._sources.admission.door(spec, "auto")[0] if spec else None
        except LumbreError:  # it cannot run here now: whoever sends it is told
            return None

    # ── actions ───────────────────────────────────────────────────────────────────────────────

    async def replay(self, request: Request) -> Response:
        return await self._order(request, "replayed")

    async def discard(self, request: Request) -> Response:
        return await self._order(request, "discarded")

    async def stop(self, request: Request) -> Response:
        form = await request.form()
        self._clearings.stop(_number(str(form.get("order"))) or 0)
        return see_other(_back(form, {}))

    async def _order(self, request: Request, what: What) -> Response:
        form = await request.form()
        self._acted_at = time()
        if function := str(form.get("all", "")):
            clearing = await self._clearings.all(what, function)
        elif letters := _chosen(form):
            if sum(map(len, letters.values())) == 1:
                return await self._one(form, what, *next(iter(letters.items())))
            clearing = await self._clearings.some(what, letters)
        else:
            return see_other(_back(form, {"done": "nothing"}))
        if clearing.ended_at is None:
            return see_other(_back(form, {"done": f"going:{clearing.number}"}))
        told = {"done": f"{what}:{clearing.done}"}
        if clearing.kept or clearing.stopped:
            told["kept"] = str(clearing.kept)
        return see_other(_back(form, told))

    async def _one(self, form: FormData, what: What, function: str, ids: Sequence[str]) -> Response:
        letters = self._sources.letters
        if what == "discarded":
            await letters.discard(ids[0], function)
            return see_other(_back(form, {"done": "discarded:1"}))
        new = await letters.replay(ids[0], function, None, UNAWAITED, None)
        return see_other(_back(form, {"done": "replayed:1", "as": new.id}))

    async def replay_edited(self, request: Request) -> Response:
        form = await request.form()
        id, function = request.path_params["id"], str(form.get("function", "")) or None
        parameters = str(form.get("parameters", "")).encode() or None
        device = str(form.get("device", "")) or None
        self._acted_at = time()
        letters = self._sources.letters
        new = await letters.replay(id, function, device, UNAWAITED, parameters)
        return see_other(_back(form, {"done": "replayed:1", "as": new.id}))


# ── from forms and URLs ───────────────────────────────────────────────────────────────────────


def _chosen(form: FormData) -> dict[str, list[str]]:
    """The letters of a form by function: each is FUNCTION/ID."""
    chosen: dict[str, list[str]] = {}
    for value in form.getlist("letter"):
        function, slash, id = str(value).partition("/")
        if not (function and slash and id):
            raise BadRequest(f"letter {str(value)[:80]!r} is none: send FUNCTION/ID")
        chosen.setdefault(function, []).append(id)
    return chosen


def _back(form: FormData, told: dict[str, str]) -> str:
    """The list again, with the filter it had and what was done."""
    kept = {name: str(form.get(name) or "") for name in ("filter", "limit")}
    query = {"function": kept["filter"], "limit": kept["limit"]} | told
    return f"{HERE}?{urlencode({name: value for name, value in query.items() if value})}"


def _limit(text: str | None) -> int:
    return whole(text, "limit", 1, LIMITS[-1]) if text else LIMITS[0]


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else None


def notice_of(query: dict[str, str]) -> dict[str, Any] | None:
    """What an action did, told by the URL it led to."""
    what, _, number = query.get("done", "").partition(":")
    if what == "nothing":
        return {"kind": "note", "text": "No letter was ticked: nothing was done.", "links": {}}
    count = _number(number)
    if count is None:
        return None
    if what == "going":
        text = "That takes longer: it goes on, and what becomes of it is told below."
        return {"kind": "note", "text": text, "links": {}}
    if what not in ("replayed", "discarded"):
        return None
    some = "1 dead letter was" if count == 1 else f"{count:,} dead letters were"
    text = f"{some} {what}."
    kept = _number(query.get("kept"))
    if kept is not None:
        text += f" {kept:,} {'stays' if kept == 1 else 'stay'}: why is told below."
    links = {}
    if new := query.get("as"):
        links["its new invocation"] = f"/invocations/{new}"
    return {"kind": "good" if kept is None else "note", "text": text, "links": links}


# ── views ─────────────────────────────────────────────────────────────────────────────────────


def letter_row(letter: Letter) -> dict[str, Any]:
    """A dead letter as the list shows it."""
    dead, record = letter.dead, letter.record
    message = dead.message
    unreadable = dead.unreadable is not None
    row: dict[str, Any] = {
        "id": message.id,
        "function": message.function,
        "device": message.device,
        "queue": dead.queue,
        "at": dead.at,
        "reason": dead.reason[:SHOWN],
        "unreadable": unreadable,
        "recorded": record is not None,
        "attempt": message.attempt,
        "attempts": [_attempt(each) for each in _attempts(letter)],
        "error": _error(record),
        "value": f"{message.function}/{message.id}",
        "links": {
            "invocation": f"/invocations/{message.id}" if record else None,
            "edit": None if unreadable else _edit_url(message.id, message.function),
        },
    }
    if dead.unreadable is not None:
        text = dead.unreadable[:SHOWN].decode(errors="replace")
        return row | {"input": text, "size": len(dead.unreadable), "parts": [], "error": None}
    return row | _input(message.payload)


def _edit_url(id: str, function: str) -> str:
    return f"{HERE}/{id}?{urlencode({'function': function})}"


def _input(payload: Payload) -> dict[str, Any]:
    parameters = payload.parameters
    text = None if parameters is None else parameters[: 4 * SHOWN].decode(errors="replace")[:SHOWN]
    return {
        "input": text,
        "size": None if parameters is None else len(parameters),
        "parts": [
            {"name": part.name, "media_type": part.media_type, "size": part.size}
            for part in payload.parts
        ],
    }


def _attempts(letter: Letter) -> list[Attempt]:
    last = letter.record
    if last is None:
        return list(letter.attempts)
    message = last.message
    outcome = Attempt(
        last.id,
        message.attempt,
        last.replica,
        message.device,
        last.started_at,
        last.finished_at,
        last.error,
    )
    return [*letter.attempts, outcome]


def _attempt(attempt: Attempt) -> dict[str, Any]:
    error = attempt.error
    return {
        "attempt": attempt.attempt,
        "device": attempt.device,
        "replica": attempt.replica,
        "started_at": attempt.started_at,
        "finished_at": attempt.finished_at,
        "error": f"{error.type}: {error.message[:SHOWN]}" if error else None,
    }


def _error(record: Invocation | None) -> dict[str, str] | None:
    if record is None or record.error is None:
        return None
    return {"type": record.error.type, "message": record.error.message[:SHOWN]}


def letter_view(found: Found, spec: FunctionSpec | None) -> dict[str, Any]:
    """One letter as the page shows it on which it is edited."""
    invocation = found.invocation
    message = invocation.message
    given = _input(message.payload)
    settled = found.settled
    return {
        "id": message.id,
        "function": message.function,
        "requested_device": invocation.requested_device,
        "devices": list(spec.devices) if spec else [],
        "known": spec is not None,
        "recorded": found.recorded,
        "reason": invocation.error.message if invocation.error else None,
        "at": invocation.finished_at,
        "attempt": message.attempt,
        "size": given["size"],
        "parts": given["parts"],
        "editable": given["size"] is not None and given["size"] <= EDITABLE,
        "most": EDITABLE,
        "replayed_as": settled.replayed_as if settled else None,
        "discarded": settled is not None and settled.replayed_as is None,
    }


def _original(invocation: Invocation) -> str:
    parameters = invocation.message.payload.parameters
    if parameters is None or len(parameters) > EDITABLE:
        return ""
    return readable(parameters)


def _draft(
    invocation: Invocation, written: str, spec: FunctionSpec | None, validator: Validator | None
) -> Draft:
    payload = invocation.message.payload
    if payload.parameters is None or len(written.encode()) > 2 * EDITABLE:
        raise BadRequest(f"parameters of over {EDITABLE:,} bytes cannot be edited here")
    if spec is None:
        name = invocation.message.function
        raise NotFound(f"there is no function {name!r} any more: its letters can be discarded")
    parts = frozenset(part.name for part in payload.parts)
    return draft_of(written, payload.parameters, validator, parts)


def draft_view(draft: Draft) -> dict[str, Any]:
    """What was written, what is wrong with it, and what is different."""
    return {
        "faults": list(draft.faults),
        "lines": [asdict(line) for line in draft.lines],
        "changed": bool(draft.lines),
        "send": None if draft.value is None or draft.faults else draft.compact,
    }


def order_view(clearing: Clearing) -> dict[str, Any]:
    """An order about many letters, and how far it has come."""
    return {
        "number": clearing.number,
        "what": clearing.what,
        "functions": list(clearing.functions),
        "asked": clearing.asked,
        "done": clearing.done,
        "kept": clearing.kept,
        "made": clearing.made,
        "faults": clearing.faults,
        "stopped": clearing.stopped,
        "stopping": clearing.stopping,
        "began_at": clearing.began_at,
        "ended_at": clearing.ended_at,
    }
