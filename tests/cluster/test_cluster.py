"""Lumbre on a Kubernetes cluster with KEDA: applied, scaled from zero and back, and disturbed.

Every test waits for what it wants to see, with limits that an autoscaler's own periods ask for:
KEDA looks once a second here, its numbers lag by some seconds, and the HPA looks every 15 s.
"""

import time
from typing import Any

import pytest

from loadtest.servers import RabbitServer
from tests.cluster.api import Object
from tests.cluster.deployed import Deployed
from tests.cluster.forward import is_ready
from tests.support import eventually

pytestmark = pytest.mark.timeout(600)

COST = "controller.kubernetes.io/pod-deletion-cost"
GPU = "nvidia.com/gpu"
WAKE = 60.0  # seconds from a publish to the first replica that runs: statistics, poll, start
SCALE = 90.0  # seconds until the HPA has followed a change, and pods with it


def conditions(found: Object) -> dict[str, str]:
    return {c["type"]: c["status"] for c in found["status"].get("conditions", [])}


def restarts(deployed: Deployed, component: str) -> dict[str, int]:
    """How often the containers of a component's pods were started again, by pod."""
    path = f"/api/v1/namespaces/{deployed.namespace}/pods"
    found = deployed.api.items(path, labelSelector=f"app.kubernetes.io/component={component}")
    return {
        pod["metadata"]["name"]: sum(
            status["restartCount"] for status in pod["status"].get("containerStatuses", [])
        )
        for pod in found
    }


def first_attempts(results: list[dict[str, Any]]) -> bool:
    """Whether no delivery was ever given back: each ran once, at its first attempt."""
    return {result["attempt"] for result in results} == {1}


def generations(deployed: Deployed) -> dict[str, int]:
    found: dict[str, int] = {}
    for group, resource in (
        ("apis/apps/v1", "deployments"),
        ("apis/keda.sh/v1alpha1", "scaledobjects"),
        ("apis/keda.sh/v1alpha1", "scaledjobs"),
        ("apis/networking.k8s.io/v1", "networkpolicies"),
    ):
        for item in deployed.get(resource, group=group)["items"]:
            found[f"{resource}/{item['metadata']['name']}"] = item["metadata"]["generation"]
    return found


def test_what_apply_waited_for_is_there(deployed: Deployed) -> None:
    for name in ("lumbre-gateway", "lumbre-recorder"):
        assert deployed.ready(name) >= 1
    for name in ("nap-cpu", "gpu-nap-gpu"):
        scaled = deployed.get("scaledobjects", name, "apis/keda.sh/v1alpha1")
        assert conditions(scaled)["Ready"] == "True"
        assert deployed.get("horizontalpodautoscalers", f"keda-hpa-{name}", "apis/autoscaling/v2")
    job = deployed.get("scaledjobs", "haul-cpu", "apis/keda.sh/v1alpha1")
    assert conditions(job)["Ready"] == "True"
    assert not deployed.pods("nap"), "a pod was started for nothing"


def test_applying_again_changes_nothing(deployed: Deployed) -> None:
    before = generations(deployed)
    deployed.apply()
    assert generations(deployed) == before


def test_zero_to_many_to_zero_with_every_invocation_run_once(deployed: Deployed) -> None:
    deployed.rest("nap-cpu")
    ids = [deployed.submit("nap", 10) for _ in range(16)]
    eventually(lambda: deployed.ready("nap-cpu") >= 3, SCALE, 0.5)
    results = deployed.outcomes(ids, 200)
    assert first_attempts(results)
    assert len({result["pod"] for result in results}) >= 3
    deployed.rest("nap-cpu")


def test_what_runs_survives_scale_in_and_holds_its_pod(deployed: Deployed) -> None:
    """Two of four busy pods become idle: the HPA takes two away, and these are the idle ones."""
    deployed.rest("nap-cpu")
    long = [deployed.submit("nap", 120) for _ in range(2)]
    short = [deployed.submit("nap", 40) for _ in range(2)]
    eventually(lambda: len(deployed.running([*long, *short])) == 4, SCALE, 0.5)
    eventually(lambda: deployed.replicas("nap-cpu") == 2, 2 * SCALE, 0.5)
    assert len(deployed.running(long)) == 2, "all was done before scale-in, which shows nothing"
    eventually(lambda: len(deployed.staying("nap")) == 2, 10, 0.2)
    left = {pod["metadata"]["name"] for pod in deployed.staying("nap")}
    results = deployed.outcomes([*long, *short], 150)
    assert first_attempts(results)
    assert {result["pod"] for result in results[: len(long)]} == left
    deployed.rest("nap-cpu")


def test_a_last_long_run_keeps_its_pod_until_it_ends(deployed: Deployed) -> None:
    """No message is ready and the cooldown is over three times: the running one still counts."""
    deployed.rest("nap-cpu")
    id = deployed.submit("nap", 45)
    eventually(lambda: deployed.running([id]), WAKE, 0.5)
    seen = set()
    while deployed.running([id]):
        seen.add(deployed.replicas("nap-cpu"))
        time.sleep(1)
    assert seen == {1}
    assert first_attempts(deployed.outcomes([id], 30))


def test_calls_that_are_over_at_once_keep_their_replica_while_they_come(
    deployed: Deployed,
) -> None:
    """The queue is empty nearly whenever it is looked at, for four times the cooldown."""
    deployed.rest("nap-cpu")
    first = deployed.submit("nap", 0)
    deployed.outcomes([first], WAKE)
    ids, seen = [], set()
    end = time.monotonic() + 45
    while time.monotonic() < end:
        ids.append(deployed.submit("nap", 0))
        time.sleep(0.3)
        seen.add(deployed.replicas("nap-cpu"))
    assert 0 not in seen
    assert first_attempts(deployed.outcomes(ids, 30))
    deployed.rest("nap-cpu")


def test_a_busy_pod_costs_more_to_delete(deployed: Deployed) -> None:
    deployed.rest("nap-cpu")
    id = deployed.submit("nap", 20)
    eventually(lambda: deployed.running([id]), WAKE, 0.5)

    def cost() -> int:
        (pod,) = deployed.staying("nap")
        return int(pod["metadata"].get("annotations", {}).get(COST, "0"))

    eventually(lambda: cost() > 0, 15, 0.2)
    deployed.outcomes([id], 60)


def test_a_rollout_lets_what_runs_end(deployed: Deployed) -> None:
    deployed.rest("nap-cpu")
    ids = [deployed.submit("nap", 30) for _ in range(2)]
    eventually(lambda: len(deployed.running(ids)) == 2, SCALE, 0.5)
    old = {pod["metadata"]["name"] for pod in deployed.pods("nap")}
    stamp = {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": f"{time.time()}"}}}
    path = f"/apis/apps/v1/namespaces/{deployed.namespace}/deployments/nap-cpu"
    deployed.api.patch(path, {"spec": {"template": stamp}})
    eventually(
        lambda: {pod["metadata"]["name"] for pod in deployed.pods("nap") if is_ready(pod)} - old,
        SCALE,
        0.5,
    )
    later = [deployed.submit("nap", 1) for _ in range(4)]
    assert first_attempts(deployed.outcomes([*ids, *later], 120))
    eventually(lambda: not old & {p["metadata"]["name"] for p in deployed.pods("nap")}, 60, 0.5)


def test_a_broker_that_restarts_loses_nothing(
    deployed: Deployed, broker: RabbitServer | None
) -> None:
    deployed.rest("nap-cpu")
    before = restarts(deployed, "gateway") | restarts(deployed, "recorder")
    ids = [deployed.submit("nap", 8) for _ in range(8)]
    eventually(lambda: deployed.running(ids), WAKE, 0.5)
    if broker is not None:
        broker.restart()
    else:
        _restart_broker(deployed)
    results = deployed.outcomes(ids, 240)
    assert len(results) == len(ids)
    assert restarts(deployed, "gateway") | restarts(deployed, "recorder") == before
    audit = deployed.client.get("/audit").raise_for_status().json()
    assert audit["holds"], audit
    deployed.rest("nap-cpu")


def _restart_broker(deployed: Deployed) -> None:
    """Delete the dev overlay's broker pod, which its StatefulSet makes again."""
    path = f"/api/v1/namespaces/{deployed.namespace}/pods"
    found = deployed.api.items(path, labelSelector="app.kubernetes.io/component=broker")
    if not found:
        pytest.skip("the broker is outside of the cluster: nothing here may restart it")
    for pod in found:
        deployed.api.delete(f"{path}/{pod['metadata']['name']}")


def test_a_function_that_may_take_long_runs_as_a_job(deployed: Deployed) -> None:
    ids = [deployed.submit("haul", 5) for _ in range(2)]
    results = deployed.outcomes(ids, 150)
    assert first_attempts(results)
    selector = {"labelSelector": "lumbre.dev/function=haul"}
    path = f"/apis/batch/v1/namespaces/{deployed.namespace}/jobs"

    def succeeded() -> int:
        jobs = deployed.api.items(path, **selector)
        return sum(job["status"].get("succeeded", 0) for job in jobs)

    eventually(lambda: succeeded() >= 1, 60, 0.5)
    jobs = deployed.api.items(path, **selector)
    assert not any(job["status"].get("failed") for job in jobs)


def test_a_gpu_function_runs_on_a_gpu_node_and_no_other_does(deployed: Deployed) -> None:
    id = deployed.submit("gpu_nap", 3)
    eventually(lambda: deployed.running([id]), SCALE, 0.5)
    (pod,) = deployed.staying("gpu_nap")
    limits = pod["spec"]["containers"][0]["resources"]["limits"]
    assert limits[GPU] == "1"
    node = deployed.api.get(f"/api/v1/nodes/{pod['spec']['nodeName']}")
    assert node is not None
    assert GPU in node["status"]["allocatable"]
    taints = {taint["key"] for taint in node["spec"].get("taints", [])}
    path = f"/api/v1/namespaces/{deployed.namespace}/pods"
    for other in deployed.api.items(path):
        tolerated = {entry.get("key") for entry in other["spec"].get("tolerations", [])}
        if GPU in taints and "gpu_nap" not in other["metadata"]["labels"].values():
            assert other["spec"].get("nodeName") != node["metadata"]["name"]
            assert GPU not in tolerated
    deployed.outcomes([id], 60)


def test_status_tells_every_function(deployed: Deployed) -> None:
    said = deployed.run("status").stdout
    for function in ("nap", "gpu_nap", "haul"):
        assert function in said


def test_delete_leaves_volumes_and_secrets_only(deployed: Deployed) -> None:
    deployed.run("delete", "--yes")
    left = [f"{kind}/{item['metadata']['name']}" for kind, item in deployed.objects()]
    assert not left
    assert deployed.get("persistentvolumeclaims", "lumbre-blobs")
