"""The page of replicas: what runs, what each did, and why a function has none."""

import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request

from console.app import seconds_of
from console.depths import depth_of
from console.lifelines import STATES, lifelines
from console.page import Action, Page, View
from console.sources import Sources
from runtime.errors import LumbreError
from runtime.function import FunctionSpec
from runtime.lifeline import ReplicaLife
from runtime.model import Device
from runtime.views import waiting_view

MOST = 200  # living replicas in the table; the chart has fewer
MOST_ENDED = 8  # of those that ended lately: the latest
TOLD = ("crash_looping", "no_gpu", "no_device", "at_max")  # causes that somebody may have to mend


class Replicas:
    """All replicas, or those of one function."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    @property
    def pages(self) -> list[Page]:
        return [Page("/replicas", "replicas.html", "replicas", self.show, shared=True)]

    @property
    def actions(self) -> list[Action]:
        return []

    async def show(self, request: Request) -> View:
        function = request.query_params.get("function") or None
        now = time.time()
        start = now - seconds_of(request)
        live = _of(self._sources.fleet.lives(), function)
        past = await self._past(start, function)
        drawn = live if past is None else past
        alive = [life for life in live if life.ended_at is None]
        rows, more = _listed(live)
        return {
            "function": function,
            "functions": self._names(live),
            "counts": _counts(alive),
            "simulated": any(life.simulated for life in live),
            "memory": sum(life.memory for life in alive),
            "replicas": [replica_view(life, now) for life in rows],
            "more": more,
            "chart": lifelines(drawn, start, now) if drawn else None,
            "past_missing": past is None,
            "troubles": list(self._troubles(function)),
            "rest": self._rest(function) if function and not alive else None,
            "stale": bool(self._sources.fleet.faults()),
        }

    async def _past(self, start: float, function: str | None) -> list[ReplicaLife] | None:
        """Replicas of the chosen time, the newest first; None while the ledger cannot be read."""
        try:
            return _of(await self._sources.history.replicas(start), function)
        except LumbreError:
            return None

    def _names(self, live: Iterable[ReplicaLife]) -> list[str]:
        return sorted({*self._sources.catalog.functions, *(life.function for life in live)})

    def _troubles(self, function: str | None) -> Iterable[dict[str, Any]]:
        """Why functions have no replica though there is work, or replicas that cannot start."""
        for name, broken in sorted(self._sources.catalog.broken.items()):
            if function in (None, name):
                detail = f"{broken.file}: {broken.error.type}: {broken.error.message}"
                yield _trouble(name, None, "broken", detail)
        for spec in sorted(self._sources.catalog.functions.values(), key=lambda spec: spec.name):
            if function in (None, spec.name):
                yield from self._troubles_of(spec)

    def _troubles_of(self, spec: FunctionSpec) -> Iterable[dict[str, Any]]:
        pools = self._sources.fleet.pools(spec)
        for device in spec.devices:
            pool = pools.get(device)
            depth = depth_of(self._sources, spec.name, device, pool)
            if pool and pool.trouble:
                yield _trouble(spec.name, device, "crash_looping", pool.trouble)
                continue
            waits = waiting_view(device, pool, depth)
            none_runs = pool is None or not pool.replicas.running
            if waits and none_runs and waits["cause"] in TOLD:
                yield _trouble(spec.name, device, waits["cause"], waits["detail"])

    def _rest(self, function: str) -> dict[str, Any] | None:
        """Why the chosen function has no replica, and what it would take; None for no function."""
        spec = self._sources.catalog.functions.get(function)
        if spec is None:
            return None
        pools = self._sources.fleet.pools(spec)
        return {
            "waiting": sum(
                depth_of(self._sources, function, device, None).ready for device in spec.devices
            ),
            "served": [device for device in spec.devices if device in pools],
            "invoke": f"curl -X POST {self._sources.settings.own_url}/invoke/{function}",
        }


def _of(lives: Iterable[ReplicaLife], function: str | None) -> list[ReplicaLife]:
    return [life for life in lives if function in (None, life.function)]


def _listed(lives: Iterable[ReplicaLife]) -> tuple[list[ReplicaLife], dict[str, int]]:
    """Those that are listed, the living before the ended, and how many of each are not."""
    by_place = sorted(lives, key=lambda life: (life.function, life.device, life.spawned_at))
    alive = [life for life in by_place if life.ended_at is None]
    ended = [life for life in by_place if life.ended_at is not None]
    ended.sort(key=lambda life: life.ended_at or 0.0, reverse=True)
    more = {"alive": max(0, len(alive) - MOST), "ended": max(0, len(ended) - MOST_ENDED)}
    return alive[:MOST] + ended[:MOST_ENDED], more


def _counts(alive: Iterable[ReplicaLife]) -> dict[str, int]:
    counts = dict.fromkeys(STATES, 0)
    for life in alive:
        counts[life.state] = counts.get(life.state, 0) + 1
    return counts


def _trouble(function: str, device: Device | None, cause: str, detail: str) -> dict[str, Any]:
    query = urlencode({"function": function} | ({"device": device} if device else {}))
    return {
        "function": function,
        "device": device,
        "cause": cause,
        "detail": detail,
        "links": {"invocations": f"/invocations?{query}", "scaling": f"/scaling?{query}"},
    }


def replica_view(life: ReplicaLife, now: float) -> dict[str, Any]:
    """A replica as the table shows it; `busy` is a share of the time since it was ready."""
    until = now if life.ended_at is None else life.ended_at
    able = 0.0 if life.ready_at is None else until - life.ready_at
    return {
        "name": life.name,
        "function": life.function,
        "device": life.device,
        "simulated": life.simulated,
        "state": life.state,
        "spawned_at": life.spawned_at,
        "age": max(0.0, until - life.spawned_at),
        "ended_at": life.ended_at,
        "ending": life.ending,
        "setup": life.setup if life.ready_at is not None else None,
        "served": life.served,
        "busy": min(1.0, max(0.0, life.busy / able)) if able > 0 else None,
        "memory": life.memory or None,
        "gpu_memory": life.gpu_memory,
        "gpu": life.gpu,
        "worker": life.worker,
        "pid": life.pid,
    }
