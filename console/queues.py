"""The page of all queues: how full each is, who takes from it, and why it waits."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request

from console.depths import depth_of
from console.oldest import Oldest, Waiting
from console.page import Action, Page, View
from console.sources import Sources
from runtime.function import FunctionSpec
from runtime.model import Depth, Device, PoolState, ReplicaCounts, queue_name
from runtime.views import waiting_view

ON_A_PAGE = 100  # queues
SHOWN = ("all", "waiting")  # every queue, or those that hold something


class Queues:
    """All queues, one for each function and device."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._waiting = Waiting(sources)

    @property
    def pages(self) -> list[Page]:
        return [Page("/queues", "queues.html", "queues", self.show, shared=True)]

    @property
    def actions(self) -> list[Action]:
        return []

    async def show(self, request: Request) -> View:
        query = request.query_params
        part = query.get("function", "").strip()
        show = query.get("show", "all")
        specs = sorted(self._sources.catalog.functions.values(), key=lambda spec: spec.name)
        rows = [row for spec in specs for row in self._rows(spec)]
        waiting = {(row["function"], row["device"]) for row in rows if row["backlog"]}
        oldest = await self._waiting.oldest(waiting)
        for row in rows:
            _tell_age(row, oldest.get((row["function"], row["device"])))
        chosen = [row for row in rows if _is_chosen(row, part, show)]
        first = (page_of(query.get("page")) - 1) * ON_A_PAGE
        return {
            "function": part,
            "show": show if show in SHOWN else "all",
            "totals": _totals(rows),
            "count": len(chosen),
            "first": first,
            "queues": [row | {"links": _links(row)} for row in chosen[first : first + ON_A_PAGE]],
            "pages": -(-len(chosen) // ON_A_PAGE),
            "page": first // ON_A_PAGE + 1,
            "describing": not self._sources.admission.described.is_set(),
            "stale": bool(self._sources.fleet.faults()),
        }

    def _rows(self, spec: FunctionSpec) -> Iterable[dict[str, Any]]:
        pools = self._sources.fleet.pools(spec)
        for number, device in enumerate(spec.devices):
            pool = pools.get(device)
            depth = depth_of(self._sources, spec.name, device, pool)
            told_above = number > 0 and not self._sources.settings.embedded
            yield _row(spec, device, pool, depth, told_above)


def page_of(text: str | None) -> int:
    """The number of a page from a URL, from 1; 1 where it is none."""
    return max(1, int(text)) if text and text.isascii() and text.isdigit() and len(text) < 7 else 1


def _row(
    spec: FunctionSpec, device: Device, pool: PoolState | None, depth: Depth, told_above: bool
) -> dict[str, Any]:
    counts = pool.replicas if pool else ReplicaCounts()
    return {
        "function": spec.name,
        "device": device,
        "queue": queue_name(spec.name, device),
        "simulated": pool is not None and pool.simulated,
        "ready": depth.ready,
        "unacknowledged": depth.unacknowledged,
        "backlog": depth.backlog,
        "dead": None if told_above else depth.dead,  # None: counted with the row above
        "served": pool is not None,
        "replicas": {
            "starting": counts.starting,
            "ready": counts.ready,
            "busy": counts.busy,
            "draining": counts.draining,
        },
        "running": counts.running,
        "most": pool.most if pool else 0,
        "waiting": waiting_view(device, pool, depth),
    }


def _links(row: dict[str, Any]) -> dict[str, str]:
    of = {"function": row["function"], "device": row["device"]}
    return {
        "invocations": f"/invocations?{urlencode(of)}",
        "queued": f"/invocations?{urlencode(of | {'status': 'queued'})}",
        "running": f"/invocations?{urlencode(of | {'status': 'running'})}",
        "dead": f"/queues/dead?{urlencode({'function': row['function']})}",
        "replicas": f"/replicas?{urlencode({'function': row['function']})}",
        "scaling": f"/scaling?{urlencode(of)}",
    }


def _tell_age(row: dict[str, Any], oldest: Oldest | None) -> None:
    row["oldest_at"] = oldest.at if oldest else None
    row["oldest_exact"] = oldest is None or oldest.exact


def _is_chosen(row: dict[str, Any], part: str, show: str) -> bool:
    if part.casefold() not in row["function"].casefold():
        return False
    return show != "waiting" or bool(row["backlog"] or row["dead"])


def _totals(rows: list[dict[str, Any]]) -> dict[str, Any]:
    ages = [row["oldest_at"] for row in rows if row["oldest_at"] is not None]
    return {
        "queues": len(rows),
        "ready": sum(row["ready"] for row in rows),
        "unacknowledged": sum(row["unacknowledged"] for row in rows),
        "dead": sum(row["dead"] or 0 for row in rows),
        "oldest_at": min(ages) if ages else None,
        "replicas": sum(row["running"] for row in rows),
        "unserved": sum(1 for row in rows if row["ready"] and not row["running"]),
    }
