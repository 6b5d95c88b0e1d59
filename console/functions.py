"""The page of all functions: what there is, how busy it is, and what cannot be used."""

from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request

from console.activity import Activity, activity
from console.app import range_of, seconds_of
from console.page import Action, Page, View
from console.sources import Sources
from runtime.catalog import Broken
from runtime.function import FunctionSpec
from runtime.history import Window
from runtime.model import queue_name
from runtime.views import waiting_view

ON_A_PAGE = 100  # functions
SPANS = {"5m": "5 min", "1h": "1 h", "24h": "24 h"}
EXAMPLE = '''\
from runtime import function

@function
def hello(name: str = "world") -> str:
    """Greet somebody."""
    return f"Hello, {name}!"
'''
SORTS = ("name", "rate", "p95", "errors", "backlog")
MAX_TRACEBACK = 20_000  # characters of one that are shown


class Functions:
    """All functions."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    @property
    def pages(self) -> list[Page]:
        page = Page("/functions", "functions.html", "functions", self.show, twin=True, shared=True)
        return [page]

    @property
    def actions(self) -> list[Action]:
        return []

    async def show(self, request: Request) -> View:
        query = request.query_params
        part = query.get("name", "").strip()
        sort = query.get("sort", "name")
        sort = sort if sort in SORTS else "name"
        catalog = self._sources.catalog
        chosen = [spec for name, spec in sorted(catalog.functions.items()) if part.lower() in name]
        window = await self._sources.history.window(seconds_of(request))
        rows = _sorted([self._row(spec, window) for spec in chosen], sort)
        pages = max(1, -(-len(rows) // ON_A_PAGE))
        page = min(_page(query.get("page", "")), pages)
        return {
            "name": part,
            "sort": sort,
            "span": SPANS[range_of(request)],
            "all": len(catalog.functions),
            "count": len(rows),
            "functions": rows[(page - 1) * ON_A_PAGE : page * ON_A_PAGE],
            "first": (page - 1) * ON_A_PAGE + 1,
            "page": page,
            "pages": pages,
            "links": _links(request, page, pages),
            "broken": [
                broken_view(broken)
                for name, broken in sorted(catalog.broken.items())
                if part.lower() in name
            ],
            "describing": not self._sources.admission.described.is_set(),
            "example": EXAMPLE,
            "folders": [str(folder) for folder in self._sources.settings.folders],
        }

    def _row(self, spec: FunctionSpec, window: Window) -> dict[str, Any]:
        fleet = self._sources.fleet
        pools = fleet.pools(spec)
        depths = {device: fleet.depth(queue_name(spec.name, device)) for device in spec.devices}
        did = activity_of(spec, window)
        return {
            "name": spec.name,
            "summary": summary(spec.description),
            "devices": list(spec.devices),
            "here": fleet.devices(spec),
            "simulated": any(pool.simulated for pool in pools.values()),
            "running": sum(pool.replicas.running for pool in pools.values()),
            "starting": sum(pool.replicas.starting for pool in pools.values()),
            "most": sum(pool.most for pool in pools.values()),
            "backlog": sum(depth.backlog for depth in depths.values()),
            "ready": sum(depth.ready for depth in depths.values()),
            "waiting": [
                {"device": device, **why}
                for device, depth in depths.items()
                if (why := waiting_view(device, pools.get(device), depth))
            ],
            "rate": did.rate,
            "p95": did.p95,
            "errors": did.errors,
            "finished": did.finished,
            "spark": did.spark,
        }


def activity_of(spec: FunctionSpec, window: Window) -> Activity:
    """What a function did within a window, on all its devices."""
    cells = window.cells
    rows = [cells[spec.name, device] for device in spec.devices if (spec.name, device) in cells]
    return activity(rows, window.width * window.count)


def summary(description: str) -> str:
    """The first paragraph of a docstring, as one line."""
    return " ".join(description.strip().partition("\n\n")[0].split())


def broken_view(broken: Broken) -> dict[str, Any]:
    """A function file that cannot be used, and why."""
    error = broken.error
    return {
        "name": broken.name,
        "file": broken.file,
        "type": error.type,
        "message": error.message,
        "traceback": (error.traceback or "")[-MAX_TRACEBACK:],
        "comes": error.type == "Importing",  # it is being imported still
    }


def _sorted(rows: list[dict[str, Any]], sort: str) -> list[dict[str, Any]]:
    """By name, or what there is most of first; what has none of it stays last, by name."""
    if sort == "name":
        return rows
    return sorted(rows, key=lambda row: -(row[sort] or 0))


def _page(text: str) -> int:
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 7 else 1


def _links(request: Request, page: int, pages: int) -> dict[str, str | None]:
    """URLs of the pages before and after this one; None where there is none."""
    given = dict(request.query_params)
    return {
        name: f"/functions?{urlencode(given | {'page': number})}" if 1 <= number <= pages else None
        for name, number in (("before", page - 1), ("after", page + 1))
    }
