"""How functions stand on a cluster: what KEDA and the HPA decided last, and why something waits.

Read from their objects alone, so that it takes no access to the broker; the gateway knows more.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from autoscaler.cluster import Cluster, moment, quantity
from autoscaler.identity import COMPONENT, DEVICE, FUNCTION, NAME, OURS, Object, labels_of
from autoscaler.inventory import KEDA
from autoscaler.readiness import condition, holds, troubles
from autoscaler.refusal import ClusterError, Denied

WORKERS = f"{NAME}=lumbre,{COMPONENT}=worker"
CONDITIONS = ("Ready", "Active", "Fallback", "Paused")
DECISIONS = "KEDAScaleTarget", "KEDAJobs", "SuccessfulRescale", "FailedRescale"  # events' reasons
METRICS = "/apis/external.metrics.k8s.io/v1beta1"  # which KEDA serves


@dataclass(frozen=True, slots=True)
class Decision:
    """An event of KEDA or of the HPA; `at` is RFC 3339."""

    at: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Standing:
    """One function on one device.

    `backlog` is what KEDA reads, ready and unacknowledged messages; None where nobody could be
    asked.  `desired` replicas are those that KEDA and the HPA want now, `ready` those that consume.
    """

    function: str
    device: str
    name: str
    kind: str
    backlog: float | None
    desired: int
    ready: int
    at_most: int
    conditions: Mapping[str, str] = field(default_factory=dict)
    last_decision: Decision | None = None
    waiting: str | None = None


class Standings:
    """Reads the standing of every function; a few requests for all of them."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._has_metrics = True

    def read(self) -> list[Standing]:
        """By function and device; raises ClusterError where the cluster does not tell."""
        pods = self._cluster.all("v1", "Pod", WORKERS)
        events = self._events()
        found = [
            *(self._of_object(each, pods, events) for each in self._scaled("ScaledObject")),
            *(self._of_job(each, pods, events) for each in self._scaled("ScaledJob")),
        ]
        return sorted(found, key=lambda standing: (standing.function, standing.device))

    def _scaled(self, kind: str) -> list[Object]:
        if not self._cluster.knows(KEDA, kind):
            raise ClusterError(f"KEDA is not installed: there is no {kind} in this cluster")
        return self._cluster.all(KEDA, kind, OURS)

    def _events(self) -> list[Object]:
        try:
            return self._cluster.events()
        except Denied:  # decisions are then not told
            return []

    def _of_object(self, scaled: Object, pods: list[Object], events: list[Object]) -> Standing:
        name, spec = scaled["metadata"]["name"], scaled["spec"]
        target = self._named("apps/v1", "Deployment", spec["scaleTargetRef"]["name"])
        hpa = self._named("autoscaling/v2", "HorizontalPodAutoscaler", _hpa_name(scaled))
        about = {name, spec["scaleTargetRef"]["name"], _hpa_name(scaled)}
        desired = (target or {}).get("spec", {}).get("replicas", 0)
        standing = Standing(
            *_function(scaled),
            name=name,
            kind="ScaledObject",
            backlog=self._backlog(scaled, hpa),
            desired=desired,
            ready=(target or {}).get("status", {}).get("readyReplicas", 0),
            at_most=spec.get("maxReplicaCount", 100),
            conditions=_conditions(scaled),
            last_decision=_last(events, about),
        )
        if target is None:
            return replace(standing, waiting=f"its Deployment {name} is not there: apply it again")
        own = _pods_of(scaled, pods)
        return replace(standing, waiting=why_waiting(standing, scaled, own, _trouble(events, name)))

    def _of_job(self, scaled: Object, pods: list[Object], events: list[Object]) -> Standing:
        own = [each for each in _pods_of(scaled, pods) if not _is_over(each)]
        standing = Standing(
            *_function(scaled),
            name=scaled["metadata"]["name"],
            kind="ScaledJob",
            backlog=self._backlog(scaled, None),
            desired=len(own),
            ready=sum(holds(pod, "Ready") for pod in own),
            at_most=scaled["spec"].get("maxReplicaCount", 100),
            conditions=_conditions(scaled),
            last_decision=_last(events, {scaled["metadata"]["name"]}),
        )
        trouble = _trouble(events, scaled["metadata"]["name"])
        return replace(standing, waiting=why_waiting(standing, scaled, own, trouble))

    def _named(self, api_version: str, kind: str, name: str) -> Object | None:
        metadata = {"name": name}
        wanted = {"apiVersion": api_version, "kind": kind, "metadata": metadata}
        return self._cluster.get(self._cluster.identify(wanted))

    def _backlog(self, scaled: Object, hpa: Object | None) -> float | None:
        """From KEDA's metrics API, which reads it just now; else what the HPA last saw."""
        if _is_unread(scaled):  # what is told then is the fallback, or of long ago
            return None
        for metric in scaled.get("status", {}).get("externalMetricNames") or ():
            if self._has_metrics:
                try:
                    return self._metric(scaled["metadata"]["name"], metric)
                except ClusterError:  # no metrics server of KEDA's, or no right to ask it
                    self._has_metrics = False
        return _backlog_of(hpa)

    def _metric(self, name: str, metric: str) -> float | None:
        path = f"{METRICS}/namespaces/{self._cluster.namespace}/{quote(metric)}"
        query = [("labelSelector", f"scaledobject.keda.sh/name={name}")]
        items = self._cluster.read(path, query).get("items") or []
        return sum(quantity(item["value"]) for item in items) if items else None


def why_waiting(
    standing: Standing, scaled: Object, pods: Sequence[Object], trouble: str = ""
) -> str | None:
    """The first reason why messages of a function may wait; None where there is none.

    `trouble` is what KEDA said last of a reading that failed.
    """
    return next(_reasons(standing, scaled, pods, trouble), None)


def _reasons(
    standing: Standing, scaled: Object, pods: Sequence[Object], trouble: str
) -> Iterator[str]:
    ready = condition(scaled, "Ready")
    if holds(scaled, "Paused"):
        said = condition(scaled, "Paused").get("message", "")
        yield f"paused: {said}".removesuffix(": ")
    if _is_unread(scaled):
        what = "the fallback counts" if holds(scaled, "Fallback") else "replicas stay as they are"
        yield f"the backlog cannot be read, and {what}: {trouble}".removesuffix(": ")
    if ready.get("status") in ("False", "Unknown"):
        yield f"KEDA cannot scale it: {ready.get('reason')}: {ready.get('message')}"
    whys = troubles(each for each in pods if not each["metadata"].get("deletionTimestamp"))
    missing = standing.desired - standing.ready
    if missing > 0:
        told = whys[0] if whys else "pods are about to start"
        yield f"{missing} of {standing.desired} replicas are not ready: {told}"
    if standing.backlog and not standing.desired:
        yield "a first replica is about to start: KEDA has yet to look at the queue"
    if standing.backlog and standing.backlog > standing.desired >= standing.at_most:
        yield f"all {standing.at_most} replicas that may run are there"


def _is_unread(scaled: Object) -> bool:
    """Whether KEDA's last reading of the backlog failed."""
    health = (scaled.get("status", {}).get("health") or {}).values()
    failing = any(each.get("status") == "Failing" for each in health)
    return failing or holds(scaled, "Fallback")


def _trouble(events: Sequence[Object], name: str) -> str:
    """What KEDA said of the last reading that failed; events come in order."""
    for event in reversed(events):
        about = event.get("involvedObject", {})
        if about.get("name") == name and event.get("reason") == "KEDAScalerFailed":
            return str(event.get("message", ""))
    return ""


def _function(scaled: Object) -> tuple[str, str]:
    own = labels_of(scaled)
    return own.get(FUNCTION, scaled["metadata"]["name"]), own.get(DEVICE, "")


def _pods_of(scaled: Object, pods: Sequence[Object]) -> list[Object]:
    return [each for each in pods if _function(each) == _function(scaled)]


def _is_over(pod: Object) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def _hpa_name(scaled: Object) -> str:
    known = scaled.get("status", {}).get("hpaName")
    return str(known or f"keda-hpa-{scaled['metadata']['name']}")


def _conditions(scaled: Object) -> dict[str, str]:
    """What KEDA says of its conditions: True, False or Unknown."""
    found = {name: condition(scaled, name).get("status") for name in CONDITIONS}
    return {name: status for name, status in found.items() if status}


def _backlog_of(hpa: Object | None) -> float | None:
    """The metric of an HPA, an average for each replica, times the replicas that it saw."""
    status: dict[str, Any] = (hpa or {}).get("status") or {}
    for metric in status.get("currentMetrics") or ():
        average = (metric.get("external") or {}).get("current", {}).get("averageValue")
        if average is not None:
            return quantity(average) * float(status.get("currentReplicas") or 0)
    return None


def _last(events: Sequence[Object], about: set[str]) -> Decision | None:
    """The latest decision about any of some objects; events come in order."""
    for event in reversed(events):
        if event.get("involvedObject", {}).get("name") not in about:
            continue
        if event.get("reason", "").startswith(DECISIONS):
            return Decision(moment(event), event["reason"], event.get("message", ""))
    return None
