"""`device=compare`: one input on both devices, and how they compare.

The CPU runs first and the GPU after it, since they would take cores from one another.  Whoever does
not wait for both gets 202, and then both are durable and queued: what was promised goes on without
this process.
"""

import asyncio
from typing import Any

import orjson
from starlette.responses import Response

from runtime.admission import Admission
from runtime.agreement import Agreement, agreement
from runtime.answers import json_answer
from runtime.errors import InvalidInput
from runtime.function import FunctionSpec
from runtime.intake import Receive
from runtime.invocations import Invocations
from runtime.model import DEVICES, JSON, Device, Invocation, Part, Status, new_id
from runtime.query import Headers, preference
from runtime.settings import Settings
from runtime.views import invocation_view, is_simulated, outcome_part_view

COMPARE = "compare"  # in the place of a device


class Comparison:
    """Answers `POST /invoke/{function}?device=compare`."""

    def __init__(self, settings: Settings, admission: Admission, invocations: Invocations) -> None:
        self._settings = settings
        self._admission = admission
        self._invocations = invocations

    async def answer(
        self, spec: FunctionSpec, headers: Headers, query: bytes, receive: Receive, key: str | None
    ) -> Response:
        """Run it on both, and tell how they compare; 202 and both records where that takes longer.

        Raises InvalidInput where it cannot be compared, Unavailable where a device is missing here,
        and what else accepting an input raises.
        """
        self._refuse(spec, headers)
        wait, applied = preference(headers.get(b"prefer", b""))
        most = self._settings.max_wait
        until = asyncio.get_running_loop().time() + min(most, most if wait is None else wait)
        cpu = await self._admission.accept(
            spec, new_id(), "cpu", headers, query, receive, key, once=key is not None
        )
        over = await self._wait(cpu, until)
        own = None if key is None else f"{key} on the gpu"
        gpu = await self._admission.twin(over or cpu, spec, "gpu", headers, own)
        both = over and await self._wait(gpu, until)
        if over is None or both is None:
            return await self._accepted({"cpu": over or cpu, "gpu": gpu}, applied)
        given = applied.replace("respond-async", "").strip(", ") if applied else ""
        told = {"Preference-Applied": given} if given else None
        # In a thread: two results of a quarter of a megabyte take a while to go through.
        return json_answer(await asyncio.to_thread(compared, over, both), headers=told)

    def _refuse(self, spec: FunctionSpec, headers: Headers) -> None:
        if b"text/event-stream" in headers.get(b"accept", b""):
            raise InvalidInput(
                "device",
                "is compare, which is told at its end and not as events: leave Accept out, or"
                " follow one device",
            )
        if missing := [device for device in DEVICES if device not in spec.devices]:
            raise InvalidInput(
                "device",
                f"is compare, but {spec.name} has no {missing[0]}: ask for {spec.devices[0]}",
            )
        for device in DEVICES:
            self._admission.door(spec, device)

    async def _wait(self, invocation: Invocation, until: float) -> Invocation | None:
        left = until - asyncio.get_running_loop().time()
        return await self._invocations.wait(invocation, max(0.0, left))

    async def _accepted(self, accepted: dict[Device, Invocation], applied: str | None) -> Response:
        for invocation in accepted.values():
            await self._invocations.secure(invocation)
        links = [f"/invocations/{invocation.id}" for invocation in accepted.values()]
        body = {device: invocation_view(each) for device, each in accepted.items()}
        headers = {
            "Link": ", ".join(f'<{link}>; rel="item"' for link in links),  # RFC 8288, RFC 6573
            "Retry-After": "1",
        }
        if applied:
            headers["Preference-Applied"] = applied
        return json_answer(body | {"locations": links}, 202, headers)


def compared(cpu: Invocation, gpu: Invocation) -> dict[str, Any]:
    """Two terminal invocations of one input, side by side."""
    return {
        "cpu": _side(cpu),
        "gpu": _side(gpu),
        "speedup": _ratio(cpu, gpu),
        "simulated": is_simulated(gpu),
        "agree": _agreement(cpu.result, gpu.result),
    }


def _side(invocation: Invocation) -> dict[str, Any]:
    view = invocation_view(invocation)
    names = ("id", "status", "cold", "replica", "simulated", "timings", "error", "links")
    side = {name: view[name] for name in names}
    side["run"] = (invocation.timings or {}).get("run")
    return side | outcome_part_view(invocation.result)


def _ratio(cpu: Invocation, gpu: Invocation) -> float | None:
    """How many times faster the GPU ran; None unless both succeeded."""
    if {cpu.status, gpu.status} != {Status.SUCCEEDED}:
        return None
    above, below = (each.timings or {} for each in (cpu, gpu))
    ran, quickly = above.get("run", 0.0), below.get("run", 0.0)
    return ran / quickly if ran > 0 and quickly > 0 else None


def _agreement(ours: Part | None, theirs: Part | None) -> Agreement | None:
    """Whether two results agree; None where one is missing, or no JSON of a size to travel."""
    if ours is None or theirs is None or ours.data is None or theirs.data is None:
        return None
    if {ours.media_type, theirs.media_type} != {JSON}:
        return None
    try:
        return agreement(orjson.loads(ours.data), orjson.loads(theirs.data))
    except orjson.JSONDecodeError:
        return None
