"""What probes and Prometheus ask a worker or a recorder: /healthz, /readyz, /startupz, /metrics.

The three mean what Kubernetes means by them: a process that is not alive is restarted, one that is
not ready is not counted on, and until one has started the other two are not asked.
https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/
"""

from collections.abc import Callable

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runtime.liveness import Liveness
from runtime.model import JSON
from runtime.problem import problem

Faults = Callable[[], str | None]  # what is missing, in words; None if nothing is
Exposition = Callable[[str], tuple[bytes, str]]  # text and content type, by what is accepted


class Health:
    """What one role says of itself."""

    def __init__(
        self, liveness: Liveness, setting_up: Faults, unready: Faults, metrics: Exposition
    ) -> None:
        self.up = False  # its start is over
        self.draining = False
        self._liveness = liveness
        self._setting_up = setting_up  # what its setup lacks; once it lacks nothing, never again
        self._unready = unready  # what keeps it from working now
        self._metrics = metrics
        self._was_set_up = False

    async def run(self) -> None:
        """The start is over: look whether all turns, until this is cancelled."""
        self.up = True
        await self._liveness.run()

    def dead(self) -> str | None:
        """Why it should be restarted."""
        return self._liveness.fault() if self.up and not self.draining else None

    def unstarted(self) -> str | None:
        """What is left to be done once."""
        if self._was_set_up:
            return None
        lacking = self._setting_up() if self.up else "it is starting"
        self._was_set_up = lacking is None
        return lacking

    def unready(self) -> str | None:
        """Why it does not take work now."""
        if self.draining:
            return "it is draining: what runs may finish, and nothing new is taken"
        return self.unstarted() or self._unready()

    def app(self) -> Starlette:
        """The four of them over HTTP: 200, or 503 with a problem that tells why (RFC 9457)."""
        return Starlette(
            routes=[
                _probe("/healthz", "alive", "Not alive", self.dead),
                _probe("/readyz", "ready", "Not ready", self.unready),
                _probe("/startupz", "started", "Not started", self.unstarted),
                Route("/metrics", self._tell_metrics, methods=["GET"]),
            ]
        )

    async def _tell_metrics(self, request: Request) -> Response:
        text, content_type = self._metrics(request.headers.get("Accept", ""))
        return Response(text, headers={"Content-Type": content_type})


def _probe(path: str, well: str, ill: str, fault: Faults) -> Route:
    async def tell(request: Request) -> Response:
        if reason := fault():
            return problem(503, ill, reason, headers={"Retry-After": "1"})
        return Response(orjson.dumps({"status": well}), media_type=JSON)

    return Route(path, tell, methods=["GET"])
