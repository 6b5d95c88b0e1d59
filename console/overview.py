"""The first page: is it healthy, is it fast; and for who has just come, what to do first.

Everything on it is an aggregate out of rollups, but for the last failures, which an index gives.
"""

import time
from collections import defaultdict
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request

from console import charts
from console.app import range_of, seconds_of
from console.digest import Digest, Digests, Total, merged
from console.functions import broken_view, summary
from console.page import Action, Page, View
from console.replica_chart import replicas
from console.sources import Sources
from console.speedup_chart import speedups
from console.tiles import errors, figures, sparks
from console.welcome import EXAMPLE, first_call
from runtime.census import WITH_ERROR
from runtime.function import FunctionSpec
from runtime.model import Invocation, queue_name
from runtime.rollup import quantile
from runtime.views import is_simulated, waiting_view

SPANS = {"5m": "5 min", "1h": "1 h", "24h": "24 h"}
MOST_FAILURES = 8
MOST_FUNCTIONS = 20  # in the table: the busiest
MOST_LINKS = 12  # of functions to run first
LOOK_EVERY = 5.0  # seconds, for failures that no bucket has counted yet
LONGEST = 160  # characters of an error


class Overview:
    """The page `/`."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._has_begun = False  # something was accepted, ever
        self._failed: list[dict[str, Any]] = []
        self._failed_as_of: tuple[float, ...] = ()
        self._digests = defaultdict[tuple[int, int], Digests](Digests)  # by width and count

    @property
    def pages(self) -> list[Page]:
        return [Page("/", "overview.html", "overview", self.show, shared=True)]

    @property
    def actions(self) -> list[Action]:
        return []

    async def show(self, request: Request) -> View:
        sources = self._sources
        window = await sources.history.window(seconds_of(request))
        specs = [spec for _, spec in sorted(sources.catalog.functions.items())]
        digest = self._digests[window.width, window.count].of(window)
        failed = sum(sum(digest.ended(status)) for status in WITH_ERROR)
        view = self._told(digest, specs, SPANS[range_of(request)], time.time())
        # Awaited last: the digest is of use only until somebody else asks for the next one.
        view["failures"] = await self._failures((digest.width, failed, time.time() // LOOK_EVERY))
        view["welcome"] = await self._welcome(request, specs)
        return view

    def _told(self, digest: Digest, specs: list[FunctionSpec], span: str, now: float) -> View:
        """All that comes out of a window, and what there is now."""
        rows = [self._row(spec, digest) for spec in specs]
        broken = sorted(self._sources.catalog.broken.items())
        return {
            "span": span,
            "figures": figures(digest, rows),
            "sparks": sparks(digest),
            "charts": {
                "times": charts.percentiles(digest, span),
                "throughput": charts.throughput(digest, span, now),
                "replicas": replicas(digest, span),
                "distribution": charts.distribution(digest, span),
                "speedup": self._speedups(specs),
                "histogram": charts.histogram(digest, span),
            },
            "functions": sorted(rows, key=_busiest)[:MOST_FUNCTIONS],
            "all": len(rows),
            "broken": [broken_view(each) for _, each in broken],
            "describing": not self._sources.admission.described.is_set(),
        }

    async def _welcome(self, request: Request, specs: list[FunctionSpec]) -> View | None:
        """What to do first; None once something was accepted."""
        if not self._has_begun:
            found, _ = await self._sources.ledger.find(limit=1)
            self._has_begun = bool(found or self._sources.invocations.live)
        if self._has_begun:
            return None
        settings = self._sources.settings
        call = first_call(specs, str(request.base_url), keyed=self._sources.access.enabled)
        return {
            "functions": [
                {"name": spec.name, "summary": summary(spec.description)}
                for spec in specs[:MOST_LINKS]
            ],
            "curl": call,
            "example": EXAMPLE,
            "folders": [str(folder) for folder in settings.folders],
            "reloads": settings.reload,
        }

    def _row(self, spec: FunctionSpec, digest: Digest) -> dict[str, Any]:
        """A function as the table has it."""
        fleet = self._sources.fleet
        pools = fleet.pools(spec)
        depths = {device: fleet.depth(queue_name(spec.name, device)) for device in spec.devices}
        totals = [digest.totals.get((spec.name, device), Total()) for device in spec.devices]
        ended = merged(total.statuses for total in totals)
        counts = [pool.replicas for pool in pools.values()]
        return {
            "name": spec.name,
            "summary": summary(spec.description),
            "devices": list(spec.devices),
            "here": fleet.devices(spec),
            "simulated": any(pool.simulated for pool in pools.values()),
            "running": sum(count.running for count in counts),
            "able": sum(count.ready + count.busy for count in counts),
            "busy": sum(count.busy for count in counts),
            "starting": sum(count.starting for count in counts),
            "most": sum(pool.most for pool in pools.values()),
            "ready": sum(depth.ready for depth in depths.values()),
            "unacknowledged": sum(depth.unacknowledged for depth in depths.values()),
            "backlog": sum(depth.backlog for depth in depths.values()),
            "finished": sum(ended.values()),
            "p95": quantile(merged(total.times for total in totals), 0.95),
            "errors": errors(ended),
            "waiting": [
                {"device": device, **why}
                for device, depth in depths.items()
                if (why := waiting_view(device, pools.get(device), depth))
            ],
        }

    def _speedups(self, specs: list[FunctionSpec]) -> charts.Chart:
        of = self._sources.speedups.of
        found = {spec.name: speedup for spec in specs if (speedup := of(spec.name))}
        able = [spec for spec in specs if "gpu" in spec.devices]
        gpu = any("gpu" in self._sources.fleet.devices(spec) for spec in able)
        return speedups(found, able=bool(able), gpu=gpu or not able)

    async def _failures(self, as_of: tuple[float, ...]) -> list[dict[str, Any]]:
        """The last that failed, newest first; read again where `as_of` is another."""
        if as_of != self._failed_as_of:
            found: list[Invocation] = []
            for status in sorted(WITH_ERROR):
                some, _ = await self._sources.ledger.find(status=status, limit=MOST_FAILURES)
                found += some
            found.sort(key=_ended_at, reverse=True)
            self._failed = [_failure(failed) for failed in found[:MOST_FAILURES]]
            self._failed_as_of = as_of
        return self._failed


def _busiest(row: dict[str, Any]) -> tuple[int, int, str]:
    return (-row["backlog"], -row["finished"], row["name"])


def _ended_at(invocation: Invocation) -> float:
    return invocation.finished_at or invocation.message.created_at


def _failure(invocation: Invocation) -> dict[str, Any]:
    error = invocation.error
    text = f"{error.type}: {error.message}" if error else ""
    line = text.strip().partition("\n")[0]
    message = invocation.message
    return {
        "id": invocation.id,
        "at": _ended_at(invocation),
        "function": message.function,
        "device": message.device,
        "simulated": is_simulated(invocation),
        "status": invocation.status.value,
        "error": line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…",
        "link": f"/invocations/{invocation.id}",
        "all": f"/invocations?{urlencode({'status': invocation.status.value})}",
    }
