"""How a function does now and lately: what its page shows and renews by itself."""

import time
from dataclasses import asdict, replace
from typing import Any

from starlette.requests import Request

from console.app import range_of, seconds_of
from console.charts import histogram
from console.coldstarts import cold_start_chart
from console.digest import Digests
from console.functions import SPANS, activity_of
from console.page import View
from console.policy import policy_view
from console.sources import Sources
from runtime.function import FunctionSpec
from runtime.model import Device, Invocation, PoolState, queue_name
from runtime.views import is_simulated, waiting_view

RECENT = 10  # invocations


class FunctionState:
    """Reads the state of all functions."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    async def of(self, spec: FunctionSpec, request: Request) -> View:
        """The state of one, over the time range of a request."""
        sources, words = self._sources, SPANS[range_of(request)]
        window = await sources.history.window(seconds_of(request))
        own = {key: row for key, row in window.cells.items() if key[0] == spec.name}
        lives = [
            life
            for life in await sources.history.replicas(time.time() - seconds_of(request))
            if life.function == spec.name
        ]
        recent, _ = await sources.ledger.find(function=spec.name, limit=RECENT)
        pools = sources.fleet.pools(spec)
        speedup = sources.speedups.of(spec.name)
        return {
            "name": spec.name,
            "at": address(spec, request),
            "did": activity_of(spec, window),
            "span": words,
            "states": [self._device(spec, device, pools.get(device)) for device in spec.devices],
            "latency": histogram(Digests().of(replace(window, cells=own)), words),
            "cold_starts": cold_start_chart(lives, words),
            "speedup": asdict(speedup) if speedup else None,
            "cpu_only": "gpu" not in spec.devices,
            "no_gpu": "gpu" not in sources.fleet.devices(spec),
            "scaling": [
                policy_view(spec, device, pools[device].most if device in pools else None)
                for device in spec.devices
            ],
            "recent": [_recent(each) for each in recent],
        }

    def _device(self, spec: FunctionSpec, device: Device, pool: PoolState | None) -> dict[str, Any]:
        depth = self._sources.fleet.depth(queue_name(spec.name, device))
        return {
            "device": device,
            "here": pool is not None,
            "simulated": pool is not None and pool.simulated,
            "ready": depth.ready,
            "backlog": depth.backlog,
            "dead": depth.dead,
            "running": pool.replicas.running if pool else 0,
            "starting": pool.replicas.starting if pool else 0,
            "busy": pool.replicas.busy if pool else 0,
            "most": pool.most if pool else 0,
            "trouble": pool.trouble if pool else None,
            "waiting": waiting_view(device, pool, depth),
        }


def address(spec: FunctionSpec, request: Request) -> str:
    """The URL at which the page's live regions are asked for; a form was posted elsewhere."""
    query = request.url.query if request.method == "GET" else ""
    return f"/functions/{spec.name}" + (f"?{query}" if query else "")


def _recent(invocation: Invocation) -> dict[str, Any]:
    message, finished = invocation.message, invocation.finished_at
    return {
        "id": invocation.id,
        "device": message.device,
        "simulated": is_simulated(invocation),
        "status": invocation.status.value,
        "created_at": message.created_at,
        "total": finished - message.created_at if finished is not None else None,
        "cold": invocation.cold,
        "error": invocation.error.type if invocation.error else None,
    }
