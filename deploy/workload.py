"""What is rendered per function and device: a Deployment that KEDA scales, or a ScaledJob.

`check` says all at once why functions cannot be deployed like this, `notes` what may surprise.
"""

import math
from collections.abc import Iterator, Sequence
from urllib.parse import unquote, urlsplit

from autoscaler.keda import (
    DEFAULT_TOLERANCE,
    MAX_WINDOW,
    resource_name,
    scaled_job,
    scaled_object,
)
from autoscaler.trigger import check_trigger, number, push_trigger, rabbitmq_trigger
from deploy import pod
from deploy.devices import device_faults, held_to_devices
from deploy.gpus import DRA, claim_spec, gpu_faults, gpu_notes, most_replicas
from deploy.ladder import ladder, ladder_faults
from deploy.names import name_faults
from deploy.pod import SCALER_PORT, Object
from deploy.values import Values
from deploy.worker_pod import (
    DERIVED,
    claim_template,
    start_seconds,
    worker_labels,
    worker_template,
)
from runtime.errors import ConfigurationError
from runtime.function import FunctionSpec
from runtime.model import Device

NEW_NODE = 600  # seconds until a node has come, and has the image
SETTLED = 10  # seconds that a pod must be ready to count in a rollout
RESTARTS = 3  # of a Job's pod, each after twice the wait, before KEDA makes another Job
SAFE_COOLDOWN = 30  # seconds
KEPT = 3600  # seconds that a finished Job stays, at most


def workload(spec: FunctionSpec, values: Values) -> list[Object]:
    """The objects of one function, device by device, in the order of applying.

    Raises ConfigurationError with all that `check` finds wrong with it.
    """
    check([spec], values)
    (held,) = held_to_devices([spec], values)
    return [found for device in held.devices for found in _objects(held, device, values)]


def check(specs: Sequence[FunctionSpec], values: Values) -> None:
    """ConfigurationError with a line for each thing that is wrong, and what to change."""
    held = held_to_devices(specs, values)
    faults = [
        *device_faults(specs, values),
        *name_faults(held),
        *ladder_faults(held, values),
        *gpu_faults(held, values),
        *_variable_faults(values),
        *_trigger_faults(held, values),
    ]
    if faults:
        raise ConfigurationError("\n".join(faults))


def notes(specs: Sequence[FunctionSpec], values: Values) -> list[str]:
    """What is rendered otherwise than somebody might think, and is no fault."""
    held = held_to_devices(specs, values)
    return [
        *gpu_notes(held, values),
        *(note for spec in held for device in spec.devices for note in _notes(spec, device)),
    ]


def _objects(spec: FunctionSpec, device: Device, values: Values) -> Iterator[Object]:
    if device == "gpu" and values.gpus.device_class:
        yield {
            "apiVersion": DRA,
            "kind": "ResourceClaimTemplate",
            "metadata": _metadata(spec, device, values)
            | {"name": claim_template(spec, device, values)},
            "spec": claim_spec(values.gpus),
        }
    if ladder(spec).job:
        yield _scaled_job(spec, device, values)
    else:
        yield _deployment(spec, device, values)
        yield scaled_object(
            spec.name,
            device,
            spec.scaling[device],
            most_replicas(spec, device, values),
            vhost=_vhost(values),
            trigger=_trigger(spec, device, values),
            metadata=_scaled(spec, device, values, "scaledobject.keda.sh/hpa-excluded-labels"),
        )


def _deployment(spec: FunctionSpec, device: Device, values: Values) -> Object:
    """No `replicas`: they are KEDA's and the HPA's, and would be reset at each apply."""
    labels = worker_labels(spec, device)
    deadline = math.ceil(start_seconds()) + ladder(spec).termination + NEW_NODE
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(spec, device, values),
        "spec": {
            "selector": {"matchLabels": pod.selector(labels)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": _rollout(device)},
            "minReadySeconds": SETTLED,
            "progressDeadlineSeconds": deadline,
            "revisionHistoryLimit": 3,
            "template": worker_template(spec, device, values),
        },
    }


def _rollout(device: Device) -> Object:
    """A new pod first, or an old one away first: where all GPUs are taken, no new one would start.

    Old pods drain; 25 % of few pods are one at a time (Kubernetes, Deployment: Rolling Update).
    """
    if device == "gpu":
        return {"maxSurge": 0, "maxUnavailable": "25%"}
    return {"maxSurge": "25%", "maxUnavailable": 0}


def _scaled_job(spec: FunctionSpec, device: Device, values: Values) -> Object:
    """A Job per message, also with trigger=push: KEDA's push wakes no ScaledJob, so it polls."""
    job: Object = {
        "parallelism": 1,
        "completions": 1,
        "backoffLimit": RESTARTS,  # slows down a pod that cannot start; the broker delivers again
        "ttlSecondsAfterFinished": KEPT,
        "podFailurePolicy": {  # a node that goes is no failure of the pod's
            "rules": [
                {
                    "action": "Ignore",
                    "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                }
            ]
        },
        "template": worker_template(spec, device, values),
    }
    return scaled_job(
        spec.name,
        device,
        spec.scaling[device],
        job,
        most_replicas(spec, device, values),
        trigger=_trigger(spec, device, values),
        metadata=_scaled(spec, device, values, "scaledjob.keda.sh/job-excluded-labels"),
    )


def _trigger(spec: FunctionSpec, device: Device, values: Values) -> Object:
    scaling = spec.scaling[device]
    if values.trigger == "push" and not ladder(spec).job:
        address = f"{pod.host('lumbre-gateway', values)}:{SCALER_PORT}"
        return push_trigger(spec.name, device, scaling, address=address)
    return rabbitmq_trigger(spec.name, device, scaling, vhost=_vhost(values))


def _vhost(values: Values) -> str:
    return unquote(urlsplit(values.broker.url).path[1:]) or "/"


def _metadata(spec: FunctionSpec, device: Device, values: Values) -> Object:
    return pod.metadata(resource_name(spec.name, device), values, worker_labels(spec, device))


def _scaled(spec: FunctionSpec, device: Device, values: Values, excluded: str) -> Object:
    """KEDA gives its HPA and its Jobs our labels; they stay KEDA's, and are not ours to delete."""
    standard = ("name", "component", "part-of", "managed-by")
    kept = ",".join(f"app.kubernetes.io/{label}" for label in standard)
    return _metadata(spec, device, values) | {"annotations": {excluded: kept}}


def _variable_faults(values: Values) -> Iterator[str]:
    for name in DERIVED:
        if name in values.workers.env:
            yield f"workers.env.{name}: it follows from the function and the pod: leave it out"


def _trigger_faults(specs: Sequence[FunctionSpec], values: Values) -> Iterator[str]:
    for spec in specs:
        for device in spec.devices:
            try:
                check_trigger(_trigger(spec, device, values))
            except ConfigurationError as error:
                yield from (
                    f"function {spec.name} on {device}: {e}" for e in str(error).split("\n")
                )


def _notes(spec: FunctionSpec, device: Device) -> Iterator[str]:
    scaling, where = spec.scaling[device], f"function {spec.name} on {device}"
    if scaling.activation >= 1:
        some = number(math.floor(scaling.activation))
        yield (
            f"{where}: activation={number(scaling.activation)}: up to {some} messages keep no"
            " replica, though they run: after the cooldown a busy one drains"
        )
    if ladder(spec).job and scaling.min_replicas:
        yield (
            f"{where}: min_replicas={scaling.min_replicas} pods always wait for a message, and"
            " another takes the place of one that got none within a minute"
        )
    if ladder(spec).job:
        return
    if scaling.cooldown < SAFE_COOLDOWN and not scaling.min_replicas:
        yield (
            f"{where}: cooldown={number(scaling.cooldown)}: after a restart RabbitMQ's statistics"
            f" read zero for some seconds, and busy replicas drain; {SAFE_COOLDOWN} s outlast that"
        )
    if scaling.stabilization_window > MAX_WINDOW:
        yield f"{where}: stabilization_window is held to {MAX_WINDOW} s, the HPA's most"
    if scaling.tolerance != DEFAULT_TOLERANCE:
        yield (
            f"{where}: tolerance={number(scaling.tolerance)} needs Kubernetes 1.35, or its feature"
            " gate HPAConfigurableTolerance: without it the cluster's counts (0.1)"
        )
