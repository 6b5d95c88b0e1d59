"""The namespace, what it may have, and the priorities of its pods.

No quota counts GPUs: a pod beyond one is refused, and asked for again after ever longer pauses,
while a pod without a GPU waits and starts the moment one is free.  `max_replicas` is what limits
them.
"""

from typing import Any

from deploy.pod import Object, labels, metadata
from deploy.values import Values

PLATFORM = "platform"  # the component of what belongs to no role
GATEWAY = "lumbre-gateway"  # the names of PriorityClasses
WORKER = "lumbre-worker"
GPU_WORKER = "lumbre-gpu-worker"


def namespace(values: Values) -> list[Object]:
    """The Namespace, PriorityClasses (of the cluster), and a ResourceQuota where there is one."""
    found = [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": values.namespace, "labels": labels(PLATFORM) | _security()},
        },
        # Callers wait for a gateway; what a worker runs is given to another worker.
        _priority(GATEWAY, 100_000, "PreemptLowerPriority", "Gateways, recorders and stores."),
        _priority(GPU_WORKER, 2_000, "Never", "GPU workers: before CPU workers where both wait."),
        _priority(WORKER, 1_000, "Never", "CPU workers: what they run can be run again."),
    ]
    if values.quota:
        found.append(_quota(values))
    return found


def _security() -> dict[str, str]:
    level = "pod-security.kubernetes.io"
    return {
        f"{level}/{mode}{what}": value
        for mode in ("enforce", "audit", "warn")
        for what, value in (("", "restricted"), ("-version", "latest"))
    }


def _priority(name: str, value: int, preemption: str, description: str) -> dict[str, Any]:
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": name, "labels": labels(PLATFORM)},
        "value": value,
        "preemptionPolicy": preemption,
        "description": description,
    }


def _quota(values: Values) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": metadata("lumbre", values, labels(PLATFORM)),
        "spec": {"hard": dict(values.quota)},
    }
