"""A function's scaling as KEDA's ScaledObject (keda.sh/v1alpha1), and as YAML to copy.

Every field means here what it means there, so rendering is naming.  The trigger asks RabbitMQ's
management API and counts unacknowledged messages too: a busy replica is backlog, and is not scaled
away.  `behavior` is always said, since the HPA without it remembers and goes back up.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from runtime.function import Scaling
from runtime.model import Device, queue_name

AUTHENTICATION = "lumbre-rabbitmq"  # the TriggerAuthentication that knows the broker's URL
MAX_NAME = 63  # characters: KEDA puts a ScaledObject's name into a label (RFC 1123)
DEFAULT_MOST = 100  # replicas, as KEDA has it
MAX_WINDOW = 3600  # seconds, the HPA's most
FAILURES = 3  # readings that fail in a row before the fallback counts
RATE_PERIOD = 15  # seconds, as the HPA's own defaults have it
DEFAULT_TOLERANCE = 0.1  # the HPA's
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9._/-]*")
# What YAML 1.1 takes for something else than text, and Kubernetes reads YAML 1.1.
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


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
    function: str, device: Device, scaling: Scaling, max_replicas: int = DEFAULT_MOST
) -> dict[str, Any]:
    """The ScaledObject of one function on one device.

    `max_replicas` counts where the scaling names none: as many as there is hardware for.  Seconds
    are rounded up to whole ones, of which KEDA wants at least 1 between two looks.
    """
    name = resource_name(function, device)
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"name": name},
            "pollingInterval": max(1, math.ceil(scaling.polling_interval)),
            "cooldownPeriod": math.ceil(scaling.cooldown),
            "minReplicaCount": scaling.min_replicas,
            "maxReplicaCount": max(scaling.max_replicas or max_replicas, scaling.min_replicas, 1),
            "fallback": {
                "failureThreshold": FAILURES,
                "replicas": max(1, scaling.min_replicas),
                "behavior": "currentReplicasIfHigher",
            },
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behavior(scaling)}},
            "triggers": [_trigger(queue_name(function, device), scaling)],
        },
    }


def as_yaml(value: Any) -> str:
    """A value of mappings, lists, ASCII texts and numbers as a YAML document."""
    return "\n".join(_lines(value)) + "\n"


def _trigger(queue: str, scaling: Scaling) -> dict[str, Any]:
    return {
        "type": "rabbitmq",
        "metadata": {  # texts, all of them
            "protocol": "http",
            "queueName": queue,
            "mode": "QueueLength",
            "value": f"{scaling.target:g}",
            "activationValue": f"{scaling.activation:g}",
            "excludeUnacknowledged": "false",
        },
        "authenticationRef": {"name": AUTHENTICATION},
    }


def _behavior(scaling: Scaling) -> dict[str, Any]:
    """The HPA's defaults said aloud, with the window of scaling in."""
    window = min(MAX_WINDOW, math.ceil(scaling.stabilization_window))
    up: dict[str, Any] = {
        "stabilizationWindowSeconds": 0,
        "policies": [_rate("Pods", 4), _rate("Percent", 100)],
        "selectPolicy": "Max",
    }
    down: dict[str, Any] = {
        "stabilizationWindowSeconds": window,
        "policies": [_rate("Percent", 100)],
    }
    if scaling.tolerance != DEFAULT_TOLERANCE:
        up["tolerance"] = down["tolerance"] = f"{scaling.tolerance:g}"
    return {"scaleUp": up, "scaleDown": down}


def _rate(kind: str, value: int) -> dict[str, Any]:
    return {"type": kind, "value": value, "periodSeconds": RATE_PERIOD}


def _lines(value: Any) -> list[str]:
    if isinstance(value, Mapping) and value:
        return [line for key, inner in value.items() for line in _member(key, inner)]
    if isinstance(value, Sequence) and not isinstance(value, str) and value:
        return [line for item in value for line in _item(item)]
    return [_scalar(value)]


def _member(key: str, value: Any) -> list[str]:
    if isinstance(value, Mapping | list) and value:
        indent = "" if isinstance(value, list) else "  "
        return [f"{key}:", *(indent + line for line in _lines(value))]
    return [f"{key}: {_scalar(value)}"]


def _item(value: Any) -> list[str]:
    first, *others = _lines(value)
    return [f"- {first}", *(f"  {line}" for line in others)]


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value)  # YAML takes JSON
