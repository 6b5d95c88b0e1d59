"""RabbitMQ: one pod, or a RabbitmqCluster of RabbitMQ's cluster operator, or one elsewhere.

The pod is for trying out: it loses nothing when it restarts, and nothing is taken while it does.
Probes are connections: `rabbitmq-diagnostics` starts an Erlang machine each time, which takes a
second of a core and fails just when the server is busy; health checks of the HTTP API ask for a
password.  There is no liveness probe, as in the operator's own pods: a server that is slow after a
restart reads its queues, and killing it makes it begin again.
"""

from typing import Any

from deploy.access import account
from deploy.blobs import claim
from deploy.budget import budget
from deploy.namespace import GATEWAY as PRIORITY
from deploy.pod import (
    CONFIG_DIGEST,
    NAME,
    Object,
    container_security,
    digest,
    labels,
    metadata,
    pod,
    resources,
    selector,
    tcp_probe,
)
from deploy.rabbitmq_conf import rabbitmq_conf, server_conf
from deploy.values import Values

BROKER = "lumbre-rabbitmq"  # the names of Service, StatefulSet, ConfigMap and RabbitmqCluster
IMAGE = "rabbitmq:4.2-management"
USER = 999  # rabbitmq, in the official image that is not Alpine's
DATA = "/var/lib/rabbitmq"
PORTS = {"amqp": 5672, "management": 15672, "prometheus": 15692}
GRACE = 120  # seconds to close queues


def broker(values: Values) -> list[Object]:
    """What the namespace has of RabbitMQ; nothing where it is elsewhere."""
    if values.broker.kind == "external":
        return []
    if values.broker.kind == "pod":
        return [_configuration(values), _service(values), _stateful_set(values)]
    found = [_cluster(values)]
    if values.broker.nodes > 1:
        # A node that is not ready may be what the majority lacks: it counts as gone.
        pods = broker_labels(values)
        found.append(budget(BROKER, values, labels("broker"), pods, "IfHealthyBudget"))
    return found


def broker_labels(values: Values) -> dict[str, str]:
    """What the broker's pods are found by; the operator labels its own."""
    operator = values.broker.kind == "operator"
    return {NAME: BROKER} if operator else selector(labels("broker"))


def _configuration(values: Values) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(BROKER, values, labels("broker")),
        "data": {"lumbre.conf": server_conf(values)},
    }


def _service(values: Values) -> Object:
    ports = [{"name": name, "port": port, "targetPort": name} for name, port in PORTS.items()]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(BROKER, values, labels("broker")),
        "spec": {"selector": broker_labels(values), "ports": ports},
    }


def _stateful_set(values: Values) -> Object:
    own = labels("broker")
    spec = pod(
        values,
        [_container(values)],
        account=account("broker"),
        volumes=[
            {"name": "configuration", "configMap": {"name": BROKER}},
            # Its Erlang cookie is here and not among the data: fsGroup would open it to the group,
            # and Erlang refuses a cookie that is not its owner's alone.
            {"name": "home", "emptyDir": {"sizeLimit": "256Mi"}},
            {"name": "log", "emptyDir": {"sizeLimit": "64Mi"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        ],
        grace=GRACE,
        priority=PRIORITY,
        user=USER,
    )
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(BROKER, values, own),
        "spec": {
            "serviceName": BROKER,
            "replicas": 1,
            "selector": {"matchLabels": selector(own)},
            "template": {
                "metadata": {
                    "labels": own,
                    "annotations": {CONFIG_DIGEST: digest(server_conf(values))},
                },
                "spec": spec,
            },
            "volumeClaimTemplates": [
                {
                    "metadata": {"name": "data", "labels": selector(own)},
                    "spec": claim(values.broker.storage),
                }
            ],
        },
    }


def _container(values: Values) -> Object:
    return {
        "name": "rabbitmq",
        "image": values.broker.image or IMAGE,
        "imagePullPolicy": values.images.pull_policy,
        "env": _environment(values),
        "ports": [{"name": name, "containerPort": port} for name, port in PORTS.items()],
        # The queues' listener opens last, when all has been read: 10 minutes are for that.
        "startupProbe": tcp_probe("amqp", period=5, failures=120),
        "readinessProbe": tcp_probe("amqp", period=10),
        "resources": resources(values.broker.cpu, values.broker.memory),
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": "configuration", "mountPath": "/etc/rabbitmq/conf.d", "readOnly": True},
            {"name": "home", "mountPath": DATA},
            {"name": "data", "mountPath": f"{DATA}/mnesia"},
            {"name": "log", "mountPath": "/var/log/rabbitmq"},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }


def _environment(values: Values) -> list[dict[str, Any]]:
    secret = values.broker.secret
    credentials = {"RABBITMQ_DEFAULT_USER": "username", "RABBITMQ_DEFAULT_PASS": "password"}
    return [
        # The name of the data's folder: the same on every node and in every namespace.
        {"name": "RABBITMQ_NODENAME", "value": "rabbit@localhost"},
        *(
            {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
            for name, key in credentials.items()
        ),
    ]


def _cluster(values: Values) -> Object:
    """Of the cluster operator 2.17 or newer: pods of older ones are not "restricted"."""
    images = [{"name": name} for name in values.images.pull_secrets]
    storage = values.broker.storage
    classed = {"storageClassName": storage.storage_class} if storage.storage_class else {}
    return {
        "apiVersion": "rabbitmq.com/v1beta1",
        "kind": "RabbitmqCluster",
        "metadata": metadata(BROKER, values, labels("broker")),
        "spec": {
            "replicas": values.broker.nodes,
            **({"image": values.broker.image} if values.broker.image else {}),
            **({"imagePullSecrets": images} if images else {}),
            "resources": _equal(values),
            "persistence": {**classed, "storage": storage.size},
            "rabbitmq": {"additionalConfig": rabbitmq_conf(values)},
            "affinity": _apart(values),
        },
    }


def _equal(values: Values) -> Object:
    """Requests are limits: RabbitMQ sizes its schedulers and its caches by what it may have."""
    each = {"cpu": values.broker.cpu, "memory": values.broker.memory}
    return {"requests": each, "limits": dict(each)}


def _apart(values: Values) -> Object:
    """No two nodes of it on one node of Kubernetes: a queue needs most of its three copies.

    The operator itself spreads them over zones.
    """
    term = {
        "labelSelector": {"matchLabels": broker_labels(values)},
        "topologyKey": "kubernetes.io/hostname",
    }
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
