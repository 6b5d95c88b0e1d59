"""GPUs: no more replicas than there are, pods that ask for one, and others that keep away."""

from typing import Any

import pytest

from deploy.gpus import asked, gpu_faults, gpu_notes, most_replicas, placement
from deploy.values import Gpus, Values
from runtime.function import FunctionSpec, Scaling
from tests.specs import made_up


def values(**gpus: Any) -> Values:
    return Values.model_validate({"gpus": gpus})


def on_gpu(name: str = "work", **scaling: Any) -> FunctionSpec:
    return made_up(name, devices=("gpu",), scaling=Scaling(**scaling))


def test_more_replicas_than_gpus_are_refused() -> None:
    (fault,) = gpu_faults([on_gpu(max_replicas=9)], values(count=8))
    assert fault == (
        "function work: scaling['gpu'].max_replicas=9 is above gpus.count=8: pods without a GPU"
        " would wait for ever and count as replicas: lower it to 8, or set gpus.count where nodes"
        " have more"
    )
    assert not list(gpu_faults([on_gpu(max_replicas=8)], values(count=8)))
    (fault,) = gpu_faults([on_gpu(min_replicas=3)], values(count=2))
    assert "min_replicas=3 is above gpus.count=2: lower it to at most 2" in fault


def test_a_gpu_function_without_gpus_is_refused() -> None:
    (fault,) = gpu_faults([on_gpu()], values(count=0))
    assert "gpus.count is 0: set gpus.count" in fault
    assert "or devices to [cpu]" in fault
    assert not list(gpu_faults([made_up()], values(count=0)))


def test_replicas_that_are_always_kept_must_all_have_a_gpu() -> None:
    keepers = [on_gpu("a", min_replicas=2), on_gpu("b", min_replicas=1), on_gpu("c")]
    assert not list(gpu_faults(keepers, values(count=3)))
    (fault,) = gpu_faults(keepers, values(count=2))
    assert fault.startswith("gpu functions keep 3 replicas at all times (a 2, b 1)")


def test_functions_may_share_gpus_and_it_is_said() -> None:
    both = [on_gpu("a", max_replicas=4), on_gpu("b")]
    assert not list(gpu_faults(both, values(count=4)))
    (note,) = gpu_notes(both, values(count=4))
    assert note.startswith("gpu functions may have 8 replicas together, and gpus.count is 4")
    assert not list(gpu_notes(both[:1], values(count=4)))
    (unknown,) = gpu_notes(both, values())
    assert unknown.endswith("(b: at most 1 replica)")
    assert not list(gpu_notes([made_up()], values()))


@pytest.mark.parametrize(
    ("scaling", "count", "most"),
    [
        ({}, 8, 8),
        ({}, None, 1),
        ({"max_replicas": 3}, 8, 3),
        ({"max_replicas": 3}, None, 3),
        ({"min_replicas": 2}, None, 2),
    ],
)
def test_the_most_replicas_on_gpus(scaling: dict[str, Any], count: int | None, most: int) -> None:
    assert most_replicas(on_gpu(**scaling), "gpu", values(count=count)) == most


def test_cpu_pods_keep_away_from_gpu_nodes_and_never_tolerate_their_taint() -> None:
    found = placement("cpu", Gpus(), "")
    assert found.keys() == {"affinity"}
    (preferred,) = found["affinity"]["nodeAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ]
    assert preferred["preference"]["matchExpressions"] == [
        {"key": "nvidia.com/gpu.present", "operator": "NotIn", "values": ["true"]}
    ]
    assert placement("cpu", Gpus(nodes={"nvidia.com/gpu.present": ()}), "") == {}


def test_gpu_pods_go_where_gpus_are() -> None:
    gpus = Gpus(nodes={"nvidia.com/gpu.product": ("A100", "H100")}, runtime_class="nvidia")
    found = placement("gpu", gpus, "")
    assert found["runtimeClassName"] == "nvidia"
    assert found["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    ]
    required = found["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert required["nodeSelectorTerms"][0]["matchExpressions"][0]["values"] == ["A100", "H100"]
    assert "resourceClaims" not in found


def test_a_gpu_is_asked_for_by_resource_or_claimed() -> None:
    assert asked(Gpus()) == {"limits": {"nvidia.com/gpu": "1"}}
    mig = "nvidia.com/mig-1g.10gb"
    assert asked(Gpus(resource=mig)) == {"limits": {mig: "1"}}
    claimed = Gpus(device_class="gpu.nvidia.com")
    assert asked(claimed) == {"claims": [{"name": "gpu"}]}
    assert placement("gpu", claimed, "f-gpu")["resourceClaims"] == [
        {"name": "gpu", "resourceClaimTemplateName": "f-gpu"}
    ]
    assert asked(Gpus(resource="")) == {}  # simulated
