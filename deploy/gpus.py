"""GPUs of a cluster: how many replicas they bear, how a pod asks for one, and who keeps away.

A pod that asks for more than the nodes have waits for ever, and counts as a replica meanwhile: the
HPA sees as many as it wanted, and adds none.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from autoscaler.keda import DEFAULT_MOST
from deploy.values import Gpus, Values
from runtime.function import FunctionSpec
from runtime.model import Device

Object = dict[str, Any]

UNKNOWN_MOST = 1  # replicas on GPUs, where neither the function nor gpus.count says
CLAIM = "gpu"  # a pod's name for its device (DRA)
DRA = "resource.k8s.io/v1"  # Kubernetes 1.34


def most_replicas(spec: FunctionSpec, device: Device, values: Values) -> int:
    """maxReplicaCount: the function's own, or as many as there is hardware for."""
    scaling = spec.scaling[device]
    room: int | None = DEFAULT_MOST if device == "cpu" else values.gpus.count
    if room is None:
        room = UNKNOWN_MOST
    return max(scaling.max_replicas or room, scaling.min_replicas, 1)


def gpu_faults(specs: Sequence[FunctionSpec], values: Values) -> Iterator[str]:
    """Functions that want more GPUs than there are, and what to change."""
    count = values.gpus.count
    users = [spec for spec in specs if "gpu" in spec.devices]
    if count is None:
        return
    for spec in users:
        scaling = spec.scaling["gpu"]
        if not count:
            yield (
                f"function {spec.name}: it runs on gpu, and gpus.count is 0: set gpus.count to the"
                " number of GPUs of the nodes, or devices to [cpu] where there are none"
            )
        elif (scaling.max_replicas or 0) > count:
            yield (
                f"function {spec.name}: scaling['gpu'].max_replicas={scaling.max_replicas} is above"
                f" gpus.count={count}: pods without a GPU would wait for ever and count as"
                f" replicas: lower it to {count}, or set gpus.count where nodes have more"
            )
        elif scaling.min_replicas > count:
            yield (
                f"function {spec.name}: scaling['gpu'].min_replicas={scaling.min_replicas} is above"
                f" gpus.count={count}: lower it to at most {count}"
            )
    kept = {spec.name: spec.scaling["gpu"].min_replicas for spec in users}
    if count and sum(kept.values()) > count and max(kept.values()) <= count:
        always = ", ".join(f"{name} {least}" for name, least in kept.items() if least)
        yield (
            f"gpu functions keep {sum(kept.values())} replicas at all times ({always}), and"
            f" gpus.count is {count}: lower their scaling['gpu'].min_replicas"
        )


def gpu_notes(specs: Sequence[FunctionSpec], values: Values) -> Iterator[str]:
    """What is no fault, but may surprise.

    Functions may be allowed more GPUs together than there are: they rest at zero and seldom peak
    at once, so that is how GPUs are shared.  While they do, pods wait for a GPU.
    """
    count = values.gpus.count
    users = [spec for spec in specs if "gpu" in spec.devices]
    if users and count is None:
        silent = [spec.name for spec in users if not spec.scaling["gpu"].max_replicas]
        held = f" ({', '.join(silent)}: at most {UNKNOWN_MOST} replica)" if silent else ""
        yield f"gpus.count is not set: no max_replicas is held to the GPUs of the nodes{held}"
    wanted = sum(most_replicas(spec, "gpu", values) for spec in users)
    if count and wanted > count:
        yield (
            f"gpu functions may have {wanted} replicas together, and gpus.count is {count}: when"
            " they peak at once, some pods wait for a GPU (Pending) and yet count as replicas"
        )


def placement(device: Device, gpus: Gpus, template: str) -> Object:
    """Fields of a pod's spec: which nodes it goes to; `template` is of its claim (DRA)."""
    if device == "cpu":
        return {"affinity": _away(gpus)} if _terms(gpus, "NotIn") else {}
    found: Object = {}
    if gpus.taint:
        found["tolerations"] = [{"key": gpus.taint, "operator": "Exists", "effect": "NoSchedule"}]
    if terms := _terms(gpus, "In"):
        required = {"nodeSelectorTerms": [{"matchExpressions": terms}]}
        affinity = {"requiredDuringSchedulingIgnoredDuringExecution": required}
        found["affinity"] = {"nodeAffinity": affinity}
    if gpus.runtime_class:
        found["runtimeClassName"] = gpus.runtime_class
    if gpus.device_class:
        found["resourceClaims"] = [{"name": CLAIM, "resourceClaimTemplateName": template}]
    return found


def asked(gpus: Gpus) -> Object:
    """What is added to the resources of a GPU pod's container: one GPU, by claim or by resource.

    A GPU stands in `limits` only, and is never shared: the request follows from it (Kubernetes,
    Schedule GPUs).  No resource at all is for GPUs that are simulated.
    """
    if gpus.device_class:
        return {"claims": [{"name": CLAIM}]}
    return {"limits": {gpus.resource: "1"}} if gpus.resource else {}


def claim_spec(gpus: Gpus) -> Object:
    """The spec of a ResourceClaimTemplate: each pod gets one device of the class for itself."""
    exactly = {"deviceClassName": gpus.device_class, "allocationMode": "ExactCount", "count": 1}
    return {"spec": {"devices": {"requests": [{"name": CLAIM, "exactly": exactly}]}}}


def _terms(gpus: Gpus, operator: str) -> list[Object]:
    return [
        {"key": label, "operator": operator, "values": list(values)}
        for label, values in gpus.nodes.items()
        if values
    ]


def _away(gpus: Gpus) -> Object:
    """Other nodes are preferred: GPU nodes that are not tainted are still too dear for it."""
    preferred = {"weight": 100, "preference": {"matchExpressions": _terms(gpus, "NotIn")}}
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [preferred]}}
