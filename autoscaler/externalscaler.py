"""The messages of KEDA's external scaler, as bytes and as values.

Names, field numbers and types are the protocol of KEDA's
pkg/scalers/externalscaler/externalscaler.proto (2.20); protobuf is told of them here, in a pool of
their own, so that nothing is generated.  Needs protobuf: the extra `push`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import (  # type: ignore[import-untyped]
    descriptor_pb2,
    descriptor_pool,
    message,
    message_factory,
)

from runtime.errors import BadRequest

PACKAGE = "externalscaler"
SERVICE = f"{PACKAGE}.ExternalScaler"
MOST_TARGET = 2.0**63 - 1024  # the largest double that an int64 holds

# Message → field → number and type; `*` is repeated, a capital letter begins another message.
FIELDS: Mapping[str, Mapping[str, tuple[int, str]]] = {
    "ScaledObjectRef": {
        "name": (1, "string"),
        "namespace": (2, "string"),
        "scalerMetadata": (3, "map"),
    },
    "IsActiveResponse": {"result": (1, "bool")},
    "MetricSpec": {
        "metricName": (1, "string"),
        "targetSize": (2, "int64"),
        "targetSizeFloat": (3, "double"),
    },
    "GetMetricSpecResponse": {"metricSpecs": (1, "*MetricSpec")},
    "GetMetricsRequest": {"scaledObjectRef": (1, "ScaledObjectRef"), "metricName": (2, "string")},
    "MetricValue": {
        "metricName": (1, "string"),
        "metricValue": (2, "int64"),
        "metricValueFloat": (3, "double"),
    },
    "GetMetricsResponse": {"metricValues": (1, "*MetricValue")},
}


@dataclass(frozen=True, slots=True)
class ScaledObjectRef:
    """The ScaledObject that KEDA asks for, with its trigger's metadata."""

    name: str
    namespace: str
    metadata: Mapping[str, str]


def read_reference(data: bytes) -> ScaledObjectRef:
    """What all but GetMetrics are asked with; BadRequest for bytes that are something else."""
    return _reference(_parsed("ScaledObjectRef", data))


def read_metrics_request(data: bytes) -> ScaledObjectRef:
    """Whose metrics GetMetrics is asked for; BadRequest for bytes that are something else.

    The metric's name is not looked at: a ScaledObject has one metric here.
    """
    return _reference(_parsed("GetMetricsRequest", data).scaledObjectRef)


def activity(active: bool) -> bytes:
    """An IsActiveResponse."""
    return _bytes(MESSAGES["IsActiveResponse"](result=active))


def metric_spec(name: str, target: float) -> bytes:
    """A GetMetricSpecResponse of one metric; KEDA before 2.17 takes whole targets."""
    whole = int(min(MOST_TARGET, max(1, math.ceil(target))))
    spec = {"metricName": name, "targetSize": whole, "targetSizeFloat": target}
    return _bytes(MESSAGES["GetMetricSpecResponse"](metricSpecs=[spec]))


def metric_value(name: str, value: int) -> bytes:
    """A GetMetricsResponse of one metric."""
    told = {"metricName": name, "metricValue": value, "metricValueFloat": float(value)}
    return _bytes(MESSAGES["GetMetricsResponse"](metricValues=[told]))


def _parsed(name: str, data: bytes) -> Any:
    try:
        return MESSAGES[name].FromString(data)
    except message.DecodeError:
        raise BadRequest(f"{len(data)} bytes are no {name} of KEDA's external scaler") from None


def _reference(parsed: Any) -> ScaledObjectRef:
    return ScaledObjectRef(parsed.name, parsed.namespace, dict(parsed.scalerMetadata))


def _bytes(message: Any) -> bytes:
    encoded: bytes = message.SerializeToString()
    return encoded


def _described() -> dict[str, Any]:
    """The messages' classes, by name."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"lumbre/{PACKAGE}.proto", package=PACKAGE, syntax="proto3"
    )
    for name, fields in FIELDS.items():
        described = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            _add(described, field, number, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        for name in FIELDS
    }


def _add(described: Any, name: str, number: int, kind: str) -> None:
    """Add a field.  A map is repeated entries of key and value (protobuf's encoding of maps)."""
    types = descriptor_pb2.FieldDescriptorProto
    field = described.field.add(name=name, number=number, label=types.LABEL_OPTIONAL)
    if kind == "map":
        entry = described.nested_type.add(name=f"{name[0].upper()}{name[1:]}Entry")
        entry.options.map_entry = True
        _add(entry, "key", 1, "string")
        _add(entry, "value", 2, "string")
        kind = f"*{described.name}.{entry.name}"
    if kind.startswith("*"):
        field.label = types.LABEL_REPEATED
        kind = kind[1:]
    if kind[0].isupper():
        field.type, field.type_name = types.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
    else:
        field.type = getattr(types, f"TYPE_{kind.upper()}")


MESSAGES: Mapping[str, Any] = _described()
