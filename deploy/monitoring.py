"""What the Prometheus operator scrapes, and what somebody is told of."""

from typing import Any

from deploy.broker import BROKER, broker_labels
from deploy.gateway import GATEWAY
from deploy.namespace import PLATFORM
from deploy.pod import COMPONENT, HEALTH, HTTP, NAME, Object, labels, metadata, selector
from deploy.values import Values
from runtime.settings import Settings

API = "monitoring.coreos.com/v1"
TWICE = "lumbre_(invocations|phase_seconds)_.*"
ALARMS = ("memory_used_watermark", "free_disk_space_watermark")  # rabbitmq_alarms_…


def monitoring(values: Values) -> list[Object]:
    """ServiceMonitor, PodMonitors and PrometheusRule; nothing unless `monitoring.enabled`."""
    if not values.monitoring.enabled:
        return []
    found = [_gateways(values), _workers(values)]
    if values.broker.kind != "external":
        found.append(_broker(values))
    return [*found, _alerts(values)]


def _metadata(name: str, values: Values) -> Object:
    return metadata(name, values, labels(PLATFORM) | values.monitoring.labels)


def _endpoint(port: str, values: Values) -> Object:
    return {"port": port, "path": "/metrics", "interval": values.monitoring.interval}


def _gateways(values: Values) -> Object:
    endpoint = _endpoint(HTTP, values)
    if not values.gateway.insecure:  # /metrics needs a key that may `read`
        key = {"name": values.monitoring.secret, "key": "key"}
        endpoint["authorization"] = {"type": "Bearer", "credentials": key}
    # A recorder counts all that ends; a gateway counts again what its callers waited for.
    twice = {"sourceLabels": ["__name__"], "regex": TWICE, "action": "drop"}
    endpoint["metricRelabelings"] = [twice]
    return {
        "apiVersion": API,
        "kind": "ServiceMonitor",
        "metadata": _metadata(GATEWAY, values),
        "spec": {
            "selector": {"matchLabels": selector(labels("gateway"))},
            "endpoints": [endpoint],
        },
    }


def _pods(name: str, values: Values, chosen: Object, port: str) -> Object:
    return {
        "apiVersion": API,
        "kind": "PodMonitor",
        "metadata": _metadata(name, values),
        "spec": {"selector": chosen, "podMetricsEndpoints": [_endpoint(port, values)]},
    }


def _workers(values: Values) -> Object:
    either = {"key": COMPONENT, "operator": "In", "values": ["recorder", "worker"]}
    chosen = {"matchLabels": {NAME: "lumbre"}, "matchExpressions": [either]}
    return _pods("lumbre-worker", values, chosen, HEALTH)


def _broker(values: Values) -> Object:
    return _pods(BROKER, values, {"matchLabels": broker_labels(values)}, "prometheus")


def _alerts(values: Values) -> Object:
    rules = [*_role_alerts(values), *_queue_alerts(values)]
    if values.broker.kind != "external":
        rules.append(_broker_alert(values))
    return {
        "apiVersion": API,
        "kind": "PrometheusRule",
        "metadata": _metadata("lumbre", values),
        "spec": {"groups": [{"name": "lumbre", "rules": rules}]},
    }


def _alert(
    name: str, expression: str, minutes: int, severity: str, summary: str, description: str
) -> dict[str, Any]:
    return {
        "alert": f"Lumbre{name}",
        "expr": expression,
        "for": f"{minutes}m",
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "description": description},
    }


def _role_alerts(values: Values) -> list[Object]:
    space = f'namespace="{values.namespace}"'
    return [
        _alert(
            "GatewayAway",
            f'absent(up{{{space},service="{GATEWAY}"}} == 1)',
            2,
            "critical",
            "No gateway of Lumbre answers.",
            "Nothing is accepted. Look at the Deployment lumbre-gateway: its pods' events, and"
            " their logs, which name the store that is away or the key that is missing.",
        ),
        _alert(
            "RecorderAway",
            f'absent(up{{{space},container="recorder"}} == 1)',
            5,
            "critical",
            "No recorder of Lumbre runs.",
            "Outcomes wait in the queue `results`, and callers who asked for one wait, too."
            " Look at the Deployment lumbre-recorder.",
        ),
        _alert(
            "AuditDoesNotBalance",
            f"max(lumbre_audit_problems{{{space}}}) > 0",
            1,
            "critical",
            "An invocation that was accepted is nowhere, or was counted wrongly.",
            "{{ $value }} problems: `lumbre audit` names them, and `lumbre audit --repair` puts"
            " what is lost into its queue once more.",
        ),
    ]


def _queue_alerts(values: Values) -> list[Object]:
    space = f'namespace="{values.namespace}"'
    backlog = f'max by (function, device) (lumbre_backlog{{{space},state="ready"}})'
    serving = (
        "max by (function, device) (sum by (function, device, pod)"
        f' (lumbre_replicas{{{space},state=~"ready|busy"}}))'
    )
    limit = int(values.settings.get("queue_limit", Settings.model_fields["queue_limit"].default))
    return [
        _alert(
            "NobodyServes",
            f"{backlog} > 0 unless on (function, device) {serving} > 0",
            15,  # a node that comes, and its first image, may take ten
            "critical",
            "{{ $labels.function }} waits on {{ $labels.device }}, and nobody serves it.",
            "{{ $value }} invocations wait. `lumbre deploy status {{ $labels.function }}` says why"
            " there is no replica: no GPU is free, KEDA cannot ask, or its pods do not start.",
        ),
        _alert(
            "QueueNearlyFull",
            f"{backlog} > {limit * 8 // 10}",
            5,
            "warning",
            "The queue of {{ $labels.function }} on {{ $labels.device }} is nearly full.",
            f"{{{{ $value }}}} of {limit} invocations wait; beyond that callers get a 429."
            " More replicas (max_replicas) or fewer callers are needed.",
        ),
        _alert(
            "DeadLetters",
            f'max by (function, device) (lumbre_backlog{{{space},state="dead"}}) > 0',
            1,
            "warning",
            "{{ $labels.function }} has dead letters on {{ $labels.device }}.",
            "{{ $value }} invocations were given up: `lumbre letters` says why, `lumbre"
            " replay-letters` runs them again, `lumbre discard-letters` throws them away.",
        ),
    ]


def _broker_alert(values: Values) -> Object:
    either = " or ".join(
        f'max by (pod) (rabbitmq_alarms_{alarm}{{namespace="{values.namespace}"}}) == 1'
        for alarm in ALARMS
    )
    return _alert(
        "BrokerBlocks",
        either,
        1,
        "critical",
        "RabbitMQ takes no messages: too little memory, or disk.",
        "Every publish waits until {{ $labels.pod }} has room again: queues must get shorter, or"
        " broker.memory or broker.storage.size larger.",
    )
