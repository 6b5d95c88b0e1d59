"""The ConfigMaps that pods read settings and certificates from; nothing in them is secret."""

from collections.abc import Sequence

from deploy.devices import held_to_devices
from deploy.namespace import PLATFORM
from deploy.pod import (
    AUTHORITY,
    AUTHORITY_KEY,
    CONFIG,
    Object,
    labels,
    management_url,
    metadata,
    settings,
)
from deploy.values import Values
from runtime.function import FunctionSpec
from runtime.model import DEVICES

MANAGEMENT_KEY = "management-url"  # what KEDA's TriggerAuthentication reads


def configmap(specs: Sequence[FunctionSpec], values: Values) -> list[Object]:
    """A key for every setting (LUMBRE_*), and RabbitMQ's management API for KEDA.

    Where RabbitMQ is elsewhere and proves itself by certificates of its own, another one has them.
    """
    # KEDA takes what follows the last slash for the vhost.
    management = {MANAGEMENT_KEY: f"{management_url(values).rstrip('/')}/"}
    found = [_configmap(CONFIG, gateway_settings(specs, values) | management, values)]
    if values.broker.ca:
        trusted = {AUTHORITY_KEY: values.broker.ca, "tls": "enable"}
        found.append(_configmap(AUTHORITY, trusted, values))
    return found


def _configmap(name: str, data: dict[str, str], values: Values) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(name, values, labels(PLATFORM)),
        "data": data,
    }


def gateway_settings(specs: Sequence[FunctionSpec], values: Values) -> dict[str, str]:
    """The settings of all pods, and which devices KEDA can start workers on: a gateway asks."""
    there = {device for spec in held_to_devices(specs, values) for device in spec.devices}
    devices = [device for device in DEVICES if device in there]
    return settings(values) | {"LUMBRE_DEVICES": ",".join(devices or DEVICES)}
