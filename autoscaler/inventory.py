"""Which objects of a cluster are Lumbre's, and in which order they may go.

What is ours carries our label and was made by nobody else: KEDA gives the labels of a ScaledObject
to the HPA that it makes, and that is KEDA's.
"""

from collections.abc import Iterable

from autoscaler.cluster import Cluster
from autoscaler.identity import OURS, Identity, Object, is_controlled
from autoscaler.readiness import is_worker

KEDA = "keda.sh/v1alpha1"
# By API version and kind: when it goes.  First what would start pods again, then pods from the last
# of the chain to the first, so that workers hand in their outcomes while there is a broker.
WAVES: dict[tuple[str, str], int] = {
    (KEDA, "ScaledObject"): 0,
    (KEDA, "ScaledJob"): 0,
    ("autoscaling/v2", "HorizontalPodAutoscaler"): 0,
    ("apps/v1", "Deployment"): 2,  # 1 for those of workers
    ("networking.k8s.io/v1", "Ingress"): 2,
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): 2,
    ("batch/v1", "Job"): 3,
    ("apps/v1", "StatefulSet"): 4,
    ("rabbitmq.com/v1beta1", "RabbitmqCluster"): 4,
    (KEDA, "TriggerAuthentication"): 5,
    ("v1", "Service"): 5,
    ("v1", "ConfigMap"): 5,
    ("policy/v1", "PodDisruptionBudget"): 5,
    ("networking.k8s.io/v1", "NetworkPolicy"): 5,
    ("monitoring.coreos.com/v1", "ServiceMonitor"): 5,
    ("monitoring.coreos.com/v1", "PodMonitor"): 5,
    ("monitoring.coreos.com/v1", "PrometheusRule"): 5,
    ("resource.k8s.io/v1", "ResourceClaimTemplate"): 5,
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): 5,
    ("rbac.authorization.k8s.io/v1", "Role"): 5,
    ("v1", "ServiceAccount"): 5,
    ("v1", "ResourceQuota"): 5,
    ("v1", "LimitRange"): 5,
}
# What holds data, or what others made of it: the ledger, queues, blobs, passwords.
KEPT: tuple[tuple[str, str], ...] = (("v1", "PersistentVolumeClaim"), ("v1", "Secret"))


def inventory(cluster: Cluster) -> list[Object]:
    """Our objects in the cluster's namespace, in the order of their going; none holds data."""
    found = [each for kind in WAVES for each in _all(cluster, kind)]
    return sorted(found, key=wave)  # a stable one


def data(cluster: Cluster) -> list[Object]:
    """Our claims of volumes and our Secrets."""
    return [each for kind in KEPT for each in _all(cluster, kind)]


def leftovers(cluster: Cluster, wanted: Iterable[Object]) -> list[Object]:
    """Our objects that are not wanted: of functions that are gone, Jobs of other versions."""
    kept: set[Identity] = {cluster.identify(each) for each in wanted}
    return [each for each in inventory(cluster) if cluster.identify(each) not in kept]


def wave(found: Object) -> int:
    """When an object goes; those of one number go together."""
    return 1 if is_worker(found) else WAVES.get((found["apiVersion"], found["kind"]), 5)


def _all(cluster: Cluster, kind: tuple[str, str]) -> list[Object]:
    if not cluster.knows(*kind):
        return []
    return [each for each in cluster.all(*kind, OURS) if not is_controlled(each)]
