"""A function's scaling as KEDA's objects (keda.sh/v1alpha1): ScaledObject and ScaledJob.

Every field means here what it means there, so rendering is naming.  `behavior` is always said,
since the HPA without it remembers and goes back up; and so is `fallback`, which keeps replicas
while the backlog cannot be read.  What reads the objects back is `autoscaler.rendered`.
"""

import hashlib
import math

from autoscaler.trigger import (
    AUTHENTICATION,
    Object,
    activity_trigger,
    number,
    rabbitmq_trigger,
)
from runtime.function import Scaling
from runtime.model import Device

API = "keda.sh/v1alpha1"
MAX_NAME = 63  # characters: KEDA puts a ScaledObject's name into a label (RFC 1123)
DEFAULT_MOST = 100  # replicas, as KEDA has it
LONGEST = 900.0  # seconds: a function that may run for longer is a ScaledJob
MAX_WINDOW = 3600  # seconds, the HPA's most
MAX_SECONDS = 2**31 - 1  # KEDA's are 32-bit integers
FALLBACK_AFTER = 60  # seconds without a reading, at most: a broker that restarts may be back
FAILURES = 3  # readings that fail in a row before the fallback counts, at least
RATE_PERIOD = 15  # seconds, as the HPA's own defaults have it
DEFAULT_TOLERANCE = 0.1  # the HPA's
KEPT_JOBS = 3  # finished jobs of each kind whose logs can still be read


def resource_name(function: str, device: Device) -> str:
    """What a function's resources on a cluster are called: matmul-gpu; long ones end in a digest.

    Underscores, which no name there may have, become hyphens; no function's name has these.
    """
    name = f"{function.replace('_', '-')}-{device}"
    if len(name) <= MAX_NAME:
        return name
    digest = hashlib.sha256(function.encode()).hexdigest()[:8]
    kept = name[: MAX_NAME - len(digest) - len(device) - 2].rstrip("-")
    return f"{kept}-{digest}-{device}"


def scaled_object(
    function: str,
    device: Device,
    scaling: Scaling,
    max_replicas: int = DEFAULT_MOST,
    *,
    vhost: str = "/",
    trigger: Object | None = None,
    metadata: Object | None = None,
) -> Object:
    """The ScaledObject of one function on one device.

    `max_replicas` counts where the scaling names none: as many as there is hardware for.  Seconds
    are rounded up to whole ones, of which KEDA wants at least 1 between two looks.  `vhost` has the
    queue; `trigger` is another than rabbitmq's, and `metadata` the object's (its name).  Beside it
    stands the one that keeps the last replica while messages come.
    """
    name = resource_name(function, device)
    return {
        "apiVersion": API,
        "kind": "ScaledObject",
        "metadata": metadata or {"name": name},
        "spec": {
            "scaleTargetRef": {"name": name},
            "pollingInterval": _polling(scaling),
            "cooldownPeriod": _seconds(scaling.cooldown),
            "minReplicaCount": scaling.min_replicas,
            "maxReplicaCount": _most(scaling, max_replicas),
            "fallback": _fallback(scaling),
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behavior(scaling)}},
            "triggers": [
                trigger or rabbitmq_trigger(function, device, scaling, vhost=vhost),
                activity_trigger(function, device, scaling, vhost=vhost),
            ],
        },
    }


def scaled_job(
    function: str,
    device: Device,
    scaling: Scaling,
    job: Object,
    max_replicas: int = DEFAULT_MOST,
    *,
    trigger: Object | None = None,
    metadata: Object | None = None,
) -> Object:
    """The ScaledJob of one function on one device: a pod for a message, which nothing scales in.

    `job` is the specification of its Jobs.  The strategy fits a backlog that counts what runs: as
    many are started as it asks for, less those that are there; `accurate` would take them twice
    (KEDA, pkg/scaling/executor/scale_jobs.go).  A new version leaves running jobs alone.  There is
    no fallback: while the backlog cannot be read, no job is started and none is ended.  Its
    triggers say no metricType, which KEDA refuses there, and which is AverageValue all the same.
    """
    asked = dict(trigger or rabbitmq_trigger(function, device, scaling))
    asked.pop("metricType", None)
    return {
        "apiVersion": API,
        "kind": "ScaledJob",
        "metadata": metadata or {"name": resource_name(function, device)},
        "spec": {
            "jobTargetRef": job,
            "pollingInterval": _polling(scaling),
            "minReplicaCount": scaling.min_replicas,
            "maxReplicaCount": _most(scaling, max_replicas),
            "successfulJobsHistoryLimit": KEPT_JOBS,
            "failedJobsHistoryLimit": KEPT_JOBS,
            "rollout": {"strategy": "gradual"},
            "scalingStrategy": {"strategy": "default"},
            "triggers": [asked],
        },
    }


def trigger_authentication(
    secret: str,
    config: str,
    key: str = "management-url",
    *,
    authority: str = "",
    metadata: Object | None = None,
) -> Object:
    """The TriggerAuthentication of all rabbitmq triggers of a namespace.

    Username and password are keys of the Secret, and stay out of the URL, where they would have to
    be escaped.  The URL of the management API is `key` of the ConfigMap; KEDA takes the last part
    of its path for the vhost, so it ends with a slash.  Where RabbitMQ proves itself by an
    authority that is not public, `authority` is the ConfigMap with its certificates (`ca.crt`) and
    `tls: enable`: KEDA takes both from here only (pkg/scalers/rabbitmq_scaler.go).
    """
    told = [{"parameter": "host", "name": config, "key": key}]
    if authority:
        told.append({"parameter": "ca", "name": authority, "key": "ca.crt"})
        told.append({"parameter": "tls", "name": authority, "key": "tls"})
    wanted = [{"parameter": name, "name": secret, "key": name} for name in ("username", "password")]
    return {
        "apiVersion": API,
        "kind": "TriggerAuthentication",
        "metadata": metadata or {"name": AUTHENTICATION},
        "spec": {
            "secretTargetRef": wanted,
            "configMapTargetRef": told,
        },
    }


def _fallback(scaling: Scaling) -> Object:
    """No replica goes while the backlog cannot be read; after a while each queue gets a first one.

    Not at once, since that is one replica of every function; but before half the cooldown is over.
    That runs on meanwhile, and only the fallback begins it anew: where it were over, the first
    reading would end busy replicas, if RabbitMQ has just restarted and its statistics read zero.
    The HPA's failed readings count as well, so it is a little sooner than computed.
    """
    after = min(FALLBACK_AFTER, scaling.cooldown / 2)
    return {
        "failureThreshold": max(FAILURES, math.ceil(after / _polling(scaling))),
        "replicas": max(1, scaling.min_replicas),
        "behavior": "currentReplicasIfHigher",
    }


def _polling(scaling: Scaling) -> int:
    return max(1, _seconds(scaling.polling_interval))


def _most(scaling: Scaling, max_replicas: int) -> int:
    return max(scaling.max_replicas or max_replicas, scaling.min_replicas, 1)


def _seconds(seconds: float) -> int:
    return min(MAX_SECONDS, math.ceil(seconds))


def _behavior(scaling: Scaling) -> Object:
    """The HPA's defaults said aloud, with the window of scaling in."""
    window = min(MAX_WINDOW, math.ceil(scaling.stabilization_window))
    up: Object = {
        "stabilizationWindowSeconds": 0,
        "policies": [_rate("Pods", 4), _rate("Percent", 100)],
        "selectPolicy": "Max",
    }
    down: Object = {
        "stabilizationWindowSeconds": window,
        "policies": [_rate("Percent", 100)],
        "selectPolicy": "Max",
    }
    if scaling.tolerance != DEFAULT_TOLERANCE:
        up["tolerance"] = down["tolerance"] = number(scaling.tolerance)
    return {"scaleUp": up, "scaleDown": down}


def _rate(kind: str, value: int) -> Object:
    return {"type": kind, "value": value, "periodSeconds": RATE_PERIOD}
