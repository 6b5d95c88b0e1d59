"""The page of all invocations: filtered, newest first, and never jumping under the pointer.

What was accepted since the page was made waits behind a link that says how many they are; only the
rows that are shown are brought up to date, in their places.
"""

import time
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request

from console.page import Action, Page, View
from console.sources import Sources
from console.waterfall import waterfall
from runtime.errors import LumbreError
from runtime.filters import SINCE, Filters
from runtime.model import DEVICES, Invocation, Status
from runtime.search import COUNTED, Found, Place, Wanted
from runtime.views import is_simulated

ON_A_PAGE = 50
PATH = "/invocations"
_AFTER_IDS = "~"  # sorts behind every character of an id: a place before a row, not behind it
_ENDS = {"queued": "waited", "lost": "waited", "cold": "cold", "running": "ran", "reported": "ran"}


class InvocationList:
    """The list, which is the page of a URL that the API has too."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    @property
    def pages(self) -> list[Page]:
        return [
            Page(PATH, "invocations.html", "invocations", self.show, twin=True, shared=True),
        ]

    @property
    def actions(self) -> list[Action]:
        return []

    async def show(self, request: Request) -> View:
        query = request.query_params
        filters = Filters.of(query)
        now = time.time()
        wanted = filters.wanted(now)
        top = Place.parse(query["top"]) if query.get("top") else None
        before = Place.parse(query["older"]) if query.get("older") else None
        kept = {"every": query["every"]} if query.get("every") else {}
        asked = {"filters": filters, "filtered": bool(filters.given)}
        if top and request.headers.get("hx-target", "").endswith("#news"):
            return asked | await self._news(wanted, top, filters, kept, now)
        await self._settle()
        found = await self._sources.ledger.search.find(wanted, now, before or top, ON_A_PAGE)
        return asked | {
            "rows": [row_view(invocation, now) for invocation in found.items],
            "going_on": any(not invocation.terminal for invocation in found.items),
            "first_page": before is None,
            "older": _link(filters, kept, older=str(found.older)) if found.older else None,
            "looked_at": found.looked_at,
            "back_to": found.older.created_at if found.older else None,
            "choices": self._choices(),
            "example": self._example(request),
            "links": _links(filters, kept, top or _top(found, now)),
            "new": 0,
        }

    async def _news(
        self, wanted: Wanted, top: Place, filters: Filters, kept: dict[str, str], now: float
    ) -> View:
        """How many came since: all that the region which asks is about."""
        new = await self._sources.ledger.search.newer(wanted, top, now)
        many = f"{COUNTED:,}+" if new > COUNTED else f"{new:,}"
        return {"new": new, "many": many, "links": _links(filters, kept, top)}

    async def _settle(self) -> None:
        """Have what was accepted until now written down; a ledger that is away says so itself."""
        try:
            await self._sources.invocations.recorder.flush()
        except LumbreError:
            return  # reading fails next, or shows what there is

    def _choices(self) -> dict[str, list[str]]:
        return {
            "functions": sorted(self._sources.catalog.functions),
            "statuses": [status.value for status in Status],
            "devices": list(DEVICES),
            "since": list(SINCE),
        }

    def _example(self, request: Request) -> dict[str, str] | None:
        """A function to begin with, and the command that invokes it."""
        name = min(self._sources.catalog.functions, default=None)
        if name is None:
            return None
        base = str(request.base_url).rstrip("/")
        return {"function": name, "curl": f"curl -X POST {base}/invoke/{name} -d '{{}}'"}


def row_view(invocation: Invocation, now: float) -> dict[str, Any]:
    """One line: when, what, where, how it went, and how long each part took."""
    message = invocation.message
    fall = waterfall(invocation, now=now)
    parts = dict.fromkeys(("waited", "cold", "ran"), 0.0)
    for part in fall.parts:
        parts[_ENDS[part.kind]] += part.seconds
    return {
        "id": invocation.id,
        "function": message.function,
        "device": message.device,
        "simulated": is_simulated(invocation),
        "status": invocation.status.value,
        "attempts": message.attempt,
        "created_at": message.created_at,
        "over": invocation.terminal,
        "total": fall.seconds,
        "parts": parts,
        "batch": invocation.batch,
    }


def _top(found: Found, now: float) -> Place:
    """Where the list begins: what is behind it was there, what is before it is new."""
    if found.items:
        first = found.items[0]
        return Place(first.message.created_at, first.id + _AFTER_IDS)
    return Place(now, _AFTER_IDS) if found.looked_at else Place(0.0, _AFTER_IDS)


def _links(filters: Filters, kept: dict[str, str], top: Place) -> dict[str, str]:
    return {
        "newest": _link(filters, kept),
        "anchored": _link(filters, kept, top=str(top)),  # what the live regions ask for
        "unfiltered": _link(Filters(), kept),
    }


def _link(filters: Filters, kept: dict[str, str], **more: str) -> str:
    query = urlencode(filters.given | kept | more)
    return f"{PATH}?{query}" if query else PATH
