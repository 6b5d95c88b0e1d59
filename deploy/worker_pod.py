"""The pod of a worker: one function on one device, in one replica.

It takes from its queue for as long as it is there, or (a Job's) until one message is settled.
SIGTERM has it finish what runs, for which `deploy.ladder` leaves the time.
"""

import math
from typing import Any

from autoscaler.keda import resource_name
from deploy import pod
from deploy.gpus import asked, claim_spec, placement
from deploy.ladder import Ladder, ladder
from deploy.pod import HEALTH, HEALTH_PORT, Object
from deploy.quantity import number
from deploy.values import Values
from runtime.function import FunctionSpec
from runtime.model import Device
from runtime.pool import START_TIMEOUT

CONTAINER = "worker"
ACCOUNT = "lumbre-worker"
ZONE = "topology.kubernetes.io/zone"
# Bytes beside what a replica may hold.  Measured on the CPU: 93 MiB the worker, 226 the fork
# server with torch, 48 each function's; and inputs and results (64 MiB) on their way.  CUDA's torch
# has more to load (estimated).
BESIDE: dict[Device, int] = {"cpu": 768 * 2**20, "gpu": 1536 * 2**20}
START_PERIOD = 5  # seconds between two looks whether setup is done
START_MARGIN = 120.0  # seconds to import, and to find the broker, before setup
HUNG = 30  # seconds from SIGTERM to SIGKILL for a worker whose own loop stands still
DERIVED = (  # variables that follow from the function and the device: nobody else may say them
    "LUMBRE_CORES",
    "LUMBRE_GRACE",
    "LUMBRE_HEALTH_PORT",
    "LUMBRE_POD_NAME",
    "LUMBRE_POD_NAMESPACE",
    "LUMBRE_POD_DELETION_COST",
)


def start_seconds() -> float:
    """The most that a pod may take from its first process to a replica that is ready."""
    return START_TIMEOUT + START_MARGIN


def worker_labels(spec: FunctionSpec, device: Device) -> dict[str, str]:
    """The labels of all that belongs to one function on one device."""
    return pod.labels("worker", function=spec.name, device=device)


def claim_template(spec: FunctionSpec, device: Device, values: Values) -> str:
    """The name of the ResourceClaimTemplate, which cannot be changed: another has another name."""
    return f"{resource_name(spec.name, device)}-{pod.digest(claim_spec(values.gpus))}"


def worker_template(spec: FunctionSpec, device: Device, values: Values) -> Object:
    """The template of a worker's pods.

    A Job's pod is never asked to leave by those who empty nodes, and starts no second time: the
    broker delivers again.
    """
    steps, gpu = ladder(spec), device == "gpu"
    costs = values.workers.deletion_cost and not steps.job  # a Job is not scaled in
    found = pod.pod(
        values,
        [_container(spec, device, values, costs)],
        account=ACCOUNT,
        volumes=pod.volumes(values, shm=gpu),
        grace=steps.termination,
        priority="lumbre-gpu-worker" if gpu else "lumbre-worker",
        token=costs,
    )
    labels = worker_labels(spec, device)
    return {
        "metadata": {
            "labels": labels,
            "annotations": pod.annotations(values) | _undisturbed(steps),
        },
        "spec": found
        | ({"restartPolicy": "Never"} if steps.job else {})
        | placement(device, values.gpus, claim_template(spec, device, values))
        | {"topologySpreadConstraints": _spread(labels, device)},
    }


def worker_cpu(spec: FunctionSpec, values: Values) -> str:
    """Cores that are requested: those that the function says, or workers.cpu."""
    return str(spec.resources.cpu or values.workers.cpu)


def worker_memory(spec: FunctionSpec, device: Device, values: Values) -> str:
    """Memory of the container: what the function says and what is beside it, or a default."""
    if spec.resources.memory is None:
        return values.workers.gpu_memory if device == "gpu" else values.workers.memory
    shm = number(values.workers.shm) if device == "gpu" else 0  # a file there is memory
    mebibytes = math.ceil((spec.resources.memory + BESIDE[device] + shm) / 2**20)
    return f"{mebibytes}Mi" if mebibytes % 1024 else f"{mebibytes // 1024}Gi"  # as it is stored


def _container(spec: FunctionSpec, device: Device, values: Values, costs: bool) -> Object:
    gpu, command = device == "gpu", list(values.workers.command)
    arguments = ["worker", spec.name, "--device", device, "--replicas", "1"]
    return (
        {
            "name": CONTAINER,
            "image": values.images.gpu if gpu else values.images.cpu,
            "imagePullPolicy": values.images.pull_policy,
        }
        | ({"command": command} if command else {})
        | {
            "args": arguments + (["--once"] if ladder(spec).job else []),
            "envFrom": pod.env_from(values),
            "env": _environment(spec, values, costs),
            "ports": [{"name": HEALTH, "containerPort": HEALTH_PORT}],
            "resources": _resources(spec, device, values),
            "securityContext": pod.container_security(),
            "volumeMounts": pod.mounts(values, shm=gpu),
            "terminationMessagePolicy": "FallbackToLogsOnError",  # its last lines say why it ended
        }
        | _probes()
    )


def _environment(spec: FunctionSpec, values: Values, costs: bool) -> list[Object]:
    own = {
        "LUMBRE_CORES": str(math.ceil(number(worker_cpu(spec, values)))),  # its threads
        "LUMBRE_GRACE": str(ladder(spec).grace),
        "LUMBRE_HOST": "0.0.0.0",  # of its probes
        "LUMBRE_HEALTH_PORT": str(HEALTH_PORT),
    }
    if costs:
        own["LUMBRE_POD_DELETION_COST"] = "1"
    own |= values.workers.env
    return [
        *pod.environment(values, ledger=False),
        _of_pod("LUMBRE_POD_NAME", "metadata.name"),
        _of_pod("LUMBRE_POD_NAMESPACE", "metadata.namespace"),
        *({"name": name, "value": value} for name, value in own.items()),
    ]


def _of_pod(variable: str, path: str) -> Object:
    # The version is the server's default; left out, who applies it twice seems to differ from it.
    reference = {"apiVersion": "v1", "fieldPath": path}
    return {"name": variable, "valueFrom": {"fieldRef": reference}}


def _resources(spec: FunctionSpec, device: Device, values: Values) -> Object:
    """Memory is requested as it is limited: a node never runs out of it because of a worker.

    A function that says its threads is held to them, and one core more for the worker's own loop,
    which must not be throttled with them.  Others have as many threads as cores are requested.
    """
    found: dict[str, Any] = pod.resources(
        worker_cpu(spec, values), worker_memory(spec, device, values)
    )
    if cpu := spec.resources.cpu:
        found["limits"] |= {"cpu": str(cpu + 1)}
    if device == "gpu":
        wanted = asked(values.gpus)
        found["limits"] |= wanted.pop("limits", {})
        found |= wanted
    return found


def _probes() -> Object:
    alive = pod.probe("/healthz", HEALTH, period=10, failures=6)
    return {
        "startupProbe": pod.probe(
            "/startupz",
            HEALTH,
            period=START_PERIOD,
            failures=math.ceil(start_seconds() / START_PERIOD),
        ),
        "readinessProbe": pod.probe("/readyz", HEALTH, period=5, failures=2),
        # One that hangs cannot drain: no use to wait for its function's timeout.
        "livenessProbe": alive | {"terminationGracePeriodSeconds": HUNG},
    }


def _undisturbed(steps: Ladder) -> dict[str, str]:
    """Annotations for those who empty nodes, and would end pods before they have drained.

    The cluster autoscaler waits 600 s at most, whatever a pod asks for.  Karpenter waits as long
    as the pod asks for, which is enough but for a Job, that should not have to start again.
    """
    found = {}
    if not steps.evictable:
        found["cluster-autoscaler.kubernetes.io/safe-to-evict"] = "false"
    if steps.job:
        found["karpenter.sh/do-not-disrupt"] = "true"
    return found


def _spread(labels: dict[str, str], device: Device) -> list[Object]:
    """CPU pods over nodes and zones; GPU pods over zones: nodes of GPUs fill up, or go."""
    return [
        constraint
        for constraint in pod.spread(labels)
        if device == "cpu" or constraint["topologyKey"] == ZONE
    ]
