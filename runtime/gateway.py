"""The HTTP API: invoke functions, watch and stop invocations, ask what there is.

`POST /invoke/{function}` is answered before Starlette's routing: it is the hot path, and a router
and a request object would cost a third of the whole.  Everything else is plain Starlette.
"""

import asyncio
import difflib
import logging
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any
from urllib.parse import parse_qs
from weakref import WeakValueDictionary

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from runtime.blobs import Blobs
from runtime.brokers.memory import MemoryBroker
from runtime.catalog import Catalog
from runtime.devices import Machine
from runtime.errors import (
    Conflict,
    InvalidInput,
    LumbreError,
    NotFound,
    Unavailable,
)
from runtime.function import FunctionSpec
from runtime.intake import Intake, Validator, fingerprint
from runtime.invocations import Invocations
from runtime.ledger import Ledger
from runtime.model import (
    DEVICES,
    JSON,
    Device,
    Invocation,
    Message,
    Part,
    Payload,
    Status,
    derived_traceparent,
    new_id,
    queue_name,
)
from runtime.openapi import openapi
from runtime.problem import problem, problem_of, problem_of_outcome
from runtime.settings import Settings
from runtime.telemetry import Metrics, child_traceparent
from runtime.views import (
    broken_view,
    function_view,
    instant,
    invocation_view,
    is_simulated,
    list_view,
)
from runtime.worker import Worker

INVOKE = "/invoke/"
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
OWN_ID = re.compile(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}")  # what new_id makes
NO_TOKEN = re.compile(r"[^!#$%&'*+.^_`|~0-9A-Za-z-]")  # characters no HTTP token has (RFC 9110)
MEDIA_TYPE = re.compile(r"[\x21-\x7e]+/[\x21-\x7e]+( *;[\x20-\x7e]*)?")
DIGITS = re.compile(r"[0-9]{1,10}")
OCTETS = "application/octet-stream"
KEEP_ALIVE = 15.0  # seconds between comments on a silent event stream
MAX_LIMIT = 1000  # items of one page
CATALOG_WAIT = 60.0  # seconds a request waits for functions to be described at the first start

Headers = dict[bytes, bytes]

log = logging.getLogger(__name__)


class Gateway:
    """The ASGI application of a node."""

    def __init__(
        self,
        settings: Settings,
        machine: Machine,
        catalog: Catalog,
        invocations: Invocations,
        ledger: Ledger,
        blobs: Blobs,
        broker: MemoryBroker,
        worker: Worker,
        metrics: Metrics,
    ) -> None:
        self.settings = settings
        self.machine = machine
        self.catalog = catalog
        self.invocations = invocations
        self.ledger = ledger
        self.blobs = blobs
        self.broker = broker
        self.worker = worker
        self.metrics = metrics
        self.described = asyncio.Event()  # the catalog is loaded and its queues are declared
        self._intake = Intake(blobs, settings.max_body)
        self._validators: dict[str, Validator] = {}
        self._putting = WeakValueDictionary[str, asyncio.Lock]()  # by id, while it is created
        self._app = Starlette(
            routes=self._routes(),
            exception_handlers={
                LumbreError: _on_lumbre_error,
                HTTPException: self._on_http_error,
                Exception: _on_any_error,
            },
        )

    def _routes(self) -> list[Route]:
        one = "/invocations/{id}"
        return [
            Route("/invocations", self.list_invocations, methods=["GET"]),
            Route(one, self.put_invocation, methods=["PUT"]),
            Route(one, self.get_invocation, methods=["GET"]),
            Route(one, self.cancel_invocation, methods=["DELETE"]),
            Route(f"{one}/result", self.get_result, methods=["GET"]),
            Route(f"{one}/events", self.get_events, methods=["GET"]),
            Route(f"{one}/logs", self.get_logs, methods=["GET"]),
            Route(f"{one}/blobs/{{name}}", self.get_blob, methods=["GET"]),
            Route(f"{one}/replay", self.replay_invocation, methods=["POST"]),
            Route("/functions", self.list_functions, methods=["GET"]),
            Route("/functions/{name}", self.get_function, methods=["GET"]),
            Route("/decisions", self.list_decisions, methods=["GET"]),
            Route("/audit", self.get_audit, methods=["GET"]),
            Route("/openapi.json", self.get_openapi, methods=["GET"]),
            Route("/metrics", self.get_metrics, methods=["GET"]),
            Route("/healthz", self.get_health, methods=["GET"]),
            Route("/readyz", self.get_ready, methods=["GET"]),
            Route("/", self.get_root, methods=["GET"]),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(INVOKE):
            await self._app(scope, receive, send)
            return
        if scope["method"] != "POST":
            response = problem(405, "Method not allowed", "use POST", headers={"Allow": "POST"})
        else:
            try:
                response = await self._invoke(scope, receive)
            except LumbreError as error:
                response = problem_of(error)
            except Exception:  # whatever it is, the caller gets a problem, and the log the rest
                log.exception("path=%r cannot be answered", scope["path"])
                response = _internal_error()
        await response(scope, receive, send)

    # ── invoking ──────────────────────────────────────────────────────────────────────────────

    async def _invoke(self, scope: Scope, receive: Receive) -> Response:
        spec = await self._function(scope["path"][len(INVOKE) :])
        headers: Headers = dict(scope["headers"])
        query: bytes = scope["query_string"]
        asked = _device_asked(query) if query else "auto"
        key = headers.get(b"idempotency-key")
        invocation = await self._accept(
            spec,
            new_id(),
            asked,
            headers,
            query,
            receive,
            key.decode("latin-1") if key else None,
            once=key is not None,
        )
        return await self._answer(invocation, headers)

    async def _accept(
        self,
        spec: FunctionSpec,
        id: str,
        asked: str,
        headers: Headers,
        query: bytes,
        receive: Receive,
        key: str | None,
        *,
        once: bool,
    ) -> Invocation:
        """Read the input and put an invocation into its queue, once if it is to be created once."""
        device = self._device(spec, asked)
        validator = self._validator(spec)
        payload = await self._intake.read(validator, id, headers, query, receive)
        message = Message(id, spec.name, device, payload, time.time(), 1, 0, _trace(id, headers))
        invocation = Invocation(message, asked, spec.version)
        return await self._submit(invocation, headers, key, once=once)

    async def _submit(
        self, invocation: Invocation, headers: Headers, key: str | None, *, once: bool
    ) -> Invocation:
        if not once:
            durable = b"respond-async" in headers.get(b"prefer", b"")
            try:
                await self.invocations.submit(invocation, durable=durable)
            except LumbreError:
                await self._forget_blobs(invocation)
                raise
            return invocation
        message = invocation.message
        invocation.idempotency_key = key
        invocation.fingerprint = await asyncio.to_thread(
            fingerprint,
            message.function,
            invocation.requested_device,
            message.payload,
            self.blobs,
        )
        try:
            accepted = await self.invocations.submit_once(invocation)
        except LumbreError as error:
            if not (isinstance(error, Conflict) and key is None):  # else the blobs are the other's
                await self._forget_blobs(invocation)
            raise
        if accepted is not invocation and accepted.id != invocation.id:
            await self._forget_blobs(invocation)
        return accepted

    async def _forget_blobs(self, invocation: Invocation) -> None:
        payload = invocation.message.payload
        if payload.parts or payload.key:
            await asyncio.to_thread(self.blobs.delete, invocation.id)

    async def _answer(self, invocation: Invocation, headers: Headers) -> Response:
        """Wait as the caller prefers, and give the result, a failure, or 202 and where to ask."""
        if b"text/event-stream" in headers.get(b"accept", b""):
            return self._event_stream(invocation)
        preferred = headers.get(b"prefer")
        wait, applied = _preference(preferred) if preferred else (None, None)
        seconds = min(self.settings.max_wait, wait if wait is not None else self.settings.max_wait)
        if await self.invocations.wait(invocation, seconds):
            return await self._outcome(invocation, applied)
        return await self._accepted(invocation, applied)

    async def _outcome(self, invocation: Invocation, applied: str | None = None) -> Response:
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
            headers["Server-Timing"] = _server_timing(invocation.timings)
        if applied and (waited := applied.replace("respond-async", "").strip(", ")):
            headers["Preference-Applied"] = waited  # an outcome is no answer before the outcome
        if invocation.status is not Status.SUCCEEDED:
            return problem_of_outcome(invocation, self.settings.debug, headers)
        if invocation.result is None:
            return Response(status_code=204, headers=headers)
        return await self._part(invocation.result, headers)

    async def _part(self, part: Part, headers: Mapping[str, str]) -> Response:
        """A result or blob as the raw body of an answer, from memory or from the store."""
        if part.data is not None:
            return Answer(part.data, _media_type(part), headers)
        key = part.key or ""
        headers = {**headers, "Content-Type": _media_type(part)}  # as it is, without a charset
        if self.blobs.local:
            return FileResponse(self.blobs.path(key), headers=headers)
        data = await asyncio.to_thread(self.blobs.read, key)
        return Response(data, headers=headers)

    async def _accepted(self, invocation: Invocation, applied: str | None) -> Response:
        """202: the invocation is durable, and its outcome will be at the link."""
        if not self.invocations.recorder.is_stored(invocation.id):
            await self.invocations.recorder.flush()
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
        return _json(invocation_view(invocation), 202, headers)

    def _event_stream(self, invocation: Invocation) -> Response:
        headers = {
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
            "Invocation-Id": invocation.id,
        }
        stream = _sse(self.invocations.follow(invocation))
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)

    # ── what is asked for ─────────────────────────────────────────────────────────────────────

    async def _catalog_ready(self) -> None:
        if not self.described.is_set():
            try:
                await asyncio.wait_for(self.described.wait(), CATALOG_WAIT)
            except TimeoutError:
                raise Unavailable("the functions are still being described", 5) from None

    async def _function(self, name: str) -> FunctionSpec:
        await self._catalog_ready()
        if spec := self.catalog.functions.get(name):
            return spec
        if broken := self.catalog.broken.get(name):
            error = broken.error
            raise Unavailable(f"{broken.file} is broken: {error.type}: {error.message}", 60)
        name = name[:80]
        near = difflib.get_close_matches(name, self.catalog.functions, 1)
        known = ", ".join(sorted(self.catalog.functions)) or "none yet: see `lumbre new`"
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {known}"
        raise NotFound(f"there is no function {name!r}; {hint}")

    def _validator(self, spec: FunctionSpec) -> Validator:
        validator = self._validators.get(spec.name)
        if validator is None or validator.spec is not spec:
            validator = self._validators[spec.name] = Validator.of(spec)
        return validator

    def _device(self, spec: FunctionSpec, asked: str) -> Device:
        """The device to run on: the one asked for, or the GPU where there is one."""
        here = [d for d in spec.devices if d in self.machine.devices]
        if asked == "auto":
            if here:
                return "gpu" if "gpu" in here else here[0]
            asked = spec.devices[0]
        elif asked not in ("cpu", "gpu"):
            raise InvalidInput("device", f"is {asked!r}: ask for auto, cpu or gpu")
        for device in here:
            if device == asked:
                return device
        if asked not in spec.devices:
            raise InvalidInput(
                "device", f"is {asked}, but {spec.name} runs on {' and '.join(spec.devices)} only"
            )
        raise Unavailable(
            f"no {asked.upper()} replica can run here: ask for device=auto, or start with"
            " LUMBRE_SIMULATE_GPU=1 to try a GPU pool that computes on the CPU",
            60,
        )

    async def _invocation(self, request: Request) -> Invocation:
        id = request.path_params["id"]
        if invocation := await self.invocations.get(id):
            return invocation
        raise NotFound(f"there is no invocation {id!r}; the latest are at /invocations")

    # ── invocations ───────────────────────────────────────────────────────────────────────────

    async def put_invocation(self, request: Request) -> Response:
        id = request.path_params["id"]
        if not ID.fullmatch(id):
            raise InvalidInput("id", "must be 1 to 128 letters, digits, - and _")
        name = request.query_params.get("function")
        if not name:
            raise InvalidInput("function", "is missing: PUT /invocations/{id}?function=NAME")
        spec = await self._function(name)
        headers: Headers = dict(request.scope["headers"])
        lock = self._putting.setdefault(id, asyncio.Lock())
        async with lock:  # two who upload under one id at once would write the same blobs
            known = await self.invocations.get(id)
            if known is None:
                invocation = await self._put(spec, id, headers, request)
            else:
                invocation = await self._put_again(known, spec, headers, request)
        return await self._answer(invocation, headers)

    async def _put(
        self, spec: FunctionSpec, id: str, headers: Headers, request: Request
    ) -> Invocation:
        query: bytes = request.scope["query_string"]
        asked, query = _device_asked(query), _without(query)
        return await self._accept(spec, id, asked, headers, query, request.receive, None, once=True)

    async def _put_again(
        self, known: Invocation, spec: FunctionSpec, headers: Headers, request: Request
    ) -> Invocation:
        """The invocation there is, if the same is asked of it; Conflict if not."""
        query: bytes = request.scope["query_string"]
        asked, query = _device_asked(query), _without(query)
        # It is read under a name of its own, so that it cannot disturb the first's blobs.
        read_as = new_id()
        validator = self._validator(spec)
        try:
            payload = await self._intake.read(validator, read_as, headers, query, request.receive)
            given = await asyncio.to_thread(fingerprint, spec.name, asked, payload, self.blobs)
        finally:
            await asyncio.to_thread(self.blobs.delete, read_as)
        if given != known.fingerprint:
            raise Conflict(
                f"invocation {known.id} exists with another function, device or input: take a new"
                " id"
            )
        return known

    async def list_invocations(self, request: Request) -> Response:
        await self.invocations.recorder.flush()
        query = request.query_params
        status = query.get("status")
        if status is not None and status not in set(Status):
            raise InvalidInput("status", f"is {status!r}: one of {', '.join(Status)}")
        limit = _whole(query.get("limit", "50"), "limit", 1, MAX_LIMIT)
        since = _instant(query.get("since"))
        if since is not None:
            since -= 1e-6  # instants are told to the nearest microsecond: it may lie before
        items, cursor = await self.ledger.find(
            function=query.get("function"),
            status=Status(status) if status else None,
            device=_known_device(query.get("device")),
            since=since,
            cursor=query.get("cursor"),
            limit=limit,
        )
        views = [invocation_view(item, debug=self.settings.debug) for item in items]
        following = dict(query) | {"cursor": cursor}
        return _json(list_view(views, "/invocations", following))

    async def get_invocation(self, request: Request) -> Response:
        invocation = await self._invocation(request)
        if invocation.message.attempt > 1:
            await self.invocations.recorder.flush()  # the attempts before this one
        view = invocation_view(invocation, debug=self.settings.debug)
        view["attempts"] = [
            {
                "attempt": attempt.attempt,
                "replica": attempt.replica,
                "device": attempt.device,
                "started_at": instant(attempt.started_at),
                "finished_at": instant(attempt.finished_at),
                "error": attempt.error
                and {"type": attempt.error.type, "message": attempt.error.message},
            }
            for attempt in await self.ledger.attempts(invocation.id)
        ]
        return _json(view)

    async def get_result(self, request: Request) -> Response:
        invocation = await self._invocation(request)
        headers: Headers = dict(request.scope["headers"])
        wait, applied = _preference(headers.get(b"prefer", b""))
        if wait and not invocation.terminal:
            await self.invocations.wait(invocation, min(wait, self.settings.max_wait))
        if invocation.terminal:
            return await self._outcome(invocation, applied)
        return await self._accepted(invocation, applied)

    async def get_events(self, request: Request) -> Response:
        return self._event_stream(await self._invocation(request))

    async def get_logs(self, request: Request) -> Response:
        invocation = await self._invocation(request)
        text = invocation.log
        if text is None:
            text = self.invocations.output(invocation.id)
        return PlainTextResponse(text)

    async def get_blob(self, request: Request) -> Response:
        invocation = await self._invocation(request)
        name = request.path_params["name"]
        for part in (*invocation.blobs, *invocation.message.payload.parts):
            if part.name == name and part.key:
                return await self._part(part, {})
        raise NotFound(f"invocation {invocation.id} has no blob {name!r}")

    async def cancel_invocation(self, request: Request) -> Response:
        invocation = await self._invocation(request)
        stopped = await self.invocations.cancel(invocation)
        if not stopped and invocation.status is not Status.CANCELLED:
            raise Conflict(f"it cannot be cancelled: it has {invocation.status.value} already")
        return _json(invocation_view(invocation))

    async def replay_invocation(self, request: Request) -> Response:
        earlier = await self._invocation(request)
        spec = await self._function(earlier.message.function)
        headers: Headers = dict(request.scope["headers"])
        query: bytes = request.scope["query_string"]
        asked = _device_asked(query) if b"device=" in query else earlier.requested_device
        device = self._device(spec, asked)
        id = new_id()
        payload = await asyncio.to_thread(self._copy_payload, earlier.message.payload, id)
        message = Message(id, spec.name, device, payload, time.time(), 1, 0, _trace(id, headers))
        invocation = Invocation(message, asked, spec.version, replayed_from=earlier.id)
        await self._submit(invocation, headers, None, once=False)
        return await self._answer(invocation, headers)

    def _copy_payload(self, payload: Payload, id: str) -> Payload:
        """The same input under a new invocation, so that each may be removed by itself."""

        def copied(key: str | None) -> str | None:
            if key is None:
                return None
            to = f"{id}/{key.rpartition('/')[2]}"
            self.blobs.copy(key, to)
            return to

        try:
            parts = [Part(p.name, p.media_type, p.size, None, copied(p.key)) for p in payload.parts]
            return Payload(payload.parameters, tuple(parts), copied(payload.key))
        except FileNotFoundError:
            self.blobs.delete(id)
            raise NotFound("what was uploaded for it is no longer there: send it anew") from None

    # ── functions ─────────────────────────────────────────────────────────────────────────────

    async def list_functions(self, request: Request) -> Response:
        await self._catalog_ready()
        views = [self._function_view(spec) for _, spec in sorted(self.catalog.functions.items())]
        views += [broken_view(b) for _, b in sorted(self.catalog.broken.items())]
        return _json(list_view(views, "/functions", {}))

    async def get_function(self, request: Request) -> Response:
        name = request.path_params["name"]
        await self._catalog_ready()
        if broken := self.catalog.broken.get(name):
            return _json(broken_view(broken))
        return _json(self._function_view(await self._function(name)))

    def _function_view(self, spec: FunctionSpec) -> dict[str, Any]:
        pools = {d: p for d in spec.devices if (p := self.worker.pools.get((spec.name, d)))}
        depths = {d: self.broker.depth_now(queue_name(spec.name, d)) for d in spec.devices}
        return function_view(spec, pools, depths, self.metrics, self.machine)

    async def list_decisions(self, request: Request) -> Response:
        limit = _whole(request.query_params.get("limit", "100"), "limit", 1, MAX_LIMIT)
        decisions = await self.ledger.decisions(request.query_params.get("function"), limit)
        items = [
            {
                "at": instant(d.at),
                "function": d.function,
                "device": d.device,
                "before": d.before,
                "after": d.after,
                "backlog": d.backlog,
                "reason": d.reason,
            }
            for d in decisions
        ]
        return _json(list_view(items, "/decisions", {}))

    # ── the node ──────────────────────────────────────────────────────────────────────────────

    async def get_audit(self, request: Request) -> Response:
        """Whether accepted = terminal + queued + running, and what breaks it if not."""
        await self.invocations.recorder.flush()
        audit = await self.ledger.audit()
        return _json(
            {
                "holds": audit.holds,
                "accepted": audit.accepted,
                "by_status": {s.value: n for s, n in audit.by_status.items()},
                "ignored_outcomes": audit.ignored,
                "problems": list(audit.problems),
            }
        )

    async def get_openapi(self, request: Request) -> Response:
        await self._catalog_ready()
        return _json(openapi(self.catalog.functions.values()))

    async def get_metrics(self, request: Request) -> Response:
        body, content_type = self.metrics.text(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})

    async def get_health(self, request: Request) -> Response:
        return _json({"status": "alive"})

    async def get_ready(self, request: Request) -> Response:
        faults = []
        if not self.described.is_set():
            faults.append("the functions are still being described")
        if self.invocations.draining:
            faults.append("the node is draining")
        if not self.invocations.recorder.healthy:
            faults.append("the ledger cannot be written")
        if faults:
            return problem(503, "Not ready", "; ".join(faults), headers={"Retry-After": "1"})
        return _json({"status": "ready"})

    async def get_root(self, request: Request) -> Response:
        return _json(
            {
                "name": "lumbre",
                "functions": "/functions",
                "invoke": "POST /invoke/{function}",
                "invocations": "/invocations",
                "openapi": "/openapi.json",
                "metrics": "/metrics",
            }
        )

    async def _on_http_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        path = request.url.path
        if error.status_code != 405:
            detail = f"there is nothing at {path}; GET / lists what there is"
            return problem(error.status_code, error.detail, detail)
        routes = (route for route in self._routes() if route.path_regex.match(path))
        allowed = ", ".join(sorted({m for route in routes for m in route.methods or ()}))
        detail = f"{request.method} is not for {path}: use {allowed}"
        return problem(405, "Method not allowed", detail, headers={"Allow": allowed})


class Answer(Response):
    """A 200 with a body in memory, without what Response does for cookies and charsets."""

    def __init__(self, body: bytes, media_type: str, headers: Mapping[str, str]) -> None:
        self.status_code = 200
        self.body = body
        self.background = None
        self.raw_headers = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in headers.items()]
        self.raw_headers.append((b"content-type", media_type.encode("latin-1")))
        self.raw_headers.append((b"content-length", b"%d" % len(body)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(head)
        await send({"type": "http.response.body", "body": self.body})


# ── small readers and writers ─────────────────────────────────────────────────────────────────


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(value), status, headers or {}, JSON)


def _trace(id: str, headers: Headers) -> str | None:
    """The traceparent of a new invocation; None where it can be derived from the id."""
    given = headers.get(b"traceparent")
    trace = child_traceparent(given.decode("latin-1")) if given else None
    if trace is None and not OWN_ID.fullmatch(id):
        trace = derived_traceparent(new_id())
    return trace


def _device_asked(query: bytes) -> str:
    return parse_qs(query.decode("latin-1")).get("device", ["auto"])[-1]


def _known_device(text: str | None) -> Device | None:
    if text is None:
        return None
    for device in DEVICES:
        if device == text:
            return device
    raise InvalidInput("device", f"is {text!r}: one of cpu, gpu")


def _without(query: bytes) -> bytes:
    """The query string without what PUT /invocations/{id} takes for itself."""
    pairs = query.split(b"&")
    return b"&".join(p for p in pairs if not p.startswith((b"function=", b"device=")))


def _preference(header: bytes) -> tuple[float | None, str | None]:
    """Seconds to wait and what to say was applied, from Prefer (RFC 7240 §4.1 and §4.3)."""
    wait: float | None = None
    applied = []
    for item in header.decode("latin-1").split(","):
        name, _, value = item.strip().partition("=")
        if name.lower() == "respond-async":
            wait = wait or 0.0
            applied.append("respond-async")
        elif name.lower() == "wait" and DIGITS.fullmatch(seconds := value.strip('" ')):
            wait = float(seconds)
            applied.append(f"wait={seconds}")
    return wait, ", ".join(applied) or None


def _server_timing(timings: dict[str, float]) -> str:
    """Milliseconds per phase (W3C Server Timing); a function's phases may have any name."""
    return ", ".join(
        f"{NO_TOKEN.sub('_', name)};dur={seconds * 1e3:.3f}" for name, seconds in timings.items()
    )


def _media_type(part: Part) -> str:
    """The media type of bytes, where what a function or caller said is one."""
    name = part.media_type
    return name if name == JSON or MEDIA_TYPE.fullmatch(name) else OCTETS


def _whole(text: str, field: str, low: int, high: int) -> int:
    if not DIGITS.fullmatch(text) or not low <= int(text) <= high:
        raise InvalidInput(field, f"is {text!r}: give a whole number from {low} to {high}")
    return int(text)


def _instant(text: str | None) -> float | None:
    from datetime import UTC, datetime

    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        raise InvalidInput(
            "since", f"is {text!r}: give an RFC 3339 instant such as 2026-11-23T12:00:00Z"
        ) from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


async def _sse(events: AsyncGenerator[tuple[str, bytes], None]) -> AsyncIterator[bytes]:
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


async def _on_lumbre_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, LumbreError)
    return problem_of(error)


async def _on_any_error(request: Request, error: Exception) -> Response:
    return _internal_error()


def _internal_error() -> Response:
    return problem(500, "Internal error", "this is a fault of Lumbre; its log says more")
