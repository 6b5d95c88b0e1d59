"""What tells KEDA the backlog of a queue: a trigger, and the check of one that KEDA does not make.

KEDA's admission takes any metadata; what is wrong in it shows only once the ScaledObject is there,
and some of it never: a mistyped name counts as left out.  Sources: KEDA 2.20,
pkg/scalers/rabbitmq_scaler.go, external_scaler.go and scalersconfig/typed_config.go.
"""

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from runtime.errors import ConfigurationError
from runtime.function import Scaling
from runtime.model import Device, queue_name

Object = dict[str, Any]

AUTHENTICATION = "lumbre-rabbitmq"  # the TriggerAuthentication that knows the broker's URL
RABBITMQ = "rabbitmq"
PUSH = "external-push"
QUEUE_LENGTH = "QueueLength"
MESSAGE_RATE = "MessageRate"
NEVER = "1000000"  # messages a second for each replica: a rate that asks for no second one
SMALLEST = 0.001  # KEDA gives the HPA its numbers in thousandths
_FIELDS = {"type", "name", "metadata", "metricType", "authenticationRef", "useCachedMetrics"}
_KNOWN = {
    RABBITMQ: {
        *("queueName", "mode", "value", "activationValue", "protocol", "vhostName", "host"),
        *("excludeUnacknowledged", "useRegex", "operation", "pageSize", "timeout", "unsafeSsl"),
        *("hostFromEnv", "usernameFromEnv", "passwordFromEnv"),
    },
    PUSH: {
        *("scalerAddress", "enableTLS", "unsafeSsl"),
        *("queueName", "value", "activationValue"),  # ours: autoscaler/push
    },
}
_NO = {"false", "False", "FALSE", "f", "F", "0"}  # what Go reads as false (strconv.ParseBool)


def rabbitmq_trigger(
    function: str, device: Device, scaling: Scaling, *, vhost: str = "/"
) -> Object:
    """Asks RabbitMQ's management API; what is unacknowledged counts: a busy replica is backlog."""
    amounts = {"mode": QUEUE_LENGTH, **_amounts(scaling)}
    return _rabbitmq(function, device, vhost, amounts | {"excludeUnacknowledged": "false"})


def activity_trigger(
    function: str, device: Device, scaling: Scaling, *, vhost: str = "/"
) -> Object:
    """Active while messages come, however soon they are gone; says nothing of how many replicas.

    KEDA looks at a queue now and then: that of a function which is busy all day with calls of a few
    milliseconds is empty nearly whenever it looks, and beside this one its last replica stays.
    RabbitMQ's rate is that of its last two statistics, 5 s apart.
    """
    amounts = {"mode": MESSAGE_RATE, **_amounts(scaling), "value": NEVER}
    return _rabbitmq(function, device, vhost, amounts)


def _rabbitmq(function: str, device: Device, vhost: str, amounts: Mapping[str, str]) -> Object:
    metadata = {  # texts, all of them
        "protocol": "http",
        "queueName": queue_name(function, device),
        "vhostName": vhost,
        **amounts,
    }
    return {
        "type": RABBITMQ,
        "metadata": metadata,
        "metricType": "AverageValue",
        "authenticationRef": {"name": AUTHENTICATION},
    }


def push_trigger(function: str, device: Device, scaling: Scaling, *, address: str) -> Object:
    """Asks a gateway at HOST:PORT, which wakes KEDA at a publish (KEDA's external scaler, gRPC)."""
    metadata = {
        "scalerAddress": address,
        "queueName": queue_name(function, device),
        **_amounts(scaling),
    }
    return {"type": PUSH, "metadata": metadata, "metricType": "AverageValue"}


def number(amount: float) -> str:
    """A number as texts of YAML say it: exact, and without an exponent."""
    return f"{Decimal(repr(float(amount))).normalize():f}"


def check_trigger(trigger: Mapping[str, Any], mode: str = QUEUE_LENGTH) -> None:
    """ConfigurationError for a trigger that KEDA admits and that then fails, or ends busy pods.

    All that is wrong is said at once, each with what to write instead.  `mode` is MESSAGE_RATE for
    the one beside it that says whether anything comes.
    """
    kind = trigger.get("type")
    if kind not in _KNOWN:
        raise ConfigurationError(
            f"trigger type {kind!r} says nothing of a queue: take {RABBITMQ} or {PUSH}"
        )
    if faults := list(_faults(kind, trigger, mode)):
        raise ConfigurationError("\n".join(f"{kind} trigger: {fault}" for fault in faults))


def _amounts(scaling: Scaling) -> dict[str, str]:
    return {"value": number(scaling.target), "activationValue": number(scaling.activation)}


def _faults(kind: str, trigger: Mapping[str, Any], mode: str) -> Iterator[str]:
    metadata = trigger.get("metadata")
    if not isinstance(metadata, Mapping):
        yield "it has no metadata: say queueName and value"
        return
    for name in sorted(map(str, trigger.keys() - _FIELDS)):
        yield f"{name} is no field of a trigger"
    for name, value in metadata.items():
        if name not in _KNOWN[kind]:
            yield (
                f"metadata.{name} is unknown to KEDA's scaler, which would ignore it:"
                f" it knows {', '.join(sorted(_KNOWN[kind]))}"
            )
        if not isinstance(value, str):
            yield f"metadata.{name} is {value!r}, and KEDA takes texts only: write it in quotes"
    texts = {name: str(value) for name, value in metadata.items()}
    yield from _amount_faults(texts)
    if not texts.get("queueName"):
        yield "metadata.queueName is missing: name the queue, such as matmul.gpu"
    if (metric := trigger.get("metricType", "AverageValue")) != "AverageValue":
        yield f"metricType is {metric}: backlog per replica is AverageValue"
    if kind == RABBITMQ:
        yield from _rabbitmq_faults(trigger, texts)
        yield from _mode_faults(texts, mode)
    else:
        yield from _push_faults(texts)


def _amount_faults(texts: Mapping[str, str]) -> Iterator[str]:
    value = _read(texts.get("value", ""))
    if value is None or value < SMALLEST:
        yield (
            f"metadata.value is {texts.get('value')!r}: give the backlog per replica, a number of"
            f" at least {SMALLEST} (KEDA counts in thousandths)"
        )
    activation = _read(texts.get("activationValue", "0"))
    if activation is None or activation < 0:
        yield (
            f"metadata.activationValue is {texts['activationValue']!r}: give the backlog above"
            " which the first replica comes, a number of at least 0"
        )


def _rabbitmq_faults(trigger: Mapping[str, Any], texts: Mapping[str, str]) -> Iterator[str]:
    protocol = texts.get("protocol", "auto")
    if protocol != "http":
        yield (
            f'metadata.protocol is {protocol}: write "http". Over amqp KEDA sees ready messages'
            " only, and scales busy replicas to zero (auto follows the URL, which is in a Secret)"
        )
    if texts.get("excludeUnacknowledged", "false") not in _NO:
        yield (
            'metadata.excludeUnacknowledged: write "false", or leave it out. A message that runs is'
            " unacknowledged: without it a busy replica counts for nothing, and is scaled away"
        )
    if texts.get("useRegex", "false") not in _NO:
        yield "metadata.useRegex adds up several queues: name one, of one function on one device"
    if " " in texts.get("vhostName", ""):
        yield "metadata.vhostName has a space, which KEDA would ask for as +: rename the vhost"
    if "@" in urlsplit(texts.get("host", "")).netloc:
        yield (
            "metadata.host has credentials, which anybody may read there: put them into a Secret"
            " that a TriggerAuthentication names, as username and password"
        )
    if not ({"host", "hostFromEnv"} & texts.keys() or trigger.get("authenticationRef")):
        yield f"nothing says where RabbitMQ is: add authenticationRef: {{name: {AUTHENTICATION}}}"


def _mode_faults(texts: Mapping[str, str], wanted: str) -> Iterator[str]:
    mode = texts.get("mode")
    if wanted == QUEUE_LENGTH and mode != wanted:
        yield f"metadata.mode is {mode!r}: write {wanted}; rates say nothing of what runs"
    elif mode != wanted:
        yield f"metadata.mode is {mode!r}: beside the queue's length it can be {wanted} only"
    elif wanted == MESSAGE_RATE and texts.get("value") != NEVER:
        yield (
            f'metadata.value is {texts.get("value")!r}: write "{NEVER}": how many replicas there'
            " are is what the backlog says"
        )


def _push_faults(texts: Mapping[str, str]) -> Iterator[str]:
    host, _, port = texts.get("scalerAddress", "").rpartition(":")
    if not host or "/" in host or not port.isdigit():
        yield (
            f"metadata.scalerAddress is {texts.get('scalerAddress')!r}: give HOST:PORT of the"
            " gateways, such as lumbre-gateway.lumbre.svc:6000"
        )


def _read(text: str) -> float | None:
    """A finite number that Go reads, too, or None."""
    try:
        found = float(text)
    except ValueError:
        return None
    plain = text == text.strip() and "_" not in text  # Python reads more than Go does
    return found if plain and math.isfinite(found) else None
