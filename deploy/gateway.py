"""Gateways, and a console beside them: HTTP for callers and browsers.

An end is told in time: 10 seconds of preStop, in which Services and routes forget the pod while it
still answers, then SIGTERM, on which callers who wait are told where to ask, then what it has to
confirm (`runtime.role.SETTLE`, 10 seconds).
"""

import math
from collections.abc import Sequence

from deploy.budget import budget
from deploy.configmap import gateway_settings
from deploy.deployment import container, deployment
from deploy.pod import (
    CONFIG_DIGEST,
    GATEWAY_PORT,
    HTTP,
    SCALER,
    SCALER_PORT,
    Object,
    callback_secret,
    digest,
    labels,
    metadata,
    probe,
    selector,
)
from deploy.values import Values
from runtime.function import FunctionSpec

GATEWAY = "lumbre-gateway"
CONSOLE = "lumbre-console"
CATALOG = "/app/catalog.json"  # in the image, made by `lumbre bake`
WITHDRAWN = 10  # seconds until Services and routes send a pod nothing more
DRAIN = 30  # seconds, LUMBRE_GRACE
CONFIRMED = 20  # seconds for the last confirms, and some to spare
STARTING = 120  # seconds: it waits for its stores for up to 60 (LUMBRE_BROKER_PATIENCE)
BUSY = 70  # percent of the requested CPU above which the HPA adds gateways


def gateway(specs: Sequence[FunctionSpec], values: Values) -> list[Object]:
    """Deployment and Service; a budget with several replicas, an HPA with a higher maximum."""
    scales = values.gateway.max_replicas > values.gateway.replicas
    own = labels("gateway")
    found = [
        _service(GATEWAY, "gateway", values),
        _deployment("gateway", ["gateway", "--no-recorder"], specs, values, scales=scales),
    ]
    if values.gateway.replicas > 1:
        found.append(budget(GATEWAY, values, own, selector(own)))
    if scales:
        found.append(_autoscaler(values))
    return found


def console(specs: Sequence[FunctionSpec], values: Values) -> list[Object]:
    """A console that is no caller's gateway, where `console` is set."""
    if not values.console:
        return []
    return [
        _service(CONSOLE, "console", values),
        _deployment("console", ["console"], specs, values, scales=False),
    ]


def _serves_scaler(role: str, values: Values) -> bool:
    return role == "gateway" and values.trigger == "push"


def _service(name: str, role: str, values: Values) -> Object:
    ports = [{"name": HTTP, "port": GATEWAY_PORT, "targetPort": HTTP, "appProtocol": "http"}]
    if _serves_scaler(role, values):
        protocol = "kubernetes.io/h2c"  # gRPC without TLS
        port = {"name": SCALER, "port": SCALER_PORT, "targetPort": SCALER, "appProtocol": protocol}
        ports.append(port)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(name, values, labels(role)),
        "spec": {"selector": selector(labels(role)), "ports": ports},
    }


def _deployment(
    role: str, args: list[str], specs: Sequence[FunctionSpec], values: Values, *, scales: bool
) -> Object:
    ports = [{"name": HTTP, "containerPort": GATEWAY_PORT}]
    if _serves_scaler(role, values):
        ports.append({"name": SCALER, "containerPort": SCALER_PORT})
    made = container(
        role,
        values,
        args,
        cpu=values.gateway.cpu,
        memory=values.gateway.memory,
        env=_environment(role, values),
        secrets=callback_secret(values),
        ports=ports,
        startupProbe=probe("/healthz", HTTP, period=2, failures=STARTING // 2),
        readinessProbe=probe("/readyz", HTTP, period=5, failures=2),
        # Slow is not dead: a minute without an answer is.
        livenessProbe=probe("/healthz", HTTP, period=10, failures=6),
        lifecycle={"preStop": {"sleep": {"seconds": WITHDRAWN}}},
    )
    replicas = values.gateway.replicas if role == "gateway" else 1
    return deployment(
        role,
        values,
        made,
        annotations={CONFIG_DIGEST: digest(gateway_settings(specs, values))},
        replicas=None if scales else replicas,
        grace=WITHDRAWN + DRAIN + CONFIRMED,
    )


def _environment(role: str, values: Values) -> dict[str, str]:
    found = {
        "LUMBRE_HOST": "0.0.0.0",
        "LUMBRE_PORT": str(GATEWAY_PORT),
        "LUMBRE_CATALOG": CATALOG,
        "LUMBRE_GRACE": str(DRAIN),
    }
    if _serves_scaler(role, values):
        found["LUMBRE_SCALER_PORT"] = str(SCALER_PORT)
    if values.gateway.insecure:
        found["LUMBRE_INSECURE"] = "true"
    else:  # it starts without a key, and serves nobody until there is one
        found["LUMBRE_KEYS"] = "on"
    return found


def _autoscaler(values: Values) -> Object:
    own = labels("gateway")
    usage = {"type": "Utilization", "averageUtilization": BUSY}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(GATEWAY, values, own),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": GATEWAY},
            "minReplicas": values.gateway.replicas,
            "maxReplicas": values.gateway.max_replicas,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": usage}}],
            "behavior": {
                "scaleUp": {
                    "stabilizationWindowSeconds": 0,
                    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
                },
                # Who waits for an outcome is told to ask again: a gateway goes rarely.
                "scaleDown": {
                    "stabilizationWindowSeconds": 300,
                    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
                },
            },
        },
    }


def longest_wait(values: Values) -> int:
    """Seconds that a route must let an answer take: LUMBRE_MAX_WAIT and 10 more."""
    return math.ceil(values.gateway.max_wait) + 10
