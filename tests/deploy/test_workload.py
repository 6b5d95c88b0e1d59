"""What is rendered per function and device is valid, and keeps what runs from being ended."""

import math
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from hypothesis import given, settings

from autoscaler.rendered import policy_of
from autoscaler.trigger import MESSAGE_RATE, check_trigger
from deploy.pod import Object
from deploy.values import Values, read_values
from deploy.worker_pod import BESIDE, start_seconds
from deploy.workload import check, notes, workload
from runtime.errors import ConfigurationError
from runtime.function import FunctionSpec, Resources, Scaling
from tests.specs import functions, made_up, shipped

KUBERNETES = "1.37"  # the newest whose schemas are there; DRA's v1 needs 1.34
LONG = made_up("train", devices=("gpu",), timeout=3600)
PATIENT: dict[str, Any] = {"broker": {"consumer_timeout": 36_000}}
DRA: dict[str, Any] = {"gpus": {"device_class": "gpu.nvidia.com", "runtime_class": "nvidia"}}


def values(overlay: str = "dev", **more: Any) -> Values:
    return read_values(overlay, (), more)


def of_kind(found: list[Object], kind: str) -> Object:
    (one,) = (each for each in found if each["kind"] == kind)
    return one


def pod_of(found: Object) -> Object:
    """The pod template of a Deployment or a ScaledJob."""
    spec = found["spec"]
    template: Object = spec["template"] if "template" in spec else spec["jobTargetRef"]["template"]
    return template


def container(found: Object) -> Object:
    (one,) = pod_of(found)["spec"]["containers"]
    assert isinstance(one, dict)
    return one


def environment(found: Object) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in container(found)["env"]}


def deployment(spec: FunctionSpec | None = None, **more: Any) -> Object:
    return of_kind(workload(spec or made_up(), values(**more)), "Deployment")


def as_kubernetes_sees(found: Object) -> list[Object]:
    """What the API server validates of it: a ScaledJob's Jobs stand for themselves."""
    if found["kind"] == "ScaledObject":
        return []
    if found["kind"] != "ScaledJob":
        return [found]
    name = found["metadata"]["name"]
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}}
    return [job | {"spec": found["spec"]["jobTargetRef"]}]


@pytest.mark.parametrize("overlay", ["dev", "production"])
@pytest.mark.parametrize("more", [{}, {"trigger": "push"}, DRA], ids=["rabbitmq", "push", "dra"])
def test_the_shipped_functions_are_valid_in_every_overlay(
    overlay: str, more: dict[str, Any]
) -> None:
    chosen = values(overlay, **more)
    check(shipped(), chosen)
    for spec in (*shipped(), LONG):
        for found in workload(spec, chosen if spec is not LONG else values(overlay, **PATIENT)):
            text = yaml.safe_dump(found)
            assert yaml.safe_load(text) == found
            for seen in as_kubernetes_sees(found):
                kubernetes_validate.validate(seen, KUBERNETES, strict=True)


@settings(deadline=None, max_examples=40)
@given(functions())
def test_a_function_is_refused_in_words_or_rendered_valid(spec: FunctionSpec) -> None:
    chosen = values(gpus={"count": 8}, **PATIENT)
    try:
        made = workload(spec, chosen)
    except ConfigurationError as error:
        assert all(line.startswith("function ") for line in str(error).splitlines())
        return
    for found in made:
        for seen in as_kubernetes_sees(found):
            kubernetes_validate.validate(seen, KUBERNETES, strict=True)
        if found["kind"] in ("Deployment", "ScaledJob"):
            grace = pod_of(found)["spec"]["terminationGracePeriodSeconds"]
            assert spec.timeout < int(environment(found)["LUMBRE_GRACE"]) < grace
        else:
            policy = policy_of(found)
            assert policy.fallback
            assert policy.max_replicas <= 100
        backlog, *beside = found["spec"].get("triggers", (None,))
        if backlog:
            check_trigger(backlog)
            assert len(beside) == (found["kind"] == "ScaledObject")
        for trigger in beside:
            check_trigger(trigger, MESSAGE_RATE)


def test_a_deployment_has_no_replicas_and_a_selector_that_stays() -> None:
    made = deployment(made_up("image_filter"))
    assert "replicas" not in made["spec"]  # KEDA's and the HPA's
    assert made["metadata"]["name"] == "image-filter-cpu"
    selecting = made["spec"]["selector"]["matchLabels"]
    assert selecting == {
        "app.kubernetes.io/name": "lumbre",
        "app.kubernetes.io/component": "worker",
        "lumbre.dev/function": "image_filter",
        "lumbre.dev/device": "cpu",
    }
    assert selecting.items() <= pod_of(made)["metadata"]["labels"].items()


def test_a_worker_pod_runs_one_replica_of_one_function() -> None:
    made = deployment(made_up("matmul", timeout=60))
    assert container(made)["args"] == ["worker", "matmul", "--device", "cpu", "--replicas", "1"]
    assert "command" not in container(made)
    there = environment(made)
    assert there["LUMBRE_GRACE"] == "65"
    assert there["LUMBRE_HEALTH_PORT"] == "8081"
    assert "LUMBRE_LEDGER_URL" not in there  # workers have nothing to do with it
    assert len(there) == len(container(made)["env"])  # none is said twice


def test_a_command_of_ones_own_is_followed_by_the_same_arguments() -> None:
    made = deployment(workers={"command": ["python", "-m", "runtime"], "env": {"A": "b"}})
    assert container(made)["command"] == ["python", "-m", "runtime"]
    assert container(made)["args"][0] == "worker"
    assert environment(made)["A"] == "b"


def test_only_pods_that_tell_their_cost_have_a_token() -> None:
    made = deployment()
    assert pod_of(made)["spec"]["automountServiceAccountToken"] is True
    assert environment(made)["LUMBRE_POD_DELETION_COST"] == "1"
    silent = deployment(workers={"deletion_cost": False})
    assert pod_of(silent)["spec"]["automountServiceAccountToken"] is False
    assert "LUMBRE_POD_DELETION_COST" not in environment(silent)


def test_pods_keep_to_pod_securitys_restricted() -> None:
    for found in workload(made_up(devices=("cpu", "gpu")), values()):
        if found["kind"] != "Deployment":
            continue
        pod, inner = pod_of(found)["spec"], container(found)["securityContext"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert inner["allowPrivilegeEscalation"] is False
        assert inner["capabilities"] == {"drop": ["ALL"]}
        assert inner["readOnlyRootFilesystem"] is True
        kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
        assert kinds <= {"emptyDir", "persistentVolumeClaim"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()


def test_only_gpu_pods_tolerate_the_taint_and_ask_for_a_gpu() -> None:
    made = workload(made_up(devices=("cpu", "gpu")), values())
    cpu, gpu = (found for found in made if found["kind"] == "Deployment")
    assert "tolerations" not in pod_of(cpu)["spec"]
    assert "nvidia.com/gpu" not in str(container(cpu)["resources"])
    assert container(cpu)["image"] == "lumbre:cpu"
    assert pod_of(gpu)["spec"]["tolerations"]
    assert container(gpu)["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in container(gpu)["resources"]["requests"]
    assert container(gpu)["image"] == "lumbre:cuda"
    assert {"name": "shm", "mountPath": "/dev/shm"} in container(gpu)["volumeMounts"]
    assert pod_of(gpu)["spec"]["priorityClassName"] == "lumbre-gpu-worker"


def test_a_rollout_never_waits_for_a_gpu_that_the_old_pods_have() -> None:
    made = workload(made_up(devices=("cpu", "gpu")), values())
    cpu, gpu = (found["spec"] for found in made if found["kind"] == "Deployment")
    assert gpu["strategy"]["rollingUpdate"]["maxSurge"] == 0
    assert cpu["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    for spec in (cpu, gpu):
        assert spec["progressDeadlineSeconds"] > start_seconds() + 80  # its drain


def test_a_function_that_says_its_resources_gets_them() -> None:
    memory = 3 * 2**30
    both = made_up(devices=("cpu", "gpu"), resources=Resources(cpu=4, memory=memory))
    cpu, gpu = (
        container(found)["resources"]
        for found in workload(both, values())
        if found["kind"] == "Deployment"
    )
    # What runs beside the replica is added, and for a GPU what may lie in /dev/shm (1 GiB).
    assert cpu["limits"]["memory"] == f"{(memory + BESIDE['cpu']) // 2**20}Mi"
    assert gpu["limits"]["memory"] == f"{(memory + BESIDE['gpu'] + 2**30) // 2**20}Mi"
    assert cpu["requests"] == {"cpu": "4", "memory": cpu["limits"]["memory"]}
    assert cpu["limits"]["cpu"] == "5"  # the worker's own loop is not throttled with them
    whole = made_up(resources=Resources(memory=2**30 + 256 * 2**20))
    assert container(deployment(whole))["resources"]["limits"]["memory"] == "2Gi"
    plain = container(deployment(workers={"cpu": "500m", "memory": "3Gi"}))["resources"]
    assert plain == {"requests": {"cpu": "500m", "memory": "3Gi"}, "limits": {"memory": "3Gi"}}


def test_setup_has_all_the_time_that_a_worker_gives_it() -> None:
    probe = container(deployment())["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= start_seconds()
    alive = container(deployment(made_up(timeout=900)))["livenessProbe"]
    assert alive["terminationGracePeriodSeconds"] == 30  # one that hangs cannot drain for 920 s


def test_functions_of_a_namespace_do_not_share_pods_or_scalers() -> None:
    specs = [made_up(name, devices=("cpu", "gpu")) for name in ("a", "a_b", "b")]
    made = [found for spec in specs for found in workload(spec, values())]
    keys = [(found["kind"], found["metadata"]["name"]) for found in made]
    assert len(set(keys)) == len(keys) == 12
    targets = [f["spec"]["scaleTargetRef"]["name"] for f in made if f["kind"] == "ScaledObject"]
    deployments = [f["metadata"]["name"] for f in made if f["kind"] == "Deployment"]
    assert targets == deployments


def test_what_keda_makes_keeps_kedas_labels() -> None:
    """Else its HPAs and Jobs would look like ours, and be deleted as what is rendered no more."""
    made = of_kind(workload(made_up(), values()), "ScaledObject")["metadata"]["annotations"]
    assert "managed-by" in made["scaledobject.keda.sh/hpa-excluded-labels"]
    job = of_kind(workload(LONG, values(**PATIENT)), "ScaledJob")["metadata"]["annotations"]
    assert "managed-by" in job["scaledjob.keda.sh/job-excluded-labels"]


def test_a_long_function_has_a_pod_per_message_that_nobody_ends() -> None:
    chosen = values(trigger="push", gpus={"count": 4}, **PATIENT)
    (made,) = workload(LONG, chosen)
    assert (made["kind"], made["metadata"]["name"]) == ("ScaledJob", "train-gpu")
    pod, job = pod_of(made), made["spec"]["jobTargetRef"]
    assert container(made)["args"][-1] == "--once"
    assert pod["spec"]["restartPolicy"] == "Never"
    assert pod["spec"]["automountServiceAccountToken"] is False  # a Job is not scaled in
    assert pod["spec"]["terminationGracePeriodSeconds"] == 3620
    annotations = pod["metadata"]["annotations"]
    assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    assert annotations["karpenter.sh/do-not-disrupt"] == "true"
    assert job["podFailurePolicy"]["rules"][0]["action"] == "Ignore"
    assert "activeDeadlineSeconds" not in job  # it would count the wait for a GPU, too
    assert made["spec"]["maxReplicaCount"] == 4
    (trigger,) = made["spec"]["triggers"]
    assert trigger["type"] == "rabbitmq"  # KEDA's push wakes no ScaledJob


def test_a_drain_that_the_cluster_autoscaler_would_cut_short_is_not_begun() -> None:
    key = "cluster-autoscaler.kubernetes.io/safe-to-evict"
    assert key not in pod_of(deployment(made_up(timeout=580)))["metadata"]["annotations"]
    long = pod_of(deployment(made_up(timeout=581)))["metadata"]["annotations"]
    assert long[key] == "false"
    assert "karpenter.sh/do-not-disrupt" not in long  # it waits for as long as the pod asks for


def test_a_claim_has_another_name_where_it_asks_for_another_device() -> None:
    spec = made_up(devices=("gpu",))
    names = set()
    for device_class in ("gpu.nvidia.com", "mig.nvidia.com"):
        claim, made, _ = workload(spec, values(gpus={"device_class": device_class}))
        assert claim["kind"] == "ResourceClaimTemplate"
        (wanted,) = claim["spec"]["spec"]["devices"]["requests"]
        assert wanted["exactly"]["deviceClassName"] == device_class
        (asked,) = pod_of(made)["spec"]["resourceClaims"]
        assert asked["resourceClaimTemplateName"] == claim["metadata"]["name"]
        assert container(made)["resources"]["claims"] == [{"name": asked["name"]}]
        assert "nvidia.com/gpu" not in container(made)["resources"]["limits"]
        names.add(claim["metadata"]["name"])
    assert len(names) == 2


def test_the_trigger_asks_in_the_brokers_vhost_or_the_gateways() -> None:
    def trigger(**more: Any) -> Object:
        made = of_kind(workload(made_up(), values(**more)), "ScaledObject")
        one, beside = made["spec"]["triggers"]
        assert isinstance(one, dict)
        assert beside["metadata"]["vhostName"] == one["metadata"].get("vhostName", "/")
        return one

    assert trigger()["metadata"]["vhostName"] == "/"
    external = {"kind": "external", "url": "amqps://rabbit:5671/my%2Fjobs"}
    assert trigger(broker=external)["metadata"]["vhostName"] == "my/jobs"
    pushed = trigger(trigger="push", namespace="gpu-jobs")
    assert pushed["type"] == "external-push"
    assert pushed["metadata"]["scalerAddress"] == "lumbre-gateway.gpu-jobs.svc:6000"


def test_devices_that_a_cluster_lacks_are_not_rendered() -> None:
    made = workload(made_up(devices=("cpu", "gpu")), values(devices=["cpu"], gpus={"count": 0}))
    assert [found["metadata"]["name"] for found in made] == ["work-cpu", "work-cpu"]


def test_all_that_is_wrong_is_refused_at_once_a_line_each() -> None:
    specs = [
        made_up("a_"),
        made_up("b", timeout=5000),
        made_up("c", devices=("gpu",), scaling=Scaling(max_replicas=9)),
        made_up("d", scaling=Scaling(target=0.0001)),
        made_up("e", devices=("gpu",)),
    ]
    chosen = values(gpus={"count": 8}, workers={"env": {"LUMBRE_GRACE": "5"}})
    with pytest.raises(ConfigurationError) as caught:
        check(specs, chosen)
    lines = str(caught.value).splitlines()
    for begin in (
        "function a_: Kubernetes takes no such name",
        "function b: it may run for 5000 s",
        "function c: scaling['gpu'].max_replicas=9 is above gpus.count=8",
        "function d on cpu: rabbitmq trigger: metadata.value is '0.0001'",
        "workers.env.LUMBRE_GRACE: it follows from the function",
    ):
        assert sum(line.startswith(begin) for line in lines) == 1, begin
    assert len(lines) == 5
    with pytest.raises(ConfigurationError, match=r"=9 is above gpus\.count=8"):
        workload(specs[2], chosen)
    check([made_up()], chosen.model_copy(update={"workers": Values().workers}))


def test_what_may_surprise_is_noted() -> None:
    def noted(spec: FunctionSpec) -> str:
        return "\n".join(notes([spec], values()))

    assert noted(made_up()) == ""
    assert "up to 2 messages keep no replica" in noted(made_up(scaling=Scaling(activation=2.5)))
    assert "held to 3600 s" in noted(made_up(scaling=Scaling(stabilization_window=7200)))
    assert "HPAConfigurableTolerance" in noted(made_up(scaling=Scaling(tolerance=0.2)))
    assert "cooldown=5: after a restart" in noted(made_up(scaling=Scaling(cooldown=5)))
    assert noted(made_up(scaling=Scaling(cooldown=5, min_replicas=1))) == ""
    waiting = made_up(timeout=3600, scaling=Scaling(min_replicas=2, tolerance=0.2))
    assert "min_replicas=2 pods always wait" in noted(waiting)
    assert "tolerance" not in noted(waiting)  # a ScaledJob has none


def test_time_to_start_is_more_than_the_workers_own_limit() -> None:
    assert math.isfinite(start_seconds())
    assert start_seconds() > 600  # runtime.pool.START_TIMEOUT
