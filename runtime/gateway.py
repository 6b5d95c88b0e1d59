"""The HTTP API: invoke functions, watch and stop invocations, ask what there is.

`POST /invoke/{function}` is answered before Starlette's routing: it is the hot path, and needs
neither a router nor a request object.  Everything else is plain Starlette.
"""

import asyncio
import logging
import re
import time
from functools import partial
from typing import Protocol
from weakref import WeakValueDictionary

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from runtime.access import Access
from runtime.access_routes import AccessRoutes, reads_pages, refused
from runtime.admission import Admission
from runtime.answers import Answers, json_answer
from runtime.batch_routes import BatchRoutes
from runtime.comparison import COMPARE, Comparison
from runtime.errors import Conflict, InvalidInput, LumbreError, NotFound, Unauthorized
from runtime.filters import Filters
from runtime.function import FunctionSpec
from runtime.invocations import Invocations
from runtime.ledger import Ledger
from runtime.letter_routes import LetterRoutes
from runtime.model import Invocation, Status, new_id
from runtime.problem import problem, problem_of
from runtime.query import (
    Headers,
    device_asked,
    preference,
    refuse_other_sites,
    whole,
    without,
)
from runtime.reports import Reports
from runtime.scopes import CHARGE, IDENTITY, RUN, SAFE
from runtime.search import Place, Wanted
from runtime.settings import Settings
from runtime.views import MAX_LIMIT, attempt_view, invocation_view, list_view

INVOKE = "/invoke/"
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")

log = logging.getLogger(__name__)


class Pages(Protocol):
    """What serves browsers; a floor above this."""

    def takes(self, scope: Scope) -> ASGIApp | None:
        """Who answers this request there; None where the API does."""

    def refuse(self, error: LumbreError) -> ASGIApp:
        """What tells a browser why it may not have what it asks for."""


class Gateway:
    """The ASGI application of a node."""

    def __init__(
        self,
        settings: Settings,
        admission: Admission,
        answers: Answers,
        reports: Reports,
        letters: LetterRoutes,
        invocations: Invocations,
        ledger: Ledger,
        batches: BatchRoutes,
        access: Access,
    ) -> None:
        self.console: Pages | None = None  # set where this process serves it
        self._settings = settings
        self._admission = admission
        self._answers = answers
        self._invocations = invocations
        self._comparison = Comparison(settings, admission, invocations)
        self._ledger = ledger
        self._access = access
        self._putting = WeakValueDictionary[str, asyncio.Lock]()  # by id, while it is created
        doors = AccessRoutes(access, settings)
        self._routes = [*self.routes(), *reports.routes(), *batches.routes(), *letters.routes()]
        self._routes += doors.routes()
        self._app = Starlette(
            routes=self._routes,
            exception_handlers={
                LumbreError: _on_lumbre_error,
                HTTPException: self._on_http_error,
                Exception: _on_any_error,
            },
        )

    def routes(self) -> list[Route]:
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
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(INVOKE):
            await self._serve(scope, receive, send)
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

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Everything but invoking, through Starlette."""
        scope["lumbre.send"] = send  # Starlette wraps it, and `hang_up` needs it as it is
        if scope["type"] == "http":
            headers: Headers = dict(scope["headers"])
            try:
                self._admit(scope, headers)
            except LumbreError as error:
                await self._refuse(error, scope, headers)(scope, receive, send)
                return
        if self.console and scope["type"] == "http" and (page := self.console.takes(scope)):
            await self._show(page, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refuse(self, error: LumbreError, scope: Scope, headers: Headers) -> ASGIApp:
        """What is told to a request that is kept out: to a browser, by a page."""
        if self.console and reads_pages(headers) and not isinstance(error, Unauthorized):
            return self.console.refuse(error)
        return refused(error, scope, headers, pages=self.console is not None)

    def _admit(self, scope: Scope, headers: Headers) -> None:
        """Raise what keeps a request out; who sends it is in its scope from here on."""
        method = scope["method"]
        if method not in SAFE:
            refuse_other_sites(headers)
        if self._access.guards:
            need = self._access.needs.of(method, scope["path"])
            scope[IDENTITY] = identity = self._access.admit(need, headers)
            scope[CHARGE] = partial(self._access.charge, identity)

    @staticmethod
    async def _show(page: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await page(scope, receive, send)
        except Exception:  # whatever it is, the caller gets a problem, and the log the rest
            log.exception("path=%r cannot be shown", scope["path"])
            await _internal_error()(scope, receive, send)

    async def _invoke(self, scope: Scope, receive: Receive) -> Response:
        headers: Headers = dict(scope["headers"])
        if self._access.guards:
            self._access.admit_run(RUN, headers)
        spec = await self._admission.function(scope["path"][len(INVOKE) :])
        refuse_other_sites(headers)
        query: bytes = scope["query_string"]
        asked = device_asked(query) if query else "auto"
        given = headers.get(b"idempotency-key")
        key = given.decode("latin-1") if given else None
        if asked == COMPARE:
            return await self._comparison.answer(spec, headers, query, receive, key)
        invocation = await self._admission.accept(
            spec, new_id(), asked, headers, query, receive, key, once=given is not None
        )
        return await self._answers.when_done(invocation, headers)

    async def _invocation(self, request: Request) -> Invocation:
        id = request.path_params["id"]
        if invocation := await self._invocations.get(id):
            return invocation
        raise NotFound(f"there is no invocation {id!r}; the latest are at /invocations")

    async def put_invocation(self, request: Request) -> Response:
        id = request.path_params["id"]
        if not ID.fullmatch(id):
            raise InvalidInput("id", "must be 1 to 128 letters, digits, - and _")
        name = request.query_params.get("function")
        if not name:
            raise InvalidInput("function", "is missing: PUT /invocations/{id}?function=NAME")
        spec = await self._admission.function(name)
        headers: Headers = dict(request.scope["headers"])
        lock = self._putting.setdefault(id, asyncio.Lock())
        async with lock:  # two who upload under one id at once would write the same blobs
            known = await self._invocations.get(id)
            if known is None:
                invocation = await self._put(spec, id, headers, request)
            else:
                invocation = await self._put_again(known, spec, headers, request)
        return await self._answers.when_done(invocation, headers)

    async def _put(
        self, spec: FunctionSpec, id: str, headers: Headers, request: Request
    ) -> Invocation:
        query: bytes = request.scope["query_string"]
        asked, query = device_asked(query), without(query)
        return await self._admission.accept(
            spec, id, asked, headers, query, request.receive, None, once=True
        )

    async def _put_again(
        self, known: Invocation, spec: FunctionSpec, headers: Headers, request: Request
    ) -> Invocation:
        """The invocation there is, if the same is asked of it; Conflict if not."""
        query: bytes = request.scope["query_string"]
        asked, query = device_asked(query), without(query)
        given = await self._admission.fingerprint(spec, asked, headers, query, request.receive)
        if given != known.fingerprint:
            raise Conflict(
                f"invocation {known.id} exists with another function, device or input: take a new"
                " id"
            )
        return known

    async def list_invocations(self, request: Request) -> Response:
        await self._invocations.recorder.flush()
        query = request.query_params
        limit = whole(query.get("limit") or "50", "limit", 1, MAX_LIMIT)
        wanted = Filters.of(query).wanted(time.time())
        cursor = query.get("cursor") or None
        found = self._found if wanted.indexed else self._searched
        items, cursor = await found(wanted, cursor, limit)
        views = [invocation_view(item, debug=self._settings.debug) for item in items]
        following = dict(query) | {"cursor": cursor}
        return json_answer(list_view(views, "/invocations", following))

    async def _found(
        self, wanted: Wanted, cursor: str | None, limit: int
    ) -> tuple[list[Invocation], str | None]:
        since = wanted.since
        return await self._ledger.find(
            function=wanted.function,
            status=wanted.status,
            device=wanted.device,
            # Instants are told to the nearest microsecond: it may lie before.
            since=None if since is None else since - 1e-6,
            cursor=cursor,
            limit=limit,
            batch=wanted.batch,
        )

    async def _searched(
        self, wanted: Wanted, cursor: str | None, limit: int
    ) -> tuple[list[Invocation], str | None]:
        """What no index answers wholly: a page may have fewer than it could, and still a next."""
        before = Place.parse(cursor) if cursor else None
        page = await self._ledger.search.find(wanted, time.time(), before, limit)
        whole = await self._ledger.among([item.id for item in page.items])
        items = [whole[item.id] for item in page.items if item.id in whole]
        return items, str(page.older) if page.older else None

    async def get_invocation(self, request: Request) -> Response:
        invocation = await self._invocation(request)
        if invocation.message.attempt > 1:
            await self._invocations.recorder.flush()  # the attempts before this one
        view = invocation_view(invocation, debug=self._settings.debug)
        if invocation.callback:
            from runtime.callbacks import callback_view  # 60 ms that most never need

            record = await self._ledger.callback(invocation.id)
            view["callback"] = callback_view(record) if record else None
        attempts = await self._ledger.attempts(invocation.id)
        view["attempts"] = [attempt_view(attempt) for attempt in attempts]
        return json_answer(view)

    async def get_result(self, request: Request) -> Response:
        invocation = await self._invocation(request)
        headers: Headers = dict(request.scope["headers"])
        wait, applied = preference(headers.get(b"prefer", b""))
        if wait and not invocation.terminal:
            seconds = min(wait, self._settings.max_wait)
            invocation = await self._invocations.wait(invocation, seconds) or invocation
        if invocation.terminal:
            return await self._answers.outcome(invocation, applied)
        return await self._answers.accepted(invocation, applied)

    async def get_events(self, request: Request) -> Response:
        return self._answers.events(await self._invocation(request))

    async def get_logs(self, request: Request) -> Response:
        invocation = await self._invocation(request)
        text = invocation.log
        if text is None:
            text = self._invocations.output(invocation.id)
        return PlainTextResponse(text)

    async def get_blob(self, request: Request) -> Response:
        invocation = await self._invocation(request)
        name = request.path_params["name"]
        for part in (*invocation.blobs, *invocation.message.payload.parts):
            if part.name == name and part.key:
                return await self._answers.part(part, {})
        raise NotFound(f"invocation {invocation.id} has no blob {name!r}")

    async def cancel_invocation(self, request: Request) -> Response:
        invocation = await self._invocation(request)
        stopped = await self._invocations.cancel(invocation)
        if not stopped and invocation.status is not Status.CANCELLED:
            raise Conflict(f"it cannot be cancelled: it has {invocation.status.value} already")
        return json_answer(invocation_view(invocation))

    async def replay_invocation(self, request: Request) -> Response:
        earlier = await self._invocation(request)
        spec = await self._admission.function(earlier.message.function)
        headers: Headers = dict(request.scope["headers"])
        query: bytes = request.scope["query_string"]
        asked = device_asked(query) if b"device=" in query else earlier.requested_device
        invocation = await self._admission.replay(earlier, spec, asked, headers)
        return await self._answers.when_done(invocation, headers)

    async def _on_http_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        path = request.url.path
        if error.status_code != 405:
            detail = f"there is nothing at {path}; GET / lists what there is"
            return problem(error.status_code, error.detail, detail)
        routes = (route for route in self._routes if route.path_regex.match(path))
        allowed = ", ".join(sorted({m for route in routes for m in route.methods or ()}))
        detail = f"{request.method} is not for {path}: use {allowed}"
        return problem(405, "Method not allowed", detail, headers={"Allow": allowed})


async def _on_lumbre_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, LumbreError)
    return problem_of(error)


async def _on_any_error(request: Request, error: Exception) -> Response:
    return _internal_error()


def _internal_error() -> Response:
    return problem(500, "Internal error", "this is a fault of Lumbre; its log says more")
