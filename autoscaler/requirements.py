"""What a cluster must have before anything is applied to it, and how it gets what it lacks."""

import re
from collections.abc import Iterable

from autoscaler.cluster import Cluster
from autoscaler.identity import Identity, Object
from autoscaler.refusal import ClusterError, Denied

KUBERNETES = (1, 30)  # pods' sizes and API versions that are rendered
KEDA = (2, 20)  # fallback.behavior, and how the HPA's metric is read
VERSION = re.compile(r"v?(\d+)\.(\d+)")
# By the group of an API: what is not installed, and how it is.
INSTALLS = {
    "keda.sh": (
        "KEDA is not installed",
        "helm repo add kedacore https://kedacore.github.io/charts &&"
        " helm install keda kedacore/keda --namespace keda --create-namespace"
        " (https://keda.sh/docs/latest/deploy/)",
    ),
    "rabbitmq.com": (
        "RabbitMQ's cluster operator is not installed",
        "kubectl apply -f https://github.com/rabbitmq/cluster-operator/releases/latest/download/"
        "cluster-operator.yml; or say --set broker.kind=pod, or external",
    ),
    "monitoring.coreos.com": (
        "the Prometheus operator is not installed",
        "helm install prometheus prometheus-community/kube-prometheus-stack;"
        " or say --set monitoring.enabled=false",
    ),
    "gateway.networking.k8s.io": (
        "the Gateway API is not installed",
        "kubectl apply -f https://github.com/kubernetes-sigs/gateway-api/releases/latest/download/"
        "standard-install.yaml; or say --set gateway.route.kind=ingress",
    ),
    "resource.k8s.io": (
        "the cluster has no dynamic resource allocation",
        "it takes Kubernetes 1.34; or say --set gpus.device_class= to ask for GPUs by resource",
    ),
}


def check_kinds(cluster: Cluster, wanted: Iterable[Object]) -> None:
    """Raise one ClusterError that names every kind of object that the cluster does not know."""
    kinds = dict.fromkeys((each["apiVersion"], each["kind"]) for each in wanted)
    missing: dict[str, list[str]] = {}
    for api_version, kind in kinds:
        if not cluster.knows(api_version, kind):
            missing.setdefault(api_version, []).append(kind)
    if missing:
        raise ClusterError("\n  ".join(_missing(*each) for each in missing.items()))


def warnings(cluster: Cluster, keda_namespace: str) -> list[str]:
    """What may not work here although everything is known: versions, and KEDA that does not run."""
    found = []
    version = cluster.version()
    if version < KUBERNETES:
        found.append(
            f"Kubernetes is {_dotted(version)}, and Lumbre is made for {_dotted(KUBERNETES)} and"
            " above"
        )
    return found + _keda_warnings(cluster, keda_namespace)


def offered(cluster: Cluster, resource: str) -> int | None:
    """How many of a resource (nvidia.com/gpu) the nodes have for pods, in all; None: not told.

    Nodes that are cordoned or not ready count: they come back, and what is applied stays.
    """
    try:
        nodes = cluster.all("v1", "Node")
    except Denied:
        return None
    amounts = [(node.get("status", {}).get("allocatable") or {}).get(resource) for node in nodes]
    return sum(int(amount) for amount in amounts if amount)


def _missing(api_version: str, kinds: list[str]) -> str:
    group = api_version.partition("/")[0]
    there_is_no = f"there is no {' and no '.join(kinds)} in this cluster"
    if group not in INSTALLS:
        return f"{there_is_no} ({api_version}): it may be too old, or lack an operator"
    what, how = INSTALLS[group]
    return f"{what}: {there_is_no}. To have it: {how}"


def _keda_warnings(cluster: Cluster, namespace: str) -> list[str]:
    try:
        operator = cluster.get(Identity("apps/v1", "Deployment", "keda-operator", namespace))
    except Denied:
        return []
    if operator is None:
        return [
            f"there is no keda-operator in the namespace {namespace}: if KEDA runs elsewhere, say"
            " --set keda_namespace=…, which the NetworkPolicies need"
        ]
    found = []
    if not operator.get("status", {}).get("availableReplicas"):
        found.append(f"KEDA's operator does not run: kubectl -n {namespace} get pods")
    version = _keda_version(operator)
    if version and version < KEDA:
        found.append(
            f"KEDA is {_dotted(version)}, and Lumbre is made for {_dotted(KEDA)} and above"
        )
    return found


def _keda_version(operator: Object) -> tuple[int, int] | None:
    labelled = (operator["metadata"].get("labels") or {}).get("app.kubernetes.io/version", "")
    images = [each.get("image", "") for each in operator["spec"]["template"]["spec"]["containers"]]
    for text in (labelled, *(image.rpartition(":")[2] for image in images)):
        if found := VERSION.match(text):
            return int(found[1]), int(found[2])
    return None


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
