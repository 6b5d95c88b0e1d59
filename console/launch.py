"""What a function's form asks for, as invocations: read, accepted durably, and hardly waited for.

Whoever runs something short sees its result at once; a request that took longer than a moment
would keep the browser from showing that it runs.
"""

import asyncio
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

from starlette.requests import Request

from console.body import File, body_of, stored, uploaded
from console.field import fields_of
from console.form import Control, Kept, as_typed, by_parameter, kept_of, read
from console.moment import settle
from console.posted import Posted, posted
from console.sources import Sources
from runtime.errors import InvalidInput, LumbreError
from runtime.function import FunctionSpec
from runtime.model import Invocation, new_id
from runtime.query import Headers
from runtime.scopes import CHARGE

PLAIN: Headers = {}  # no preference: what is accepted is awaited, and secured before an answer


@dataclass(frozen=True, slots=True)
class Refused:
    """A form that was not taken: its controls as they were left, and why."""

    controls: list[Control]
    device: str
    notice: str  # what is wrong and is no field's fault; may be empty
    status: int
    forgot: bool  # files came, which a browser does not keep


async def launch(sources: Sources, spec: FunctionSpec, request: Request) -> list[str] | Refused:
    """The ids of what a form started: one invocation, or one on each device.

    Raises what says that the form itself cannot be read.
    """
    async with AsyncExitStack() as stack:
        limit = sources.settings.max_body
        form = await stack.enter_async_context(posted(request, limit))
        return await _Launch(sources, spec, form, request).run()


class _Launch:
    def __init__(
        self, sources: Sources, spec: FunctionSpec, form: Posted, request: Request
    ) -> None:
        self._sources = sources
        self._spec = spec
        self._form = form
        self._request = request
        self._fields = fields_of(spec)
        self._kept: dict[str, Kept] = {}

    async def run(self) -> list[str] | Refused:
        typed = self._form.typed
        both = typed.get("action") == "both"
        asked = "cpu" if both else typed.get("device", "auto")
        files = {n: f for n, f in self._form.files.items() if n in self._spec.binary}
        found = read(self._fields, typed, frozenset(files))
        try:
            sent = [uploaded(n, f, self._spec.binary[n]) for n, f in files.items()]
            sent += [await self._earlier(n, id) for n, id in found.kept.items()]
            if found.faults:
                self._check_rest(found.parameters, {file.name for file in sent})
                return self._refused(found.faults, "", InvalidInput.status)
            if both:
                self._sources.admission.door(self._spec, "gpu")  # before anything is accepted
            body = body_of(self._spec, found.parameters, sent)
            first = await self._sources.admission.accept(
                self._spec,
                new_id(),
                asked,
                body.headers,
                body.query,
                body.receive,
                None,
                once=False,
            )
        except InvalidInput as error:
            faults = by_parameter(error.errors, self._fields) | found.faults
            return self._refused(faults, faults.pop("", ""), error.status)
        except LumbreError as error:
            return self._refused(found.faults, str(error), error.status)
        started = [first, await self._second(first)] if both else [first]
        await self._settle(started)
        return [each.id for each in started]

    async def _settle(self, started: list[Invocation]) -> None:
        """Give them a moment to be over, and make sure that they go on without this process."""
        invocations = self._sources.invocations
        waiting = (settle(invocations, each) for each in started)
        for each, over in zip(started, await asyncio.gather(*waiting), strict=True):
            if over is None:
                await invocations.secure(each)
        with suppress(LumbreError):  # what is over counts on the page that comes next
            await invocations.recorder.flush()

    async def _second(self, first: Invocation) -> Invocation:
        """The same input on the other device; both are counted towards the key's rate."""
        admission = self._sources.admission
        second = await admission.twin(first, self._spec, "gpu", PLAIN, None)
        if charge := self._request.scope.get(CHARGE):
            charge(1)
        return second

    async def _earlier(self, name: str, id: str) -> File:
        """An upload of an earlier invocation of the same function."""
        earlier = await self._sources.invocations.get(id)
        parts = earlier.message.payload.parts if earlier else ()
        own = earlier is not None and earlier.message.function == self._spec.name
        for part in parts:
            if part.name == name and own:
                self._kept |= kept_of([part], id)
                return stored(part, self._sources.blobs)
        raise InvalidInput(name, "is no longer kept from the earlier invocation: choose the file")

    def _check_rest(self, parameters: dict[str, object], files: set[str]) -> None:
        """Raise what else is wrong, so that everything is told at once."""
        validator, _ = self._sources.admission.door(self._spec, "auto")
        validator.check(parameters, frozenset(files))

    def _refused(self, faults: dict[str, str], notice: str, status: int) -> Refused:
        typed = self._form.typed
        controls = as_typed(self._fields, typed, self._kept, faults)
        device = typed.get("device", "auto")
        return Refused(controls, device, notice, status, forgot=bool(self._form.files))
