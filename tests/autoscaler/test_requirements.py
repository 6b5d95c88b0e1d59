"""What a cluster lacks is told before anything is applied to it, with how to get it."""

from typing import Any

import pytest

from autoscaler.cluster import Cluster
from autoscaler.refusal import ClusterError
from autoscaler.requirements import check_kinds, offered, warnings
from tests.autoscaler.apiserver import ApiServer


def thing(api_version: str, kind: str) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}}


def node(name: str, **allocatable: str) -> dict[str, Any]:
    return thing("v1", "Node") | {
        "metadata": {"name": name},
        "status": {"allocatable": {"cpu": "8"} | allocatable},
    }


def operator(available: int = 1, image: str = "ghcr.io/kedacore/keda:2.20.1") -> dict[str, Any]:
    containers = [{"name": "keda-operator", "image": image}]
    return thing("apps/v1", "Deployment") | {
        "metadata": {"name": "keda-operator", "namespace": "keda"},
        "spec": {"template": {"spec": {"containers": containers}}},
        "status": {"availableReplicas": available},
    }


def test_keda_that_is_not_installed_is_told_with_how_it_is(
    cluster: Cluster, api: ApiServer
) -> None:
    del api.kinds["keda.sh/v1alpha1"]
    wanted = [thing("keda.sh/v1alpha1", kind) for kind in ("ScaledObject", "ScaledJob")]
    with pytest.raises(ClusterError) as e:
        check_kinds(cluster, [*wanted, thing("v1", "Service")])
    assert str(e.value).startswith(
        "KEDA is not installed: there is no ScaledObject and no ScaledJob in this cluster."
    )
    assert "helm install keda kedacore/keda" in str(e.value)


def test_all_that_is_missing_is_told_at_once(cluster: Cluster) -> None:
    wanted = [
        thing("rabbitmq.com/v1beta1", "RabbitmqCluster"),
        thing("monitoring.coreos.com/v1", "PodMonitor"),
        thing("gateway.networking.k8s.io/v1", "HTTPRoute"),
        thing("resource.k8s.io/v1", "ResourceClaimTemplate"),
        thing("autoscaling/v9", "HorizontalPodAutoscaler"),
    ]
    with pytest.raises(ClusterError) as e:
        check_kinds(cluster, wanted)
    said = str(e.value)
    for text in (
        "RabbitMQ's cluster operator is not installed",
        "--set monitoring.enabled=false",
        "--set gateway.route.kind=ingress",
        "Kubernetes 1.34",
        "no HorizontalPodAutoscaler in this cluster (autoscaling/v9): it may be too old",
    ):
        assert text in said
    assert said.count("\n") == len(wanted) - 1


def test_what_is_all_there_is_no_fault(cluster: Cluster) -> None:
    check_kinds(cluster, [thing("keda.sh/v1alpha1", "ScaledObject"), thing("v1", "Node")])


def test_gpus_of_all_nodes_are_counted(cluster: Cluster, api: ApiServer) -> None:
    assert offered(cluster, "nvidia.com/gpu") == 0
    gpu: Any = {"nvidia.com/gpu": "4"}
    for name, more in (("a", {}), ("b", gpu), ("c", gpu)):
        api.add(node(name, **more))
    assert offered(cluster, "nvidia.com/gpu") == 8
    assert offered(cluster, "nvidia.com/mig-1g.10gb") == 0


def test_nodes_that_may_not_be_listed_tell_nothing(cluster: Cluster, api: ApiServer) -> None:
    api.denied.add(("list", "nodes"))
    assert offered(cluster, "nvidia.com/gpu") is None


def test_a_cluster_as_it_should_be_gives_no_warning(cluster: Cluster, api: ApiServer) -> None:
    api.add(operator())
    assert warnings(cluster, "keda") == []


@pytest.mark.parametrize(
    ("deployment", "warning"),
    [
        (operator(image="ghcr.io/kedacore/keda:2.16.0"), "KEDA is 2.16"),
        (operator(available=0), "KEDA's operator does not run"),
    ],
)
def test_a_keda_that_will_not_do_is_warned_of(
    deployment: dict[str, Any], warning: str, cluster: Cluster, api: ApiServer
) -> None:
    api.add(deployment)
    (told,) = warnings(cluster, "keda")
    assert warning in told


def test_the_version_of_a_label_counts_before_that_of_an_image(
    cluster: Cluster, api: ApiServer
) -> None:
    deployment = operator(image="mirror.example/keda@sha256:12")
    assert warnings(cluster, "keda") != []  # none there
    api.add(deployment)
    assert warnings(cluster, "keda") == []  # nothing is known of it
    deployment["metadata"]["labels"] = {"app.kubernetes.io/version": "2.19.0"}
    api.add(deployment)
    assert "KEDA is 2.19" in warnings(cluster, "keda")[0]


def test_an_old_kubernetes_and_a_keda_elsewhere_are_warned_of(
    cluster: Cluster, api: ApiServer
) -> None:
    api.version = ("1", "29")
    old, elsewhere = warnings(cluster, "keda")
    assert "Kubernetes is 1.29" in old
    assert "--set keda_namespace" in elsewhere
    api.denied.add(("get", "deployments"))
    assert len(warnings(cluster, "keda")) == 1
