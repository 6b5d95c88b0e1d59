"""When an object counts as ready, and what is said of one that is not."""

from typing import Any

import pytest

from autoscaler.readiness import (
    first,
    is_waited_for,
    readiness,
    selector_of,
    trouble,
    troubles,
)


def thing(kind: str, status: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "metadata": {"name": "x", "generation": 2},
        "spec": spec,
        "status": {"observedGeneration": 2} | status,
    }


def said(name: str, status: str = "True", **more: str) -> dict[str, Any]:
    return {"conditions": [{"type": name, "status": status} | more]}


def pod(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "status": status}


ROLLED = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
STUCK = said("Progressing", "False", reason="ProgressDeadlineExceeded", message="timed out")


@pytest.mark.parametrize(
    ("found", "done", "failed", "why"),
    [
        (thing("ConfigMap", {}), True, False, ""),
        (thing("Deployment", ROLLED, replicas=2), True, False, ""),
        (thing("Deployment", {}, replicas=0), True, False, ""),
        (thing("Deployment", ROLLED | {"replicas": 3}, replicas=2), False, False, "2 of 2"),
        (thing("Deployment", ROLLED | {"updatedReplicas": 1}, replicas=2), False, False, "1 of"),
        (
            thing("Deployment", ROLLED | {"availableReplicas": 1}, replicas=2),
            False,
            False,
            "1 of 2",
        ),
        (thing("Deployment", ROLLED | {"observedGeneration": 1}), False, False, "not seen it"),
        (thing("Deployment", STUCK, replicas=2), False, True, "timed out"),
        (thing("Deployment", ROLLED | STUCK, replicas=2), True, False, ""),  # it came after all
        (
            thing("Deployment", said("ReplicaFailure", message="violates PodSecurity")),
            False,
            False,
            "violates PodSecurity",
        ),
        (thing("StatefulSet", {"readyReplicas": 3}, replicas=3), True, False, ""),
        (thing("StatefulSet", {"readyReplicas": 2}, replicas=3), False, False, "2 of 3"),
        (
            thing(
                "StatefulSet",
                {"readyReplicas": 3, "updatedReplicas": 1, "updateRevision": "b"},
                replicas=3,
            ),
            False,
            False,
            "1 of this version",
        ),
        (thing("Job", said("Complete")), True, False, ""),
        (thing("Job", {"failed": 2}), False, False, "2 attempts failed"),
        (
            thing("Job", said("Failed", reason="BackoffLimitExceeded", message="often")),
            False,
            True,
            "BackoffLimitExceeded: often",
        ),
        (thing("ScaledObject", said("Ready")), True, False, ""),
        (
            thing("ScaledObject", said("Ready", "False", reason="E", message="no queue")),
            False,
            False,
            "E: no queue",
        ),
        (thing("ScaledJob", {}), False, False, "has not said Ready yet"),
        (thing("RabbitmqCluster", said("AllReplicasReady")), True, False, ""),
        (
            thing("RabbitmqCluster", said("ReconcileSuccess", "False", reason="E", message="m")),
            False,
            False,
            "E: m",
        ),
        (thing("Namespace", {"phase": "Active"}), True, False, ""),
        (thing("Namespace", {"phase": "Terminating"}), False, True, "being deleted"),
    ],
)
def test_readiness_is_what_the_controller_says(
    found: dict[str, Any], done: bool, failed: bool, why: str
) -> None:
    now = readiness(found)
    assert (now.done, now.failed) == (done, failed)
    assert why in now.why


def test_the_count_of_workers_is_not_waited_for() -> None:
    labels = {"app.kubernetes.io/component": "worker"}
    worker = {"kind": "Deployment", "metadata": {"name": "x", "labels": labels}}
    assert not is_waited_for(worker)
    assert is_waited_for({"kind": "Deployment", "metadata": {"name": "x"}})
    assert not is_waited_for({"kind": "Service", "metadata": {"name": "x"}})


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (pod(**said("Ready")), None),
        (pod(phase="Succeeded"), None),
        (
            pod(**said("PodScheduled", "False", reason="Unschedulable", message="0/3 nodes")),
            "pod p is Unschedulable: 0/3 nodes",
        ),
        (
            pod(
                containerStatuses=[
                    {
                        "name": "worker",
                        "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such"}},
                    }
                ]
            ),
            "pod p: container worker is in ImagePullBackOff: no such",
        ),
        (
            pod(
                containerStatuses=[
                    {
                        "name": "worker",
                        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
                    }
                ]
            ),
            "pod p: container worker is in CrashLoopBackOff: ended with exit code 137 (OOMKilled)",
        ),
        (
            pod(
                initContainerStatuses=[
                    {"name": "wait", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}
                ]
            ),
            "pod p: container wait ended with exit code 1",
        ),
        (
            pod(containerStatuses=[{"name": "a", "ready": False, "state": {"running": {}}}]),
            "pod p runs and is not ready yet",
        ),
        (
            pod(
                containerStatuses=[
                    {"name": "a", "state": {"waiting": {"reason": "ContainerCreating"}}}
                ]
            ),
            "pod p is starting",
        ),
        (pod(phase="Failed", reason="Evicted", message="disk"), "pod p failed: Evicted disk"),
        (pod(), "pod p is starting"),
    ],
)
def test_a_pod_that_is_not_ready_says_why(found: dict[str, Any], why: str | None) -> None:
    assert trouble(found) == why


def test_a_pod_that_drains_says_so() -> None:
    draining = {"metadata": {"name": "p", "deletionTimestamp": "2026"}, "status": said("Ready")}
    assert trouble(draining) == "pod p is finishing what it runs"


def test_a_real_reason_is_told_before_those_that_pass() -> None:
    placed = said("PodScheduled", "False", reason="Unschedulable", message="0/3 nodes")
    found = troubles([pod(), pod(**placed), pod()])
    assert found == ["pod p is Unschedulable: 0/3 nodes", "pod p is starting"]


def test_pods_are_found_by_the_labels_of_their_workload() -> None:
    labels = {"b": "2", "a": "1"}
    found = {"kind": "Deployment", "spec": {"selector": {"matchLabels": labels}}}
    assert selector_of(found) == "a=1,b=2"
    assert selector_of({"kind": "RabbitmqCluster", "metadata": {"name": "r"}}).endswith("name=r")
    assert selector_of({"kind": "ScaledObject", "spec": {}}) == ""


def test_of_many_reasons_the_first_are_told() -> None:
    assert first(["a", "b"]) == "a; b"
    assert first(list("abcde")) == "a; b; c; and 2 more"
