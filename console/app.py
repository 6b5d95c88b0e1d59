"""The console as a part of the gateway: which requests are its own, and how they are answered.

A browser that asks for one of the API's URLs gets a page (`Accept: text/html`), a program gets
JSON.  Every page is whole by itself and works without a script; scripts only keep it up to date.
"""

import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Match, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from console import render
from console.page import Action, Again, Closing, Download, Page, Section, Sending, View
from console.pulse import FRESH, Pulse
from console.shared import Shared
from console.sources import Sources
from console.visitor import visitor_of
from runtime.access_routes import own_path
from runtime.answers import json_answer
from runtime.errors import Forbidden, LumbreError
from runtime.problem import problem_of

POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Vary": "Accept, HX-Request, HX-Request-Type, Cookie",
}
THEMES = ("system", "light", "dark")
THEME_COOKIE = "lumbre_theme"
A_YEAR = 365 * 86_400  # seconds
RANGES = {"5m": 300, "1h": 3600, "24h": 86_400}  # seconds
REFRESHES = ("2", "5", "10", "0")  # seconds between two refreshes; 0 is never
JSON_SUFFIX = ".json"
NAVIGATION = (
    ("overview", "/", "Overview"),
    ("functions", "/functions", "Functions"),
    ("invocations", "/invocations", "Invocations"),
    ("replicas", "/replicas", "Replicas"),
    ("queues", "/queues", "Queues"),
    ("scaling", "/scaling", "Scaling"),
    ("benchmarks", "/benchmarks", "Benchmarks"),
)


class Console:
    """Answers what a browser asks; `takes` says which requests those are."""

    def __init__(self, sources: Sources, sections: Sequence[Section]) -> None:
        self._sources = sources
        self._pulse = Pulse(sources)
        self._refreshed = Shared[str](FRESH)
        self._static = GZipMiddleware(StaticFiles(directory=render.STATIC), minimum_size=1000)
        self._pages = {page.path: page for section in sections for page in section.pages}
        self._page_routes = [
            (Route(page.path, _nothing, methods=["GET"]), page) for page in self._pages.values()
        ]
        actions = [action for section in sections for action in section.actions]
        actions.append(Action("/theme", self._choose_theme, "read"))
        for action in actions:
            sources.access.needs.add("POST", action.path, action.scope, counts=action.counts)
        self._action_routes = [
            (Route(action.path, _nothing, methods=["POST"]), action) for action in actions
        ]
        sending = [section for section in sections if isinstance(section, Sending)]
        self._download_routes = [
            (Route(download.path, _nothing, methods=["GET"]), download)
            for section in sending
            for download in section.downloads
        ]
        self._closing = [section for section in sections if isinstance(section, Closing)]

    async def close(self) -> None:
        """End what runs on the side."""
        for section in self._closing:
            await section.close()

    # ── which requests ────────────────────────────────────────────────────────────────────────

    def takes(self, scope: Scope) -> ASGIApp | None:
        """Who answers this request here; None where the API does."""
        path, method = scope["path"], scope["method"]
        if path.startswith("/static/"):
            return self._send_static
        if method == "POST":
            return self._found_action(scope)
        if method not in ("GET", "HEAD"):
            return None
        if path in ("/console", "/console/"):
            return RedirectResponse("/", HTTPStatus.SEE_OTHER)
        if download := self._found_download(scope):
            return download
        headers = dict(scope["headers"])
        if path.endswith(JSON_SUFFIX):
            return self._found_json(scope)
        if b"text/html" not in headers.get(b"accept", b"") and b"hx-request" not in headers:
            return None
        return self._found_page(scope)

    def refuse(self, error: LumbreError) -> ASGIApp:
        """What tells a browser why it may not have what it asks for."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            response = await self._failed(Request(scope, receive, send), error, None)
            await response(scope, receive, send)

        return app

    def _found_page(self, scope: Scope) -> ASGIApp | None:
        for route, page in self._page_routes:
            match, found = route.matches(scope)
            if match is Match.FULL:
                return _bound(self._show, page, found)
        return None

    def _found_download(self, scope: Scope) -> ASGIApp | None:
        for route, download in self._download_routes:
            match, found = route.matches(scope)
            if match is Match.FULL:
                return _bound(self._send, download, found)
        return None

    def _found_json(self, scope: Scope) -> ASGIApp | None:
        """A page as JSON; where the API has that URL, it gets the request without the suffix."""
        path = scope["path"].removesuffix(JSON_SUFFIX)
        inner = {**scope, "path": "/" if path == "/overview" else path, "method": "GET"}
        for route, page in self._page_routes:
            match, found = route.matches(inner)
            if match is Match.FULL:
                if page.twin:
                    scope["path"] = path
                    return None
                return _bound(self._tell, page, found)
        return None

    def _found_action(self, scope: Scope) -> ASGIApp | None:
        for route, action in self._action_routes:
            match, found = route.matches(scope)
            if match is Match.FULL:
                return _bound(self._act, action, found)
        return None

    # ── answers ───────────────────────────────────────────────────────────────────────────────

    async def _send_static(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A file that never changes under its URL, which has its hash."""
        kept = b"public, max-age=31536000, immutable"

        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                message["headers"] = [
                    *message["headers"],
                    (b"cache-control", kept),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        inner = {**scope, "path": scope["path"].removeprefix("/static"), "root_path": ""}
        try:
            await self._static(inner, receive, sent)
        except HTTPException as error:  # there is no such file, or it was not GET
            await Response(error.detail, error.status_code)(scope, receive, send)

    async def _tell(self, page: Page, request: Request) -> Response:
        headers = {"Cache-Control": "no-store", "Vary": HEADERS["Vary"]}
        try:
            return json_answer(await page.show(request), headers=headers)
        except LumbreError as error:
            return problem_of(error, headers)

    async def _show(self, page: Page, request: Request) -> Response:
        block = ""
        if request.headers.get("hx-request-type") == "partial":
            block = request.headers.get("hx-target", "").partition("#")[2]
        try:
            if block and page.shared:
                visitor = visitor_of(request, self._sources)
                alike = (request.url.path, request.url.query, block, visitor)
                html = await self._refreshed.get(alike, lambda: self._html(page, request, block))
            else:
                html = await self._html(page, request, block)
        except LumbreError as error:
            return await self._failed(request, error, page.section)
        return HTMLResponse(html, headers=HEADERS)

    async def _html(self, page: Page, request: Request, block: str) -> str:
        """A whole page, or the block that htmx asks for with what of the frame is alive."""
        view = await page.show(request)
        context = await self._context(request, page.section, view)
        found = render.block(page.template, block, context) if block else None
        if found is None:
            return render.page(page.template, context)
        return found + (render.block("base.html", "pulse", context | {"oob": True}) or "")

    async def _send(self, download: Download, request: Request) -> Response:
        try:
            response = await download.send(request)
        except LumbreError as error:
            return await self._failed(request, error, None)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Cache-Control"] = "no-store"
        return response

    async def _act(self, action: Action, request: Request) -> Response:
        try:
            if self._sources.settings.read_only and action.scope != "read":
                raise Forbidden("this console is read-only: it was started with --read-only")
            response = await action.act(request)
        except LumbreError as error:
            return await self._failed(request, error, None)
        if isinstance(response, Again):
            context = await self._context(request, response.page.section, response.view)
            html = render.page(response.page.template, context)
            return HTMLResponse(html, response.status, HEADERS)
        response.headers["Cache-Control"] = "no-store"
        return response

    async def _failed(
        self, request: Request, error: LumbreError, section: str | None
    ) -> HTMLResponse:
        """What went wrong, as a page; htmx leaves what it has and shows the sentence."""
        about = {"title": error.title, "status": error.status, "detail": str(error)}
        context = await self._context(request, section, {"error": about})
        headers = dict(HEADERS)
        if request.headers.get("hx-request-type") == "partial":
            headers["HX-Retarget"], headers["HX-Reswap"] = "#notice", "innerHTML"
            told = render.block("error.html", "problem", context) or ""
            return HTMLResponse(told, error.status, headers)
        return HTMLResponse(render.page("error.html", context), error.status, headers)

    # ── what every template knows ─────────────────────────────────────────────────────────────

    async def _context(self, request: Request, section: str | None, view: View) -> View:
        query = request.url.query
        here = request.url.path + (f"?{query}" if query else "")
        visitor = visitor_of(request, self._sources)
        return {
            "view": view,
            "now": time.time(),
            "here": here,
            "path": request.url.path,
            "query": dict(request.query_params),
            "section": section,
            "navigation": NAVIGATION,
            "theme": theme_of(request),
            "themes": THEMES,
            "range": range_of(request),
            "ranges": list(RANGES),
            "every": every_of(request),
            "refreshes": REFRESHES,
            "may": visitor.may,
            "barred": visitor.barred,
            "pulse": await self._pulse.now() if visitor.known else None,
            "signed_in": visitor.name,
            "oob": False,
        }

    async def _choose_theme(self, request: Request) -> Response:
        form = await request.form()
        theme = str(form.get("theme", "system"))
        response = see_other(str(form.get("next", "/")))
        if theme in THEMES:
            response.set_cookie(
                THEME_COOKIE, theme, max_age=A_YEAR, httponly=True, samesite="strict"
            )
        return response


def theme_of(request: Request) -> str:
    """The theme that somebody chose; system where nobody did."""
    theme = request.cookies.get(THEME_COOKIE, "system")
    return theme if theme in THEMES else "system"


def range_of(request: Request) -> str:
    """The time range of a URL: 5m, 1h or 24h; the first where it names none of these."""
    asked = request.query_params.get("range", "")
    return asked if asked in RANGES else "5m"


def seconds_of(request: Request) -> float:
    """The same in seconds."""
    return float(RANGES[range_of(request)])


def every_of(request: Request) -> str:
    """Seconds between two refreshes, from a URL; 2 where it names none that is offered."""
    asked = request.query_params.get("every", "")
    return asked if asked in REFRESHES else "2"


def see_other(path: str) -> RedirectResponse:
    """303 to a page of ours; whatever is no path of ours leads to the overview."""
    return RedirectResponse(own_path(path), HTTPStatus.SEE_OTHER)


def _bound(answer: Any, of: Page | Action | Download, found: Scope) -> ASGIApp:
    """An application that answers one request for a page or an action."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request({**scope, **found}, receive, send)
        response: Response = await answer(of, request)
        await response(scope, receive, send)

    return app


async def _nothing(request: Request) -> Response:
    """What the routes above lead to: they only match, and the console answers itself."""
    return JSONResponse(None)
