"""The page of one invocation: where its time went, what came in and out, and its story as it runs.

While it is not over, the page follows its events (`static/follow.js`); without a script, it is
brought up to date by loading it again.
"""

import asyncio
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from console import numbers
from console.app import see_other
from console.moment import settle
from console.outcome import FIRST, file_of, head_of, laid_out, outcome_of
from console.page import Action, Page, View
from console.sources import Sources
from console.traceback import folded
from console.waterfall import waterfall
from runtime.errors import LumbreError, NotFound
from runtime.lifeline import ReplicaLife
from runtime.model import Attempt, Invocation, Payload, Status, queue_name
from runtime.query import Headers
from runtime.views import is_simulated, waiting_view

PATH = "/invocations/{id}"
LOG_SHOWN = 64 * 1024  # characters of the log in the page: its end
LATE = "late"  # in a URL: what was to be cancelled was over already


class InvocationPage:
    """One invocation, which is the page of a URL that the API has too."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    @property
    def pages(self) -> list[Page]:
        return [Page(PATH, "invocation.html", "invocations", self.show, twin=True)]

    @property
    def actions(self) -> list[Action]:
        return [
            Action(f"{PATH}/again", self.run_again, counts=True),
            Action(f"{PATH}/cancel", self.cancel),
        ]

    # ── doing ─────────────────────────────────────────────────────────────────────────────────

    async def run_again(self, request: Request) -> Response:
        """The same input once more, on the device that was asked for; leads to the new one."""
        earlier = await self._invocation(request)
        spec = await self._sources.admission.function(earlier.message.function)
        headers: Headers = {b"prefer": b"respond-async"}  # what takes long is followed on its page
        again = await self._sources.admission.replay(
            earlier, spec, earlier.requested_device, headers
        )
        await settle(self._sources.invocations, again)
        return see_other(f"/invocations/{again.id}")

    async def cancel(self, request: Request) -> Response:
        """Stop it; leads back to its page, which says so where it was over already."""
        invocation = await self._invocation(request)
        stopped = await self._sources.invocations.cancel(invocation)
        late = not stopped and invocation.status is not Status.CANCELLED
        return see_other(f"/invocations/{invocation.id}{'?notice=' + LATE if late else ''}")

    async def _invocation(self, request: Request) -> Invocation:
        id = request.path_params["id"]
        if invocation := await self._sources.invocations.get(id):
            return invocation
        raise NotFound(f"there is no invocation {id!r}; the latest are at /invocations")

    # ── showing ───────────────────────────────────────────────────────────────────────────────

    async def show(self, request: Request) -> View:
        sources = self._sources
        invocation = await self._invocation(request)
        message = invocation.message
        if message.attempt > 1:
            await self._settle()
        attempts = await sources.ledger.attempts(invocation.id)
        life = await self._life(invocation)
        spec = sources.catalog.functions.get(message.function)
        return {
            "id": invocation.id,
            "function": message.function,
            "known": spec is not None,
            "streams": spec is not None and spec.streams,
            "device": message.device,
            "requested_device": invocation.requested_device,
            "simulated": is_simulated(invocation),
            "status": invocation.status.value,
            "over": invocation.terminal,
            "attempt": message.attempt,
            "cold": invocation.cold,
            "created_at": message.created_at,
            "started_at": invocation.started_at,
            "finished_at": invocation.finished_at,
            "waiting": why_waiting(sources, invocation, time.time()),
            "late": request.query_params.get("notice") == LATE and invocation.terminal,
            "waterfall": waterfall(invocation, attempts, now=time.time(), life=life),
            "outcome": await outcome_of(invocation, sources.blobs),
            "input": await self._input(invocation),
            "attempts": [attempt_view(attempt) for attempt in attempts],
            "log": log_view(self._log(invocation)),
            "about": await self._about(invocation),
            "links": _links(invocation),
        }

    async def _settle(self) -> None:
        """Have the attempts until now written down; a ledger that is away says so itself."""
        try:
            await self._sources.invocations.recorder.flush()
        except LumbreError:
            return  # reading them fails next, or shows what there is

    async def _life(self, invocation: Invocation) -> ReplicaLife | None:
        """The replica that it waited for, if that is known."""
        name, started_at = invocation.replica, invocation.started_at
        if not invocation.cold or name is None or started_at is None:
            return None
        for life in self._sources.fleet.lives():
            if life.name == name and life.spawned_at <= started_at:
                return life
        return await self._sources.ledger.search.replica(name, started_at)

    async def _input(self, invocation: Invocation) -> dict[str, Any]:
        payload = invocation.message.payload
        shown = await asyncio.to_thread(self._parameters, payload)
        files = [file_of(part, invocation.id) for part in payload.parts]
        return shown | {"files": files, "empty": not files and shown["text"] == "{}"}

    def _parameters(self, payload: Payload) -> dict[str, Any]:
        """The parameters as text, or their first lines; they are read where they are a blob."""
        if payload.parameters is not None:
            text, whole = laid_out(payload.parameters)
            return {"text": text, "whole": whole, "size": len(payload.parameters)}
        if payload.key is None:
            return {"text": None, "whole": False, "size": None}
        head = head_of(self._sources.blobs, payload.key, FIRST)
        if head is None:
            return {"text": None, "whole": False, "size": None}
        size = self._sources.blobs.size(payload.key)
        text, whole = laid_out(head, size)
        return {"text": text, "whole": whole, "size": size}

    def _log(self, invocation: Invocation) -> str:
        if invocation.log is not None:
            return invocation.log
        return self._sources.invocations.output(invocation.id)

    async def _about(self, invocation: Invocation) -> dict[str, Any]:
        """What else is recorded of it."""
        ledger = self._sources.ledger
        record = await ledger.callback(invocation.id) if invocation.callback else None
        again = await ledger.search.replays_of(invocation) if invocation.terminal else []
        if invocation.status is Status.DEAD:
            settled = (await ledger.letters.among([invocation.id])).get(invocation.id)
            if settled and settled.replayed_as and settled.replayed_as not in again:
                again = [settled.replayed_as, *again]
        return {
            "version": invocation.version,
            "replica": invocation.replica,
            "batch": invocation.batch,
            "batch_index": invocation.batch_index,
            "replayed_from": invocation.replayed_from,
            "replayed_as": again,
            "traceparent": invocation.traceparent,
            "idempotency_key": invocation.idempotency_key,
            "callback": record,
        }


def why_waiting(sources: Sources, invocation: Invocation, now: float) -> str | None:
    """Why one that is queued does not run yet, as a sentence; None for any other."""
    if invocation.status is not Status.QUEUED:
        return None
    message = invocation.message
    spec = sources.catalog.functions.get(message.function)
    if spec is None:
        return f"Nothing serves {message.function} any more: its file is gone, or is broken."
    if not invocation.published:
        return "Waiting to be put into its queue, which is held back behind others."
    depth = sources.fleet.depth(queue_name(spec.name, message.device))
    pool = sources.fleet.pools(spec).get(message.device)
    cause = waiting_view(message.device, pool, depth)
    if cause is None:
        return "A worker has it: it runs in a moment."
    if cause["cause"] != "starting":
        return f"Waiting for a replica: {cause['detail']}."
    starting = [
        now - life.spawned_at
        for life in sources.fleet.lives()
        if (life.function, life.device, life.state) == (spec.name, message.device, "starting")
    ]
    if not starting:
        return f"Waiting for a replica: {cause['detail']}."
    return f"Waiting for a replica: starting, for {numbers.seconds(max(starting))}."


def attempt_view(attempt: Attempt) -> dict[str, Any]:
    """An attempt that did not give the outcome: where, how long, and why it ended."""
    error = attempt.error
    both = attempt.started_at is not None and attempt.finished_at is not None
    took = (attempt.finished_at or 0.0) - (attempt.started_at or 0.0) if both else None
    last_output = error.details.get("last_output") if error else None
    return {
        "attempt": attempt.attempt,
        "replica": attempt.replica,
        "device": attempt.device,
        "started_at": attempt.started_at,
        "seconds": took,
        "type": error.type if error else None,
        "message": error.message if error else None,
        "traceback": list(folded(error.traceback)) if error and error.traceback else [],
        "last_output": last_output if isinstance(last_output, str) else "",
    }


def log_view(text: str) -> dict[str, Any]:
    """The end of a log, from the beginning of a line, and how long all of it is."""
    shown = text[-LOG_SHOWN:]
    if len(shown) < len(text):
        shown = shown.partition("\n")[2] or shown
    return {"text": shown, "whole": shown == text, "characters": len(text)}


def _links(invocation: Invocation) -> dict[str, str]:
    link = f"/invocations/{invocation.id}"
    return {
        "self": link,
        "json": f"{link}.json",
        "events": f"{link}/events",
        "logs": f"{link}/logs",
        "again": f"{link}/again",
        "cancel": f"{link}/cancel",
        "batch": f"/invocations?batch={invocation.batch}",
    }
