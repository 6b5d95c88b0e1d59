"""The page of scaling: replicas over backlog, why their number changed, and what comes next."""

import time
from collections.abc import Sequence
from dataclasses import asdict

from starlette.requests import Request

from autoscaler.policy import Policy
from console import numbers
from console.app import seconds_of
from console.backlog_chart import backlog_and_replicas, cells_of
from console.depths import depth_of
from console.outlook import Past, outlook
from console.page import Action, Page, View
from console.policy import policy_words, span
from console.queues import page_of
from console.sources import Sources
from console.what_if import WhatIf
from runtime.errors import LumbreError, NotFound
from runtime.function import FunctionSpec, Scaling
from runtime.history import Window
from runtime.ledger import ScalingDecision
from runtime.model import DEVICES, Device, ReplicaCounts
from runtime.query import known_device

ON_A_PAGE = 25  # decisions
MOST = 2000  # decisions of a function that are looked through, the latest
RECENT = 300.0  # seconds of history, at least, that what comes next is told from
MOST_RECENT = 3600.0


class ScalingPage:
    """One function on one device: how it is scaled, and how it was."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._what_if = WhatIf(sources)

    @property
    def pages(self) -> list[Page]:
        return [Page("/scaling", "scaling.html", "scaling", self.show, shared=True)]

    @property
    def actions(self) -> list[Action]:
        return []

    async def show(self, request: Request) -> View:
        query = request.query_params
        names = sorted(self._sources.catalog.functions)
        view: View = {"functions": names, "function": None, "device": None, "devices": []}
        view["describing"] = not self._sources.admission.described.is_set()
        function = query.get("function") or await self._latest(names)
        if function is None:
            return view
        spec = self._sources.catalog.functions.get(function)
        if spec is None:
            raise NotFound(f"there is no function {function!r}: choose one at /scaling")
        asked = known_device(query.get("device") or None)
        device = asked if asked in spec.devices else await self._used(spec)
        page = page_of(query.get("page"))
        made = await self._made(spec, device, page)
        view |= {"function": function, "device": device, "devices": list(spec.devices)}
        view |= self._policy(spec, device) | _paged(made, page)
        view["what_if"] = None
        if request.headers.get("hx-request-type") != "partial":  # it is in no live region
            view["what_if"] = await self._what_if.view(spec, device, query, seconds_of(request))
        return view | await self._now(spec, device, seconds_of(request), made or [])

    async def _decisions(self, function: str | None, limit: int) -> list[ScalingDecision] | None:
        """The latest decisions, the newest first; None while the ledger cannot be read."""
        try:
            return await self._sources.ledger.decisions(function, limit)
        except LumbreError:
            return None

    async def _latest(self, names: Sequence[str]) -> str | None:
        """The function that was scaled last, or the first there is."""
        for decision in await self._decisions(None, len(DEVICES)) or ():
            if decision.function in names:
                return decision.function
        return names[0] if names else None

    async def _used(self, spec: FunctionSpec) -> Device:
        """The device on which a function was scaled last, or its first."""
        for decision in await self._decisions(spec.name, 1) or ():
            if decision.device in spec.devices:
                return decision.device
        return spec.devices[0]

    async def _made(
        self, spec: FunctionSpec, device: Device, page: int
    ) -> list[ScalingDecision] | None:
        """The decisions about one device up to a page, and one more where there is one."""
        needed = page * ON_A_PAGE + 1
        limit = min(MOST, needed * len(spec.devices))
        found = await self._decisions(spec.name, limit)
        own = _about(device, found)
        if found and len(own) < needed and limit == len(found) < MOST:  # the others are the other's
            own = _about(device, await self._decisions(spec.name, MOST))
        return None if found is None else own[:needed]

    def _policy(self, spec: FunctionSpec, device: Device) -> View:
        scaling = spec.scaling[device]
        pool = self._sources.fleet.pools(spec).get(device)
        most = scaling.max_replicas or (pool.most if pool else None)
        return {
            "policy": policy_rows(scaling, most),
            "words": policy_words(scaling, most) if most else [],
            "served": pool is not None,
            "scaled": pool is not None and bool(pool.decisions),  # else their number is fixed
            "simulated": pool is not None and pool.simulated,
            "stale": bool(self._sources.fleet.faults()),
        }

    async def _now(
        self, spec: FunctionSpec, device: Device, seconds: float, made: Sequence[ScalingDecision]
    ) -> View:
        now = time.time()
        pool = self._sources.fleet.pools(spec).get(device)
        depth = depth_of(self._sources, spec.name, device, pool)
        counts = pool.replicas if pool else ReplicaCounts()
        view: View = {
            "backlog": {"ready": depth.ready, "unacknowledged": depth.unacknowledged},
            "replicas": asdict(counts),
            "trouble": pool.trouble if pool else None,
            "chart": None,
            "outlook": None,
            "history_missing": False,
        }
        try:
            window = await self._sources.history.window(seconds)
            recent = await self._recent(spec.scaling[device])
        except LumbreError:
            return view | {"history_missing": True}
        view["chart"] = backlog_and_replicas(window, (spec.name, device))
        if pool and pool.decisions:
            past = Past(recent.start, recent.width, cells_of(recent, (spec.name, device)))
            policy = Policy.of(spec.scaling[device], pool.most)
            view["outlook"] = asdict(outlook(policy, depth, counts.running, past, made, now))
        return view

    async def _recent(self, scaling: Scaling) -> Window:
        """History as long as the policy looks back."""
        longest = max(scaling.cooldown, scaling.stabilization_window)
        return await self._sources.history.window(min(max(RECENT, 2 * longest), MOST_RECENT))


def _about(device: Device, made: Sequence[ScalingDecision] | None) -> list[ScalingDecision]:
    return [each for each in made or () if each.device == device]


def _paged(made: Sequence[ScalingDecision] | None, page: int) -> View:
    """One page of the decisions."""
    first = (page - 1) * ON_A_PAGE
    return {
        "decisions": [asdict(each) for each in (made or ())[first : first + ON_A_PAGE]],
        "decisions_missing": made is None,
        "page": page,
        "more": len(made or ()) > first + ON_A_PAGE,
    }


# ── the policy ────────────────────────────────────────────────────────────────────────────────


def policy_rows(scaling: Scaling, most: int | None) -> list[dict[str, str]]:
    """Every field of a policy: its name here, its value, its name to KEDA, what it means."""
    told = "–" if most is None else f"{most:,}"
    unasked = "" if scaling.max_replicas else ", as many as there is room for"
    return [
        {"name": name, "value": value, "keda": keda, "meaning": meaning}
        for name, value, keda, meaning in (
            ("min_replicas", f"{scaling.min_replicas:,}", "minReplicaCount", "never fewer"),
            ("max_replicas", told, "maxReplicaCount", f"never more{unasked}"),
            (
                "target",
                f"{scaling.target:g}",
                "trigger value",
                "backlog, ready and unacknowledged messages, that one replica is to have",
            ),
            (
                "activation",
                f"{scaling.activation:g}",
                "activationValue",
                "0 → 1 only while the backlog is above this",
            ),
            (
                "polling_interval",
                span(scaling.polling_interval),
                "pollingInterval",
                "between two looks at the queue; a message to an empty one is looked at at once",
            ),
            (
                "cooldown",
                span(scaling.cooldown),
                "cooldownPeriod",
                "without backlog before the last replica goes",
            ),
            (
                "stabilization_window",
                span(scaling.stabilization_window),
                "scaleDown.stabilizationWindowSeconds",
                "for which the highest recommendation holds back scale-in",
            ),
            (
                "tolerance",
                numbers.percent(scaling.tolerance),
                "the HPA's tolerance",
                "that the backlog may be off the target before the number changes",
            ),
        )
    ]
