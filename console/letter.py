"""One dead letter that is edited before it is replayed: first what changes is shown, then it goes.

Both steps are forms that work without a script.  The first changes nothing, and keeps nothing here.
"""

from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from console.app import see_other
from console.draft import EDITABLE, Draft, draft_of, readable
from console.letter_views import HERE, input_view, list_again
from console.letters import form_of
from console.page import Action, Again, Page, View
from console.sources import Sources
from runtime.clearance import UNAWAITED
from runtime.errors import BadRequest, InvalidInput, LumbreError
from runtime.function import FunctionSpec
from runtime.intake import Validator
from runtime.letters import Found
from runtime.model import Invocation


class DeadLetter:
    """The page of one letter."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._page = Page(f"{HERE}/{{id:path}}", "letter.html", "queues", self.show)

    @property
    def pages(self) -> list[Page]:
        return [self._page]

    @property
    def actions(self) -> list[Action]:
        return [Action(self._page.path, self.take, "admin")]

    async def show(self, request: Request) -> View:
        found = await self._found(request)
        return self._view(found, original(found.invocation) or "", None, "")

    async def take(self, request: Request) -> Response | Again:
        """Show what is different, or replay it, by which button was pressed."""
        form = await form_of(request)
        found = await self._found(request)
        text, device = str(form.get("parameters", "")), str(form.get("device", ""))
        if len(text.encode()) > EDITABLE:
            raise BadRequest(f"parameters of over {EDITABLE:,} bytes cannot be edited here")
        if form.get("step") != "send":
            return Again(self._page, self._view(found, text, self._draft(found, text), device), 200)
        parameters = None if form.get("same") else text.encode()
        try:
            new = await self._replay(found, device, parameters)
        except (BadRequest, InvalidInput) as error:
            view = self._view(found, text, self._draft(found, text), device)
            view["refused"] = str(error)
            return Again(self._page, view, error.status)
        told = {"done": "replayed:1", "as": new.id}
        return see_other(list_again({"filter": found.invocation.message.function}, told))

    async def _replay(self, found: Found, device: str, parameters: bytes | None) -> Invocation:
        message = found.invocation.message
        return await self._sources.letters.replay(
            message.id, message.function, device or None, UNAWAITED, parameters
        )

    async def _found(self, request: Request) -> Found:
        """The letter of a URL; NotFound where there is none."""
        id, function = request.path_params["id"], request.query_params.get("function") or None
        await self._sources.letters.ready()
        found = (await self._sources.letters.find(function, [id]))[id]
        if isinstance(found, LumbreError):
            raise found
        return found

    def _draft(self, found: Found, text: str) -> Draft | None:
        payload = found.invocation.message.payload
        spec = self._spec(found)
        if payload.parameters is None or spec is None:
            return None
        parts = frozenset(part.name for part in payload.parts)
        return draft_of(text, payload.parameters, self._validator(spec), parts)

    def _spec(self, found: Found) -> FunctionSpec | None:
        return self._sources.catalog.functions.get(found.invocation.message.function)

    def _validator(self, spec: FunctionSpec) -> Validator | None:
        try:
            return self._sources.admission.door(spec, "auto")[0]
        except LumbreError:  # it cannot run here now: whoever sends it is told
            return None

    def _view(self, found: Found, text: str, draft: Draft | None, device: str) -> View:
        return letter_view(found, self._spec(found)) | {
            "text": text,
            "draft": draft_view(draft) if draft else None,
            "device": device,
            "refused": None,
        }


def letter_view(found: Found, spec: FunctionSpec | None) -> dict[str, Any]:
    """One letter, and whether it can be edited here."""
    invocation = found.invocation
    message, settled = invocation.message, found.settled
    given = input_view(message.payload)
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
        "editable": original(invocation) is not None,
        "most": EDITABLE,
        "replayed_as": settled.replayed_as if settled else None,
        "discarded": settled is not None and settled.replayed_as is None,
    }


def draft_view(draft: Draft) -> dict[str, Any]:
    """What is wrong with what was written, what is different, and what would be sent."""
    return {
        "faults": list(draft.faults),
        "lines": [asdict(line) for line in draft.lines],
        "changed": bool(draft.lines),
        "send": None if draft.value is None or draft.faults else draft.compact,
    }


def original(invocation: Invocation) -> str | None:
    """Its parameters as people read them; None where they are too long to be edited here."""
    parameters = invocation.message.payload.parameters
    if parameters is None or len(parameters) > EDITABLE:
        return None
    text = readable(parameters)
    return text if len(text.encode()) <= EDITABLE else None
