"""Signing in and out over HTTP, and how whoever may not come in is told so."""

from collections import OrderedDict
from http import HTTPStatus
from math import ceil
from urllib.parse import parse_qs, quote, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Scope

from runtime.access import Access
from runtime.errors import LumbreError, Overloaded, TooLarge, Unauthorized
from runtime.problem import problem_of
from runtime.query import Headers
from runtime.scopes import SIGN_IN, SIGN_OUT
from runtime.session import COOKIE
from runtime.settings import Settings
from runtime.throttle import Throttle

MOST_FORM = 8192  # bytes of a sign-in
FAILURES = 10  # that an address may have at once
FAILURE_RATE = 0.5  # a second, that it may have after them
MOST_ADDRESSES = 4096  # that failures are remembered of


class AccessRoutes:
    """The endpoints that give a browser its session, and take it away."""

    def __init__(self, access: Access, settings: Settings) -> None:
        self._access = access
        self._settings = settings
        self._failures: OrderedDict[str, Throttle] = OrderedDict()  # by address, latest last

    def routes(self) -> list[Route]:
        return [
            Route(SIGN_IN, self.sign_in, methods=["POST"]),
            Route(SIGN_OUT, self.sign_out, methods=["POST"]),
        ]

    async def sign_in(self, request: Request) -> Response:
        """Take the `key` of a form, and lead to its `next`; back to the form where it is none."""
        form = parse_qs((await _body(request)).decode("latin-1"))
        target = own_path(form.get("next", [""])[-1])
        throttle, now = self._throttle(request), self._access.now()
        if wait := throttle.wait(now):
            text = f"too many keys failed from this address: try again in {ceil(wait)} s"
            return self._failed(request, Overloaded(text, ceil(wait)), target)
        session = self._access.sign_in(form.get("key", [""])[-1].strip())
        if session is None:
            throttle.take(now)
            text = "there is no such API key, or it was revoked or has expired"
            return self._failed(request, Unauthorized(text), target)
        response = _see_other(target)
        self._give(response, request, *session)
        return response

    async def sign_out(self, request: Request) -> Response:
        response = _see_other(SIGN_IN if self._access.enabled else "/")
        self._give(response, request, "", 0)
        return response

    def _give(self, response: Response, request: Request, session: str, seconds: int) -> None:
        """Have the browser keep a session for so long; for no time, to forget it."""
        secure = request.url.scheme == "https" or self._settings.public_url.startswith("https:")
        response.set_cookie(
            COOKIE, session, seconds, path="/", secure=secure, httponly=True, samesite="strict"
        )

    def _failed(self, request: Request, error: LumbreError, target: str) -> Response:
        """Back to the form, or a problem for a program."""
        if not reads_pages(dict(request.scope["headers"])):
            return problem_of(error)
        query = {"failed": "1", "next": target}
        if isinstance(error, Overloaded):
            query["wait"] = str(error.retry_after)
        return _see_other(f"{SIGN_IN}?{urlencode(query)}")

    def _throttle(self, request: Request) -> Throttle:
        """How many failures the address that asks may still have."""
        now = self._access.now()
        address = request.client.host if request.client else ""
        throttle = self._failures.setdefault(address, Throttle(FAILURE_RATE, FAILURES, now))
        self._failures.move_to_end(address)
        if len(self._failures) > MOST_ADDRESSES:
            self._failures.popitem(last=False)
        return throttle


def refused(error: LumbreError, scope: Scope, headers: Headers, *, pages: bool) -> Response:
    """The answer to a request that is not let in: a browser is led to where it can sign in.

    `pages`: whether there is such a page here.
    """
    if not isinstance(error, Unauthorized) or not pages:
        return problem_of(error)
    if b"hx-request" in headers:  # a part of a page: the whole of it has to go there
        shown = headers.get(b"hx-current-url", b"").decode("latin-1")
        return problem_of(error, {"HX-Redirect": _to_sign_in(_path_of(shown))})
    if not reads_pages(headers):
        return problem_of(error)
    if scope["method"] not in ("GET", "HEAD"):
        return _see_other(_to_sign_in("/"))
    query = scope["query_string"].decode("latin-1")
    path = quote(scope["path"], safe="/:@!$&'()*+,;=~")
    return _see_other(_to_sign_in(f"{path}?{query}" if query else path))


def own_path(text: str) -> str:
    """A path of this site to lead somebody to; the first page for everything else.

    `//host` and `/\\\\host` are other sites to a browser (WHATWG URL §4.4), and so may be what has
    control characters in it, which browsers leave out.
    """
    ours = text.startswith("/") and not text.startswith("//")
    plain = all("!" <= character <= "~" and character != "\\" for character in text)
    return text if ours and plain else "/"


def _to_sign_in(target: str) -> str:
    return f"{SIGN_IN}?{urlencode({'next': own_path(target)})}"


def _path_of(url: str) -> str:
    """Path and query of a whole URL."""
    _, _, rest = url.partition("://")
    _, slash, path = rest.partition("/")
    return slash + path.partition("#")[0]


def _see_other(target: str) -> RedirectResponse:
    return RedirectResponse(target, HTTPStatus.SEE_OTHER, {"Cache-Control": "no-store"})


def reads_pages(headers: Headers) -> bool:
    """Whether a request is a browser's, which shows pages."""
    return b"text/html" in headers.get(b"accept", b"")


async def _body(request: Request) -> bytes:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_FORM:
            raise TooLarge(f"a sign-in has {MOST_FORM:,} bytes at most: `key`, and perhaps `next`")
    return body
