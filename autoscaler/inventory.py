"""Which objects of a cluster are Lumbre's, and in which order they may go.

What is ours carries our label and was made by nobody else: KEDA gives the labels of a ScaledObject
to the HPA that it makes, and that is KEDA's.
"""

from collections.abc import Iterable

from autoscaler.cluster import Cluster
from autoscaler.identity import NAME, OURS, Identity, Object, is_controlled
from autoscaler.readiness import is_worker
from autoscaler.refusal import Denied

KEDA = "keda.sh/v1alpha1"
LAST = 5
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
    (KEDA, "TriggerAuthentication"): LAST,
    ("v1", "Service"): LAST,
    ("v1", "ConfigMap"): LAST,
    ("policy/v1", "PodDisruptionBudget"): LAST,
    ("networking.k8s.io/v1", "NetworkPolicy"): LAST,
    ("monitoring.coreos.com/v1", "ServiceMonitor"): LAST,
    ("monitoring.coreos.com/v1", "PodMonitor"): LAST,
    ("monitoring.coreos.com/v1", "PrometheusRule"): LAST,
    ("resource.k8s.io/v1", "ResourceClaimTemplate"): LAST,
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): LAST,
    ("rbac.authorization.k8s.io/v1", "Role"): LAST,
    ("v1", "ServiceAccount"): LAST,
    ("v1", "ResourceQuota"): LAST,
    ("v1", "LimitRange"): LAST,
}
# What holds data: the ledger, queues, blobs, passwords.  RabbitMQ's operator deletes the volumes
# and the user of a RabbitmqCluster with it.
DATA = (
    ("rabbitmq.com/v1beta1", "RabbitmqCluster"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "Secret"),
)
# What is the whole cluster's, and tells by its binding which namespace it is for.
POLICY = ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy")
BINDING = ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding")
PRIORITY = ("scheduling.k8s.io/v1", "PriorityClass")
NAMESPACE = ("v1", "Namespace")


def inventory(cluster: Cluster) -> list[Object]:
    """Our objects of the cluster's namespace, in the order of their going; none holds data."""
    found = [each for kind in WAVES if kind not in DATA for each in _all(cluster, kind)]
    return sorted([*found, *_policies(cluster)], key=wave)  # a stable one


def data(cluster: Cluster) -> list[Object]:
    """What is kept unless somebody says otherwise: stores, claims of volumes and Secrets.

    A StatefulSet's claims have the labels of its selector only.
    """
    found = [each for kind in DATA for each in _all(cluster, kind, f"{NAME}=lumbre")]
    return sorted(found, key=wave)


def shared(cluster: Cluster) -> list[Object]:
    """The namespace, and our PriorityClasses unless Lumbre is in other namespaces, too."""
    spaces = _all(cluster, NAMESPACE)
    own = [each for each in spaces if each["metadata"]["name"] == cluster.namespace]
    return [*own, *(_all(cluster, PRIORITY) if len(spaces) == len(own) else ())]


def leftovers(cluster: Cluster, wanted: Iterable[Object]) -> list[Object]:
    """Our objects that are not wanted: of functions that are gone, Jobs of other versions."""
    kept: set[Identity] = {cluster.identify(each) for each in wanted}
    return [each for each in inventory(cluster) if cluster.identify(each) not in kept]


def wave(found: Object) -> int:
    """When an object goes; those of one number go together."""
    kind = (found["apiVersion"], found["kind"])
    if kind in (NAMESPACE, PRIORITY):
        return LAST + 1
    return 1 if is_worker(found) else WAVES.get(kind, LAST)


def _policies(cluster: Cluster) -> list[Object]:
    """Admission policies of this namespace; none for who may not look there."""
    try:
        bindings = [each for each in _all(cluster, BINDING) if _space(each) == cluster.namespace]
        names = {each["spec"]["policyName"] for each in bindings}
        policies = [each for each in _all(cluster, POLICY) if each["metadata"]["name"] in names]
    except Denied:
        return []
    return [*bindings, *policies]


def _space(binding: Object) -> str | None:
    selector = (binding["spec"].get("matchResources") or {}).get("namespaceSelector") or {}
    found = (selector.get("matchLabels") or {}).get("kubernetes.io/metadata.name")
    return None if found is None else str(found)


def _all(cluster: Cluster, kind: tuple[str, str], selector: str = OURS) -> list[Object]:
    if not cluster.knows(*kind):
        return []
    return [each for each in cluster.all(*kind, selector) if not is_controlled(each)]
