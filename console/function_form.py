"""The form on a function's page: what stands in it at first, and the curl that does the same."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from starlette.requests import Request

from console.curl import curl
from console.field import Field, fields_of
from console.form import Control, filled, kept_of
from console.launch import Refused
from console.page import View
from console.sources import Sources
from runtime.errors import LumbreError
from runtime.function import FunctionSpec
from runtime.model import DEVICES, JSON, Device, Invocation

FORM_LIMIT = 64 * 1024  # bytes of an earlier input that a form is filled with
TOO_LARGE = "Its input is too large for a form, which has the defaults: send it by curl."


class FunctionForm:
    """Makes the forms of all functions."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def new(self, spec: FunctionSpec, request: Request) -> View:
        """A form with the defaults, and a curl for these."""
        fields = fields_of(spec)
        device = request.query_params.get("device", "auto")
        view = self._view(spec, filled(fields, {}, {}), device)
        parameters = _example(fields)
        files = {f.name: f.media_type for f in fields if f.kind == "file" and f.required}
        known = self._is_taken(spec, parameters, files)
        said = self._curl(spec, request, "auto", parameters, files) if known else None
        return {"form": view, "curl": said, "filled_from": None}

    def from_earlier(
        self, spec: FunctionSpec, request: Request, earlier: Sequence[Invocation]
    ) -> View:
        """A form with the input of an earlier invocation, or of two with the same, and its curl."""
        first = earlier[0]
        fields = fields_of(spec)
        given = _parameters(first)
        names = {field.name for field in fields}
        unknown = [name for name in given or () if name not in names]
        known = {k: v for k, v in (given or {}).items() if k in names}
        parts = [part for part in first.message.payload.parts if part.name in spec.binary]
        note = TOO_LARGE if given is None else None
        if unknown:
            note = f"Left out is what {spec.name} does not take any more: {', '.join(unknown)}."
        asked = first.requested_device
        both = len(earlier) > 1
        controls = filled(fields, known, kept_of(parts, first.id))
        result = first.result.media_type if first.result else None
        said = self._curl(
            spec,
            request,
            "compare" if both else asked,
            None if given is None else known,
            {part.name: part.media_type for part in parts},
            JSON if both else result,
        )
        view = self._view(spec, controls, "auto" if both else asked, note=note)
        return {"form": view, "curl": said, "filled_from": first.id}

    def refused(self, spec: FunctionSpec, refused: Refused) -> View:
        """A form as it was left, with what is wrong."""
        view = self._view(spec, refused.controls, refused.device, notice=refused.notice)
        view["forgot"] = refused.forgot
        return {"form": view, "curl": None, "filled_from": None}

    def _view(
        self,
        spec: FunctionSpec,
        controls: Sequence[Control],
        device: str,
        *,
        notice: str = "",
        note: str | None = None,
    ) -> dict[str, Any]:
        here = self._sources.fleet.devices(spec)
        return {
            "controls": controls,
            "action": f"/functions/{spec.name}/run",
            "device": device if device in here else "auto",
            "devices": [self._device(spec, each, here) for each in DEVICES],
            "both": len(here) == len(DEVICES),
            "faulty": sum(1 for control in controls if control.fault),
            "notice": notice,
            "note": note,
            "forgot": False,
        }

    def _device(self, spec: FunctionSpec, device: Device, here: Sequence[Device]) -> dict[str, Any]:
        """A device to choose, or why it cannot be."""
        lacks = None
        if device not in spec.devices:
            lacks = f"{spec.name} runs on the {spec.devices[0].upper()} only"
        elif device not in here:
            lacks = self._sources.fleet.lacks(spec, device)
        simulated = device == "gpu" and self._sources.fleet.simulated
        return {"name": device, "lacks": lacks, "simulated": simulated and not lacks}

    def _curl(
        self,
        spec: FunctionSpec,
        request: Request,
        device: str,
        parameters: Mapping[str, Any] | None,
        files: Mapping[str, str],
        result: str | None = None,
    ) -> str:
        access = self._sources.access
        base = str(request.base_url)
        return curl(spec, base, device, parameters, files, result=result, keyed=access.enabled)

    def _is_taken(
        self, spec: FunctionSpec, parameters: dict[str, Any], files: Mapping[str, str]
    ) -> bool:
        """Whether an example is one: what was made up for a parameter may not fit it."""
        try:
            validator, _ = self._sources.admission.door(spec, "auto")
            validator.check(parameters, frozenset(files))
        except LumbreError:
            return False
        return True


def _parameters(invocation: Invocation) -> dict[str, Any] | None:
    """The parameters of an earlier invocation; None where they are too long for a form."""
    parameters = invocation.message.payload.parameters
    if parameters is None or len(parameters) > FORM_LIMIT:
        return None
    given: dict[str, Any] = orjson.loads(parameters)
    return given


def _example(fields: Sequence[Field]) -> dict[str, Any]:
    """Parameters to begin with: what has no default, made up as small as it may be."""
    return {
        field.name: _made_up(field) for field in fields if field.required and field.kind != "file"
    }


def _made_up(field: Field) -> Any:
    if field.kind in ("whole", "number"):
        return 1 if field.low is None else field.low
    if field.kind == "choice":
        return orjson.loads(field.choices[0])
    made: Mapping[str, Any] = {"checkbox": True, "text": "hello", "long": "hello", "json": []}
    return made[field.kind]
