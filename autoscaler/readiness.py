"""Whether an object of a cluster does what it is for yet, and what keeps it from that.

Read from its status as its controller writes it (Kubernetes' "kubectl rollout status" and
"kubectl wait", RabbitMQ's cluster operator, KEDA).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from autoscaler.identity import COMPONENT, Object, labels_of

GENERIC = ("ContainerCreating", "PodInitializing")  # what a container waits for at first


@dataclass(frozen=True, slots=True)
class Readiness:
    """`done`, or `failed` for good; `why` says what it waits for, or why it failed."""

    done: bool
    why: str = ""
    failed: bool = False


READY = Readiness(True)


def readiness(found: Object) -> Readiness:
    """An object's readiness; kinds that only have to be there are ready."""
    judge = JUDGES.get(found["kind"])
    return judge(found) if judge else READY


def is_waited_for(wanted: Object) -> bool:
    """Whether applying an object is not all: its controller has work to do.

    How many workers there are is KEDA's to say, who may want none.
    """
    return wanted["kind"] in JUDGES and not is_worker(wanted)


def is_worker(wanted: Object) -> bool:
    """Whether it is a Deployment of workers, whose count is KEDA's."""
    return wanted["kind"] == "Deployment" and labels_of(wanted).get(COMPONENT) == "worker"


def condition(found: Object, name: str) -> dict[str, Any]:
    """A condition of an object's status; empty where its controller has not said it."""
    conditions = found.get("status", {}).get("conditions") or ()
    return next((each for each in conditions if each.get("type") == name), {})


def holds(found: Object, name: str) -> bool:
    """Whether a condition is true."""
    return condition(found, name).get("status") == "True"


def trouble(pod: Object) -> str | None:
    """What keeps a pod from being ready, as its scheduler and kubelet say; None if it is ready."""
    name, status = pod["metadata"]["name"], pod.get("status", {})
    if pod["metadata"].get("deletionTimestamp"):
        return f"pod {name} is finishing what it runs"
    if holds(pod, "Ready") or status.get("phase") == "Succeeded":
        return None
    placed = condition(pod, "PodScheduled")
    if placed.get("status") == "False":
        return f"pod {name} is {placed.get('reason')}: {placed.get('message')}"
    containers = [*(status.get("initContainerStatuses") or ())]
    containers += [*(status.get("containerStatuses") or ())]
    stuck = next((why for each in containers if (why := _stuck(each))), "")
    if stuck:
        return f"pod {name}: {stuck}"
    if status.get("phase") == "Failed":
        return f"pod {name} failed: {status.get('reason', '')} {status.get('message', '')}".rstrip()
    running = [each["name"] for each in containers if "running" in (each.get("state") or {})]
    if running and not all(each.get("ready") for each in containers):
        return f"pod {name} runs and is not ready yet"
    return f"pod {name} is starting"


def troubles(pods: Iterable[Object]) -> list[str]:
    """What keeps pods from being ready, those with a reason first, each reason once."""
    found = [why for pod in pods if (why := trouble(pod))]
    usual = ("is starting", "is not ready yet", "what it runs")
    return sorted(dict.fromkeys(found), key=lambda why: why.endswith(usual))


def selector_of(found: Object) -> str:
    """The label selector of an object's pods; empty where it has none."""
    spec = found.get("spec", {})
    if found["kind"] in ("Deployment", "StatefulSet", "Job"):
        labels = (spec.get("selector") or {}).get("matchLabels") or {}
    elif found["kind"] == "RabbitmqCluster":  # as the cluster operator labels its pods
        labels = {"app.kubernetes.io/name": found["metadata"]["name"]}
    else:
        labels = {}
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items()))


def _stuck(container: dict[str, Any]) -> str:
    """Why a container does not run: ImagePullBackOff, or CrashLoopBackOff with how it ended."""
    state = container.get("state") or {}
    if waiting := state.get("waiting"):
        reason = waiting.get("reason", "")
        if reason in GENERIC:
            return ""
        ended = (container.get("lastState") or {}).get("terminated")
        told = _ending(ended) if ended else waiting.get("message", "")
        return f"container {container['name']} is in {reason}: {told}".rstrip(": ")
    ended = state.get("terminated")
    if ended and ended.get("exitCode"):
        return f"container {container['name']} {_ending(ended)}"
    return ""


def _ending(ended: dict[str, Any]) -> str:
    """How a container ended: "ended with exit code 137 (OOMKilled)"."""
    reason = ended.get("reason", "")
    said = [f" ({reason})" if reason not in ("", "Error") else ""]
    said.append(f": {ended['message'].strip()}" if ended.get("message") else "")
    return f"ended with exit code {ended.get('exitCode')}{''.join(said)}"


# ── by kind ───────────────────────────────────────────────────────────────────────────────────


def _deployment(found: Object) -> Readiness:
    status, wanted = found.get("status", {}), found["spec"].get("replicas", 1)
    if _is_stale(found):
        return Readiness(False, "its controller has not seen it yet")
    if holds(found, "ReplicaFailure"):
        said = condition(found, "ReplicaFailure").get("message")
        return Readiness(False, f"its pods are refused: {said}")
    updated, total = status.get("updatedReplicas", 0), status.get("replicas", 0)
    available = status.get("availableReplicas", 0)
    if updated >= wanted and total <= updated and available >= wanted:
        return READY
    why = f"{available} of {wanted} pods available, {updated} of this version"
    progress = condition(found, "Progressing")
    late = progress.get("reason") == "ProgressDeadlineExceeded"
    return Readiness(False, f"{why}: {progress.get('message')}" if late else why, failed=late)


def _stateful_set(found: Object) -> Readiness:
    status, wanted = found.get("status", {}), found["spec"].get("replicas", 1)
    if _is_stale(found):
        return Readiness(False, "its controller has not seen it yet")
    ready, updated = status.get("readyReplicas", 0), status.get("updatedReplicas", wanted)
    rolled = status.get("currentRevision") == status.get("updateRevision")
    if ready >= wanted and (rolled or updated >= wanted):
        return READY
    return Readiness(False, f"{ready} of {wanted} pods ready, {updated} of this version")


def _job(found: Object) -> Readiness:
    if holds(found, "Complete"):
        return READY
    for name in ("Failed", "FailureTarget"):
        if holds(found, name):
            said = condition(found, name)
            why = f"{said.get('reason', '')}: {said.get('message', '')}".strip(": ")
            return Readiness(False, why, failed=True)
    failures = found.get("status", {}).get("failed", 0)
    return Readiness(False, f"it runs; {failures} attempts failed" if failures else "it runs")


def _condition_of(name: str) -> Callable[[Object], Readiness]:
    def judge(found: Object) -> Readiness:
        if holds(found, name):
            return READY
        said = condition(found, name)
        why = f"{said.get('reason', '')}: {said.get('message', '')}".strip(": ")
        return Readiness(False, why or f"its controller has not said {name} yet")

    return judge


def _rabbitmq(found: Object) -> Readiness:
    """All replicas are ready; `ReconcileSuccess` says where the operator cannot go on."""
    said = condition(found, "ReconcileSuccess")
    if said.get("status") == "False":
        return Readiness(False, f"{said.get('reason')}: {said.get('message')}")
    return _condition_of("AllReplicasReady")(found)


def _namespace(found: Object) -> Readiness:
    if found.get("status", {}).get("phase") == "Terminating":
        return Readiness(False, "it is being deleted", failed=True)
    return READY


def _is_stale(found: Object) -> bool:
    seen = found.get("status", {}).get("observedGeneration", 0)
    return bool(seen < found["metadata"].get("generation", 0))


JUDGES: dict[str, Callable[[Object], Readiness]] = {
    "Namespace": _namespace,
    "Deployment": _deployment,
    "StatefulSet": _stateful_set,
    "Job": _job,
    "RabbitmqCluster": _rabbitmq,
    "ScaledObject": _condition_of("Ready"),
    "ScaledJob": _condition_of("Ready"),
}


def first(whys: Sequence[str], at_most: int = 3) -> str:
    """The first few of many reasons, in one line."""
    more = len(whys) - at_most
    return "; ".join(whys[:at_most]) + (f"; and {more} more" if more > 0 else "")
