"""The dead-letter desk: what was given up on, and what can be done with it.

Looking changes nothing.  The list stays as it was made, so that nobody's ticks move under the
pointer; what is alive on the page is the line that says how many there are by now, and what became
of the orders that were given.
"""

from collections.abc import Sequence
from time import time

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from console.app import see_other
from console.clearings import Clearings, What
from console.depths import dead_by_function
from console.letter_views import (
    HERE,
    letter_row,
    list_again,
    notice_of,
    number_of,
    order_view,
)
from console.page import Action, Page, View
from console.sources import Sources
from runtime.clearance import UNAWAITED
from runtime.errors import BadRequest, LumbreError, TooLarge
from runtime.query import whole

LIMITS = (50, 200, 500)  # letters that are listed
SETTLING = 5.0  # seconds until a server's counts have followed what was done here
REMEMBERED = 8  # lists that are shown again where no other can be made
LARGEST_FORM = 1_000_000  # bytes


class DeadLetters:
    """The list of dead letters, and what is done from it."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._clearings = Clearings(sources)
        self._acted_at = 0.0  # unix seconds
        self._last: dict[tuple[str | None, int], View] = {}  # lists, by function and limit

    @property
    def pages(self) -> list[Page]:
        return [Page(HERE, "letters.html", "queues", self.show)]

    @property
    def actions(self) -> list[Action]:
        return [
            Action("/queues/replay", self.replay, "admin"),
            Action("/queues/discard", self.discard, "admin"),
            Action("/queues/stop", self.stop, "admin"),
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
            "listed_at": None,
            "fault": None,  # why they cannot be listed now: the letters are those of before
            "there": there,
            "seen": number_of(query.get("seen")),
            "settling": time() - self._acted_at < SETTLING and not self._sources.settings.embedded,
        }
        if request.headers.get("hx-target", "").endswith("#standing"):
            return view  # what is alive does not list them again
        try:
            letters = await self._sources.letters.listed(function, limit + 1)
        except LumbreError as error:
            last = self._last.get((function, limit), {})
            return view | last | {"fault": str(error), "seen": there}
        rows = [letter_row(letter) for letter in letters[:limit]]
        listed = {"letters": rows, "more": len(letters) > limit, "listed_at": time()}
        self._keep((function, limit), listed)
        seen = max(there, limit + 1) if len(letters) > limit else len(letters)
        return view | listed | {"seen": seen}

    def _keep(self, which: tuple[str | None, int], listed: View) -> None:
        """Remember a list, for when no other can be made."""
        self._last.pop(which, None)
        self._last[which] = listed
        if len(self._last) > REMEMBERED:
            del self._last[next(iter(self._last))]

    # ── actions ───────────────────────────────────────────────────────────────────────────────

    async def replay(self, request: Request) -> Response:
        return await self._order(request, "replayed")

    async def discard(self, request: Request) -> Response:
        return await self._order(request, "discarded")

    async def stop(self, request: Request) -> Response:
        form = await form_of(request)
        self._clearings.stop(number_of(str(form.get("order"))) or 0)
        return see_other(list_again(form, {}))

    async def _order(self, request: Request, what: What) -> Response:
        form = await form_of(request)
        self._acted_at = time()
        if function := str(form.get("all", "")):
            clearing = await self._clearings.all(what, function)
        elif letters := _chosen(form):
            if sum(map(len, letters.values())) == 1:
                return await self._one(form, what, *next(iter(letters.items())))
            clearing = await self._clearings.some(what, letters)
        else:
            return see_other(list_again(form, {"done": "nothing"}))
        if clearing.ended_at is None:
            return see_other(list_again(form, {"done": f"going:{clearing.number}"}))
        told = {"done": f"{what}:{clearing.done}"}
        if clearing.kept or clearing.stopped:
            told["kept"] = str(clearing.kept)
        return see_other(list_again(form, told))

    async def _one(self, form: FormData, what: What, function: str, ids: Sequence[str]) -> Response:
        letters = self._sources.letters
        if what == "discarded":
            await letters.discard(ids[0], function)
            return see_other(list_again(form, {"done": "discarded:1"}))
        new = await letters.replay(ids[0], function, None, UNAWAITED, None)
        return see_other(list_again(form, {"done": "replayed:1", "as": new.id}))


# ── from forms and URLs ───────────────────────────────────────────────────────────────────────


async def form_of(request: Request) -> FormData:
    """What a form of these pages has sent; TooLarge where no page of ours has sent that."""
    length = number_of(request.headers.get("content-length"))
    if length is None or length > LARGEST_FORM:
        raise TooLarge(f"a form of these pages has {LARGEST_FORM:,} bytes at most")
    return await request.form()


def _chosen(form: FormData) -> dict[str, list[str]]:
    """The letters of a form by function: each is FUNCTION/ID."""
    chosen: dict[str, list[str]] = {}
    for value in form.getlist("letter"):
        function, slash, id = str(value).partition("/")
        if not (function and slash and id):
            raise BadRequest(f"letter {str(value)[:80]!r} is none: send FUNCTION/ID")
        chosen.setdefault(function, []).append(id)
    return chosen


def _limit(text: str | None) -> int:
    return whole(text, "limit", 1, LIMITS[-1]) if text else LIMITS[0]
