"""What a node tells of itself: functions, decisions, audit, metrics, health."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runtime.admission import Admission
from runtime.answers import json_answer
from runtime.auditor import Auditor, reckoning_view
from runtime.catalog import Catalog
from runtime.exposition import Exposition
from runtime.fleet import Fleet
from runtime.function import FunctionSpec
from runtime.invocations import Invocations
from runtime.latest_audit import AuditMetrics, LatestAudit
from runtime.ledger import Ledger
from runtime.model import queue_name
from runtime.openapi import openapi
from runtime.problem import problem
from runtime.query import whole
from runtime.speedup import Speedups
from runtime.telemetry import Metrics
from runtime.views import MAX_LIMIT, broken_view, function_view, instant, list_view


class Reports:
    """The endpoints that change nothing and are about no single invocation."""

    def __init__(
        self,
        admission: Admission,
        fleet: Fleet,
        catalog: Catalog,
        invocations: Invocations,
        ledger: Ledger,
        metrics: Metrics,
        auditor: Auditor,
        latest_audit: LatestAudit,
        speedups: Speedups,
    ) -> None:
        self._admission = admission
        self._fleet = fleet
        self._catalog = catalog
        self._invocations = invocations
        self._ledger = ledger
        self._metrics = metrics
        self._auditor = auditor
        self._latest_audit = latest_audit
        self._exposition = Exposition(metrics, AuditMetrics(latest_audit))
        self._speedups = speedups

    def routes(self) -> list[Route]:
        return [
            Route("/functions", self.list_functions, methods=["GET"]),
            Route("/functions/{name}", self.get_function, methods=["GET"]),
            Route("/decisions", self.list_decisions, methods=["GET"]),
            Route("/audit", self.get_audit, methods=["GET"]),
            Route("/audit/repair", self.repair, methods=["POST"]),
            Route("/openapi.json", self.get_openapi, methods=["GET"]),
            Route("/metrics", self.get_metrics, methods=["GET"]),
            Route("/healthz", self.get_health, methods=["GET"]),
            Route("/readyz", self.get_ready, methods=["GET"]),
            Route("/", self.get_root, methods=["GET"]),
        ]

    async def list_functions(self, request: Request) -> Response:
        await self._admission.catalog_ready()
        views = [self._function_view(spec) for _, spec in sorted(self._catalog.functions.items())]
        views += [broken_view(b) for _, b in sorted(self._catalog.broken.items())]
        return json_answer(list_view(views, "/functions", {}))

    async def get_function(self, request: Request) -> Response:
        name = request.path_params["name"]
        await self._admission.catalog_ready()
        if broken := self._catalog.broken.get(name):
            return json_answer(broken_view(broken))
        return json_answer(self._function_view(await self._admission.function(name)))

    def _function_view(self, spec: FunctionSpec) -> dict[str, Any]:
        depths = {d: self._fleet.depth(queue_name(spec.name, d)) for d in spec.devices}
        pools = self._fleet.pools(spec)
        return function_view(spec, pools, depths, self._metrics, self._speedups.of(spec.name))

    async def list_decisions(self, request: Request) -> Response:
        limit = whole(request.query_params.get("limit", "100"), "limit", 1, MAX_LIMIT)
        decisions = await self._ledger.decisions(request.query_params.get("function"), limit)
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
        return json_answer(list_view(items, "/decisions", {}))

    async def get_audit(self, request: Request) -> Response:
        """Whether accepted = terminal + queued + running, and what breaks it if not."""
        return json_answer(reckoning_view(await self._auditor.reckon()))

    async def repair(self, request: Request) -> Response:
        """The same, and what is lost is put into its queue once more."""
        return json_answer(reckoning_view(await self._auditor.reckon(repair=True)))

    async def get_openapi(self, request: Request) -> Response:
        await self._admission.catalog_ready()
        return json_answer(openapi(self._catalog.functions.values()))

    async def get_metrics(self, request: Request) -> Response:
        self._latest_audit.look()  # what it finds is told to whoever asks next
        body, content_type = self._exposition.text(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})

    async def get_health(self, request: Request) -> Response:
        return json_answer({"status": "alive"})

    async def get_ready(self, request: Request) -> Response:
        faults = self._fleet.faults()
        if not self._admission.described.is_set():
            faults.append("the functions are still being described")
        if self._invocations.draining:
            faults.append("the node is draining")
        if not self._invocations.recorder.healthy:
            faults.append("the ledger cannot be written")
        if faults:
            return problem(503, "Not ready", "; ".join(faults), headers={"Retry-After": "1"})
        return json_answer({"status": "ready"})

    async def get_root(self, request: Request) -> Response:
        return json_answer(
            {
                "name": "lumbre",
                "functions": "/functions",
                "invoke": "POST /invoke/{function}",
                "invocations": "/invocations",
                "openapi": "/openapi.json",
                "metrics": "/metrics",
            }
        )
