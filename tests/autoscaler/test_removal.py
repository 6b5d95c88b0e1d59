"""Deleting: what is ours, in which order it goes, and what is kept."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from autoscaler.cluster import Cluster
from autoscaler.inventory import data, inventory, leftovers, shared
from autoscaler.refusal import ClusterError
from autoscaler.removal import patience_for, remove
from tests.autoscaler.apiserver import ApiServer

LABELS = {"app.kubernetes.io/name": "lumbre", "app.kubernetes.io/managed-by": "lumbre"}
KEDA = "keda.sh/v1alpha1"
POLICY = "admissionregistration.k8s.io/v1"


class Told:
    """What was told, and what is done meanwhile."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.waits: list[str] = []
        self.meanwhile: Iterator[Callable[[], object]] = iter(())

    def step(self, text: str) -> None:
        self.steps.append(text)

    def waiting(self, text: str) -> None:
        self.waits.append(text)
        next(self.meanwhile, lambda: None)()


def thing(api_version: str, kind: str, name: str, **more: Any) -> dict[str, Any]:
    labels = LABELS | more.pop("labels", {})
    metadata = {"name": name, "labels": labels} | more.pop("metadata", {})
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata} | more


def worker(name: str = "matmul-gpu", grace: int = 75) -> dict[str, Any]:
    component = {"app.kubernetes.io/component": "worker"}
    template = {"spec": {"terminationGracePeriodSeconds": grace}}
    spec = {"selector": {"matchLabels": component}, "template": template}
    return thing("apps/v1", "Deployment", name, labels=component, spec=spec)


@pytest.fixture
def full(api: ApiServer) -> ApiServer:
    """A cluster in which something of everything is."""
    gateway = {"app.kubernetes.io/component": "gateway"}
    for each in (
        thing("v1", "Service", "lumbre-gateway"),
        thing("v1", "ConfigMap", "lumbre"),
        thing("v1", "Secret", "lumbre-broker"),
        thing("v1", "PersistentVolumeClaim", "lumbre-blobs"),
        thing("apps/v1", "StatefulSet", "lumbre-postgres"),
        thing("batch/v1", "Job", "lumbre-migrate-1"),
        thing("apps/v1", "Deployment", "lumbre-gateway", labels=gateway),
        worker(),
        thing(KEDA, "ScaledObject", "matmul-gpu"),
        thing(KEDA, "TriggerAuthentication", "lumbre-rabbitmq"),
    ):
        api.add(each)
    owner = {"kind": "ScaledObject", "name": "matmul-gpu", "controller": True}
    made = {"ownerReferences": [owner]}
    api.add(thing("autoscaling/v2", "HorizontalPodAutoscaler", "keda-hpa", metadata=made))
    theirs = thing("v1", "ConfigMap", "theirs")
    theirs["metadata"]["labels"] = {}
    api.add(theirs)
    return api


def test_what_others_made_is_not_ours(cluster: Cluster, full: ApiServer) -> None:
    names = [each["metadata"]["name"] for each in inventory(cluster)]
    assert "theirs" not in names
    assert "keda-hpa" not in names


def test_it_goes_from_what_starts_pods_to_what_they_need(cluster: Cluster, full: ApiServer) -> None:
    told = Told()
    remove(cluster, inventory(cluster), told, interval=0)
    order = [step.removesuffix(" is gone") for step in told.steps]
    assert order[:5] == [
        "ScaledObject matmul-gpu",
        "Deployment matmul-gpu",
        "Deployment lumbre-gateway",
        "Job lumbre-migrate-1",
        "StatefulSet lumbre-postgres",
    ]
    assert set(order[5:]) == {
        "TriggerAuthentication lumbre-rabbitmq",
        "Service lumbre-gateway",
        "ConfigMap lumbre",
    }
    assert full.names("secrets") == ["lumbre-broker"]
    assert full.names("persistentvolumeclaims") == ["lumbre-blobs"]
    assert full.names("configmaps") == ["theirs"]


def test_what_holds_data_is_counted_apart(cluster: Cluster, full: ApiServer) -> None:
    full.kinds["rabbitmq.com/v1beta1"] = {"RabbitmqCluster": True}
    full.add(thing("rabbitmq.com/v1beta1", "RabbitmqCluster", "lumbre-rabbitmq"))
    claim = thing("v1", "PersistentVolumeClaim", "data-lumbre-postgres-0")
    claim["metadata"]["labels"] = {"app.kubernetes.io/name": "lumbre"}  # as its controller does
    full.add(claim)
    held = {str(cluster.identify(each)) for each in data(cluster)}
    assert held == {
        "RabbitmqCluster lumbre-rabbitmq",
        "PersistentVolumeClaim lumbre-blobs",
        "PersistentVolumeClaim data-lumbre-postgres-0",
        "Secret lumbre-broker",
    }
    assert not held & {str(cluster.identify(each)) for each in inventory(cluster)}


def test_the_whole_cluster_s_goes_last_and_only_if_nobody_else_needs_it(
    cluster: Cluster, full: ApiServer
) -> None:
    assert shared(cluster) == []  # the namespace is not ours
    full.add(thing("v1", "Namespace", "lumbre"))
    full.add(thing("scheduling.k8s.io/v1", "PriorityClass", "lumbre-worker"))
    assert [each["kind"] for each in shared(cluster)] == ["Namespace", "PriorityClass"]
    told = Told()
    remove(cluster, [*shared(cluster), *inventory(cluster)], told, interval=0)
    assert told.steps[-2:] == ["Namespace lumbre is gone", "PriorityClass lumbre-worker is gone"]
    full.add(thing("v1", "Namespace", "lumbre"))
    full.add(thing("v1", "Namespace", "lumbre-2"))
    assert [each["kind"] for each in shared(cluster)] == ["Namespace"]


def test_admission_policies_are_those_of_the_namespace(cluster: Cluster, full: ApiServer) -> None:
    for namespace in ("lumbre", "other-lumbre"):
        name = f"lumbre-worker-{namespace}"
        space = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
        spec = {"policyName": name, "matchResources": {"namespaceSelector": space}}
        full.add(thing(POLICY, "ValidatingAdmissionPolicyBinding", name, spec=spec))
        full.add(thing(POLICY, "ValidatingAdmissionPolicy", name, spec={}))
    found = [each for each in inventory(cluster) if each["apiVersion"] == POLICY]
    assert [each["metadata"]["name"] for each in found] == ["lumbre-worker-lumbre"] * 2
    full.denied.add(("list", "validatingadmissionpolicybindings"))
    assert not [each for each in inventory(cluster) if each["apiVersion"] == POLICY]


def test_leftovers_are_what_is_no_longer_rendered(cluster: Cluster, full: ApiServer) -> None:
    wanted = [each for each in inventory(cluster) if each["metadata"]["name"] != "matmul-gpu"]
    found = [str(cluster.identify(each)) for each in leftovers(cluster, wanted)]
    assert found == ["ScaledObject matmul-gpu", "Deployment matmul-gpu"]


def test_a_drain_is_waited_for(cluster: Cluster, full: ApiServer) -> None:
    full.finalized.add("matmul-gpu")
    labels = {"app.kubernetes.io/component": "worker"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": labels}}
    full.add(pod)
    told = Told()

    def drained() -> None:
        for key in [key for key in full.objects if key[2] in ("matmul-gpu", "p")]:
            del full.objects[key]

    told.meanwhile = iter([drained])
    remove(cluster, [worker()], told, interval=0)
    assert told.waits == ["waiting for Deployment matmul-gpu (1 pods finish what they run)"]


def test_a_finalizer_that_keda_does_not_serve_ends_the_wait(
    cluster: Cluster, full: ApiServer
) -> None:
    full.finalized.add("matmul-gpu")
    with pytest.raises(ClusterError, match=r"not gone after 0 s.*\n.*waits for KEDA's operator"):
        remove(cluster, inventory(cluster), Told(), timeout=0, interval=0)
    assert "matmul-gpu" in full.names("deployments")  # its turn has not come


def test_the_patience_is_that_of_the_longest_grace() -> None:
    job = {"template": {"spec": {"terminationGracePeriodSeconds": 3700}}}
    scaled = thing(KEDA, "ScaledJob", "x", spec={"jobTargetRef": job})
    assert patience_for([worker(grace=75)]) == 195
    assert patience_for([worker(grace=75), scaled]) == 3820
    assert patience_for([thing("v1", "Service", "x")]) == 150
