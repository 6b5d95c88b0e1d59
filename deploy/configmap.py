"""The ConfigMap that pods read their settings from; nothing in it is secret."""

from collections.abc import Sequence

from deploy.devices import held_to_devices
from deploy.namespace import PLATFORM
from deploy.pod import CONFIG, Object, labels, management_url, metadata, settings
from deploy.values import Values
from runtime.function import FunctionSpec
from runtime.model import DEVICES

MANAGEMENT_KEY = "management-url"  # what KEDA's TriggerAuthentication reads


def configmap(specs: Sequence[FunctionSpec], values: Values) -> list[Object]:
    """The ConfigMap: a key for every setting (LUMBRE_*), and RabbitMQ's management API for KEDA."""
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata(CONFIG, values, labels(PLATFORM)),
            "data": gateway_settings(specs, values)
            # KEDA takes what follows the last slash for the vhost.
            | {MANAGEMENT_KEY: f"{management_url(values).rstrip('/')}/"},
        }
    ]


def gateway_settings(specs: Sequence[FunctionSpec], values: Values) -> dict[str, str]:
    """The settings of all pods, and which devices KEDA can start workers on: a gateway asks."""
    there = {device for spec in held_to_devices(specs, values) for device in spec.devices}
    devices = [device for device in DEVICES if device in there]
    return settings(values) | {"LUMBRE_DEVICES": ",".join(devices or DEVICES)}
