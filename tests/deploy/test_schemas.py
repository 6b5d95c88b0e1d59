"""The validators find what Kubernetes, KEDA and the operators would refuse, or drop."""

import copy
from typing import Any

import pytest

from tests.deploy.schemas import faults
from tests.deploy.variants import objects


def found(kind: str, variant: str = "production") -> dict[str, Any]:
    """An object of a bundle, to be changed."""
    return copy.deepcopy(next(each for each in objects(variant) if each["kind"] == kind))


@pytest.mark.parametrize(
    ("kind", "path", "value", "part"),
    [
        ("Deployment", "spec.template.spec.containers.0.image", 5, "5 is not of type"),
        ("Deployment", "spec.replica", 3, "'replica' was unexpected"),
        ("Deployment", "apiVersion", "apps/v9", "has no apps/v9 Deployment"),
        ("NetworkPolicy", "spec.podSelector", [], "is not of type 'object'"),
        ("ScaledObject", "spec.maxReplicas", 3, ".spec.maxReplicas"),
        ("ScaledObject", "spec.minReplicaCount", "many", "minReplicaCount"),
        ("ScaledObject", "spec.fallback.replica", 1, "replica"),
        ("RabbitmqCluster", "spec.replica", 3, "'replica' was unexpected"),
        ("RabbitmqCluster", "apiVersion", "rabbitmq.com/v1", "is not its version"),
        ("ServiceMonitor", "spec.endpoints.0.interval", "often", "often"),
        ("PodMonitor", "spec.endpoints", [], "'endpoints' was unexpected"),
        ("PrometheusRule", "spec.groups.0.rules.0.for", 60, "60 is not of type"),
    ],
)
def test_what_is_wrong_is_found(kind: str, path: str, value: Any, part: str) -> None:
    wrong = found(kind)
    assert faults([wrong]) == []
    *way, last = path.split(".")
    inner: Any = wrong
    for step in way:
        inner = inner[int(step)] if step.isdigit() else inner[step]
    inner[last] = value
    assert part in "".join(faults([wrong]))


def test_what_is_wrong_in_the_job_of_a_scaled_job_is_found() -> None:
    wrong = found("ScaledJob")
    assert faults([wrong]) == []
    wrong["spec"]["jobTargetRef"]["template"]["spec"]["container"] = []
    assert "'container' was unexpected" in "".join(faults([wrong]))


def test_a_route_with_a_wrong_timeout_is_found() -> None:
    wrong = found("HTTPRoute", "production-httproute")
    wrong["spec"]["rules"][0]["timeouts"]["request"] = 310
    assert "310 is not of type 'string'" in "".join(faults([wrong]))
