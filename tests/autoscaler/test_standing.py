"""How functions stand: read from what KEDA, the HPA and the scheduler wrote down."""

from typing import Any

import pytest

from autoscaler.cluster import Cluster
from autoscaler.refusal import ClusterError
from autoscaler.standing import Decision, Standing, Standings
from tests.autoscaler.apiserver import ApiServer

LABELS = {
    "app.kubernetes.io/name": "lumbre",
    "app.kubernetes.io/component": "worker",
    "app.kubernetes.io/managed-by": "lumbre",
    "lumbre.dev/function": "matmul",
    "lumbre.dev/device": "gpu",
}
METRIC = "s0-rabbitmq-matmul-gpu"
METRICS = f"/apis/external.metrics.k8s.io/v1beta1/namespaces/lumbre/{METRIC}"


def thing(api_version: str, kind: str, name: str = "matmul-gpu", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "labels": LABELS}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata} | more


def said(**conditions: str) -> list[dict[str, str]]:
    return [
        {"type": name, "status": status, "reason": f"{name}Reason", "message": f"{name} it is"}
        for name, status in conditions.items()
    ]


def scaled(kind: str = "ScaledObject", **conditions: str) -> dict[str, Any]:
    spec = {"scaleTargetRef": {"name": "matmul-gpu"}, "maxReplicaCount": 4}
    status = {"externalMetricNames": [METRIC], "conditions": said(**conditions)}
    return thing("keda.sh/v1alpha1", kind, spec=spec, status=status)


def deployment(replicas: int, ready: int) -> dict[str, Any]:
    spec, status = {"replicas": replicas}, {"readyReplicas": ready}
    return thing("apps/v1", "Deployment", spec=spec, status=status)


def hpa(average: str, replicas: int) -> dict[str, Any]:
    current = {"type": "External", "external": {"current": {"averageValue": average}}}
    status = {"currentReplicas": replicas, "currentMetrics": [current]}
    found = thing("autoscaling/v2", "HorizontalPodAutoscaler", "keda-hpa-matmul-gpu", status=status)
    found["metadata"]["ownerReferences"] = [{"controller": True}]
    return found


def event(name: str, about: str, reason: str, when: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name},
        "involvedObject": {"name": about},
        "reason": reason,
        "message": f"{reason} happened",
        "lastTimestamp": when,
    }


def pod(name: str, *conditions: dict[str, Any]) -> dict[str, Any]:
    return thing("v1", "Pod", name, status={"conditions": list(conditions)})


READY = {"type": "Ready", "status": "True"}
UNPLACED = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/3 nodes have nvidia.com/gpu",
}


def read(cluster: Cluster) -> Standing:
    (found,) = Standings(cluster).read()
    return found


@pytest.fixture
def resting(api: ApiServer) -> ApiServer:
    """A function at rest."""
    api.add(scaled(Ready="True", Active="False"))
    api.add(deployment(0, 0))
    return api


def test_a_function_at_rest(cluster: Cluster, resting: ApiServer) -> None:
    assert read(cluster) == Standing(
        function="matmul",
        device="gpu",
        name="matmul-gpu",
        kind="ScaledObject",
        backlog=None,
        desired=0,
        ready=0,
        at_most=4,
        conditions={"Ready": "True", "Active": "False"},
    )


def test_the_backlog_is_keda_s_reading_of_just_now(cluster: Cluster, resting: ApiServer) -> None:
    resting.extra[METRICS] = {"items": [{"metricName": METRIC, "value": "7"}]}
    resting.add(hpa("2", 9))
    assert read(cluster).backlog == 7
    query = next(query for _, path, query in resting.requests if path == METRICS)
    assert query == {"labelSelector": "scaledobject.keda.sh/name=matmul-gpu"}


def test_without_keda_s_metrics_it_is_what_the_hpa_saw(
    cluster: Cluster, resting: ApiServer
) -> None:
    resting.add(hpa("2500m", 2))
    assert read(cluster).backlog == 5


def test_metrics_that_are_refused_are_asked_for_once(cluster: Cluster, resting: ApiServer) -> None:
    other = scaled()
    other["metadata"] = {"name": "other", "labels": LABELS}
    resting.add(other)
    assert len(Standings(cluster).read()) == 2
    asked = [path for _, path, _ in resting.requests if "external.metrics" in path]
    assert len(asked) == 1


def test_the_last_decision_is_the_latest_of_keda_and_hpa(
    cluster: Cluster, resting: ApiServer
) -> None:
    rescaled = event("b", "keda-hpa-matmul-gpu", "SuccessfulRescale", "2026-01-01T00:00:03Z")
    for each in (
        event("a", "matmul-gpu", "KEDAScaleTargetActivated", "2026-01-01T00:00:01Z"),
        rescaled,
        event("c", "matmul-gpu", "KEDAScalersStarted", "2026-01-01T00:00:05Z"),
        event("d", "other-gpu", "KEDAScaleTargetDeactivated", "2026-01-01T00:00:09Z"),
    ):
        resting.add(each)
    expected = Decision("2026-01-01T00:00:03Z", "SuccessfulRescale", "SuccessfulRescale happened")
    assert read(cluster).last_decision == expected
    resting.denied.add(("list", "events"))
    assert read(cluster).last_decision is None


# ── why anything waits ────────────────────────────────────────────────────────────────────────


def test_pods_that_no_node_has_room_for_are_why_it_waits(cluster: Cluster, api: ApiServer) -> None:
    for each in (scaled(Ready="True"), deployment(2, 1), pod("a", READY), pod("b", UNPLACED)):
        api.add(each)
    assert read(cluster).waiting == (
        "1 of 2 replicas are not ready: pod b is Unschedulable: 0/3 nodes have nvidia.com/gpu"
    )


def test_pods_of_another_function_are_not_its_reason(cluster: Cluster, api: ApiServer) -> None:
    api.add(scaled(Ready="True"))
    api.add(deployment(1, 0))
    theirs = pod("x", UNPLACED)
    theirs["metadata"]["labels"] = LABELS | {"lumbre.dev/device": "cpu"}
    api.add(theirs)
    assert read(cluster).waiting == "1 of 1 replicas are not ready: pods are about to start"


@pytest.mark.parametrize(
    ("conditions", "why"),
    [
        ({"Ready": "True", "Paused": "True"}, "paused: Paused it is"),
        ({"Ready": "False"}, "KEDA cannot scale it: ReadyReason: Ready it is"),
        ({"Ready": "Unknown"}, "KEDA cannot scale it: ReadyReason: Ready it is"),
        ({"Ready": "True", "Fallback": "True"}, "the backlog cannot be read, and the fallback"),
        ({"Ready": "True", "Fallback": "False", "Paused": "False"}, None),
    ],
)
def test_what_keda_says_is_why_it_waits(
    conditions: dict[str, str], why: str | None, cluster: Cluster, api: ApiServer
) -> None:
    api.add(scaled(**conditions))
    api.add(deployment(0, 0))
    waiting = read(cluster).waiting
    assert waiting is None if why is None else (waiting or "").startswith(why)


@pytest.mark.parametrize(
    ("backlog", "replicas", "why"),
    [
        ("0", 0, None),
        ("3", 0, "a first replica is about to start"),
        ("3", 1, None),
        ("40", 4, "all 4 replicas that may run are there"),
        ("4", 4, None),
    ],
)
def test_a_backlog_says_why_it_waits(
    backlog: str, replicas: int, why: str | None, cluster: Cluster, api: ApiServer
) -> None:
    api.extra[METRICS] = {"items": [{"value": backlog}]}
    api.add(scaled(Ready="True"))
    api.add(deployment(replicas, replicas))
    waiting = read(cluster).waiting
    assert waiting is None if why is None else (waiting or "").startswith(why)


def test_a_backlog_that_cannot_be_read_is_told_with_keda_s_own_words(
    cluster: Cluster, api: ApiServer
) -> None:
    failing = scaled(Ready="True", Active="True", Fallback="True")
    failing["status"]["health"] = {METRIC: {"numberOfFailures": 22, "status": "Failing"}}
    api.add(failing)
    api.add(deployment(1, 1))
    api.add(hpa("4", 1))  # which is the fallback's
    api.add(event("a", "matmul-gpu", "KEDAScalerFailed", "2026-01-01T00:00:01Z"))
    found = read(cluster)
    assert found.backlog is None
    assert found.waiting == (
        "the backlog cannot be read, and the fallback counts: KEDAScalerFailed happened"
    )
    del failing["status"]["conditions"][2]
    api.add(failing)
    assert (read(cluster).waiting or "").startswith(
        "the backlog cannot be read, and replicas stay as they are: KEDAScalerFailed"
    )


def test_a_deployment_that_somebody_deleted_is_told(cluster: Cluster, api: ApiServer) -> None:
    api.add(scaled(Ready="True"))
    assert read(cluster).waiting == "its Deployment matmul-gpu is not there: apply it again"


# ── jobs ──────────────────────────────────────────────────────────────────────────────────────


def test_a_scaled_job_has_as_many_replicas_as_pods_that_are_not_over(
    cluster: Cluster, api: ApiServer
) -> None:
    api.add(scaled("ScaledJob", Ready="True"))
    over = pod("c")
    over["status"]["phase"] = "Succeeded"
    for each in (pod("a", READY), pod("b", UNPLACED), over):
        api.add(each)
    found = read(cluster)
    assert (found.kind, found.desired, found.ready) == ("ScaledJob", 2, 1)
    assert found.waiting == (
        "1 of 2 replicas are not ready: pod b is Unschedulable: 0/3 nodes have nvidia.com/gpu"
    )


def test_functions_come_in_order(cluster: Cluster, api: ApiServer) -> None:
    for name, function, device in (("b-gpu", "b", "gpu"), ("b-cpu", "b", "cpu"), ("a", "a", "gpu")):
        each = scaled(Ready="True")
        own = {"lumbre.dev/function": function, "lumbre.dev/device": device}
        each["metadata"] = {"name": name, "labels": LABELS | own}
        api.add(each)
    found = [(each.function, each.device) for each in Standings(cluster).read()]
    assert found == [("a", "gpu"), ("b", "cpu"), ("b", "gpu")]


def test_without_keda_it_is_said(cluster: Cluster, api: ApiServer) -> None:
    del api.kinds["keda.sh/v1alpha1"]
    with pytest.raises(ClusterError, match="KEDA is not installed"):
        Standings(cluster).read()
