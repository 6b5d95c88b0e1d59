"""What all pods of Lumbre share: names, labels, rights, variables, volumes and probes.

Pods keep to Pod Security's level "restricted", and more than it asks: their root file system is
read-only, they have no Kubernetes token unless they need one, and no variables of other Services.
"""

import hashlib
import json
from typing import Any

from deploy.values import Values

Object = dict[str, Any]  # a Kubernetes object, or a part of one, as it stands in the YAML

USER = 10001  # uid and gid in Lumbre's images
PREFIX = "lumbre"
CONFIG = "lumbre"  # the ConfigMap of settings
AUTHORITY = "lumbre-broker-ca"  # the ConfigMap of the certificates that prove an external broker
AUTHORITY_KEY = "ca.crt"
TRUSTED = "/etc/lumbre"
FUNCTION = "lumbre.dev/function"
DEVICE = "lumbre.dev/device"
CONFIG_DIGEST = "lumbre.dev/config"  # a pod's annotation: another configuration is another pod
NAME = "app.kubernetes.io/name"
COMPONENT = "app.kubernetes.io/component"
SELECTING = (NAME, COMPONENT, FUNCTION, DEVICE)  # labels that tell the pods of one workload
HOME = "/var/lib/lumbre"  # writable; nothing else is but /tmp
BLOBS = f"{HOME}/blobs"
BLOB_CLAIM = "lumbre-blobs"  # the PersistentVolumeClaim, where blobs are on a volume
GATEWAY_PORT = 8080
HEALTH_PORT = 8081  # of workers and recorders: probes and metrics
SCALER_PORT = 6000  # of gateways, where KEDA asks with trigger=push
HTTP = "http"  # the names of these ports
HEALTH = "health"
SCALER = "scaler"


def labels(component: str, **more: str) -> dict[str, str]:
    """The labels of everything of one component; `function=` and `device=` tell workers apart."""
    names = {"function": FUNCTION, "device": DEVICE}
    return {
        NAME: "lumbre",
        COMPONENT: component,
        "app.kubernetes.io/part-of": "lumbre",
        "app.kubernetes.io/managed-by": "lumbre",
    } | {names.get(name, name): value for name, value in more.items()}


def selector(labels: dict[str, str]) -> dict[str, str]:
    """Those of the labels that pods are found by: a workload's selector cannot be changed."""
    return {name: labels[name] for name in SELECTING if name in labels}


def metadata(name: str, values: Values, labels: dict[str, str], **more: Any) -> Object:
    """The metadata of an object in the namespace; `more` are its further fields."""
    return {"name": name, "namespace": values.namespace, "labels": labels} | more


def host(service: str, values: Values) -> str:
    """A Service's name in DNS, as pods of every namespace know it."""
    return f"{service}.{values.namespace}.svc"


def pod_security(user: int = USER) -> Object:
    """A pod's securityContext: one user who is not root, whose group owns its volumes."""
    return {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": user,
        "fsGroup": user,
        "fsGroupChangePolicy": "OnRootMismatch",  # all of a full volume takes minutes
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> Object:
    """A container's securityContext: "restricted", and a root file system that is read-only."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def pod(
    values: Values,
    containers: list[Object],
    *,
    account: str,
    volumes: list[Object],
    grace: int = 30,
    priority: str = "",
    token: bool = False,
    user: int = USER,
) -> Object:
    """A pod's spec. `grace`: seconds from SIGTERM to SIGKILL; `token`: may it ask Kubernetes."""
    secrets = [{"name": name} for name in values.images.pull_secrets]
    return (
        {
            "serviceAccountName": account,
            "automountServiceAccountToken": token,
            "enableServiceLinks": False,  # LUMBRE_…_PORT=tcp://… would stand among the settings
        }
        | ({"imagePullSecrets": secrets} if secrets else {})
        | ({"priorityClassName": priority} if priority else {})
        | {
            "terminationGracePeriodSeconds": grace,
            "securityContext": pod_security(user),
            "containers": containers,
            "volumes": volumes,
        }
    )


def settings(values: Values) -> dict[str, str]:
    """The settings (LUMBRE_*) that all pods have, but for those that depend on the functions."""
    found = {
        "LUMBRE_BROKER_URL": values.broker.url or f"amqp://{host('lumbre-rabbitmq', values)}:5672/",
        "LUMBRE_MANAGEMENT_URL": management_url(values),
        "LUMBRE_CONSUMER_TIMEOUT": f"{values.broker.consumer_timeout:g}",
        "LUMBRE_BLOBS_URL": values.blobs.url or f"file://{BLOBS}",
        "LUMBRE_STATE": f"{HOME}/state",
        "LUMBRE_FUNCTIONS": values.functions_path,
        "LUMBRE_LOG_FORMAT": "json",
        "LUMBRE_MAX_WAIT": f"{values.gateway.max_wait:g}",
    }
    if values.broker.ca:
        found["LUMBRE_BROKER_CA"] = f"{TRUSTED}/{_authority_file(values)}"
    if values.gateway.route.host:
        found["LUMBRE_PUBLIC_URL"] = public_url(values)
    if values.callbacks.hosts:
        found["LUMBRE_CALLBACK_HOSTS"] = ",".join(values.callbacks.hosts)
    return found | {f"LUMBRE_{name.upper()}": text for name, text in values.settings.items()}


def _authority_file(values: Values) -> str:
    """Other certificates are another file: so another setting, for which pods start anew."""
    return f"broker-{digest(values.broker.ca)}.crt"


def public_url(values: Values) -> str:
    """Where callers outside the cluster reach the gateway."""
    route = values.gateway.route
    plain = route.kind == "ingress" and not route.tls_secret
    return f"{'http' if plain else 'https'}://{route.host}"


def management_url(values: Values) -> str:
    """RabbitMQ's management API, as pods of every namespace reach it."""
    return values.broker.management_url or f"http://{host('lumbre-rabbitmq', values)}:15672"


def digest(content: Any) -> str:
    """Ten digits that are others where the content is another."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]


def annotations(values: Values) -> dict[str, str]:
    """A pod's annotations: pods read their settings once, so others need another pod."""
    return {CONFIG_DIGEST: digest(settings(values))}


def env_from(values: Values, *, blobs: bool = True) -> list[Object]:
    """`envFrom` of a container of Lumbre: the ConfigMap, and the blobs' Secret if any."""
    sources: list[Object] = [{"configMapRef": {"name": CONFIG}}]
    if blobs and values.blobs.secret:
        sources.append({"secretRef": {"name": values.blobs.secret}})
    return sources


def environment(values: Values, *, ledger: bool, broker: bool = True) -> list[Object]:
    """`env` of a container of Lumbre: what comes from Secrets; `ledger`: its URL, too."""
    found: list[Object] = [{"name": "HOME", "value": HOME}]  # caches of libraries go there
    if broker:
        found.append(_secret("LUMBRE_BROKER_USERNAME", values.broker.secret, "username"))
        found.append(_secret("LUMBRE_BROKER_PASSWORD", values.broker.secret, "password"))
    if ledger:
        found.append(_secret("LUMBRE_LEDGER_URL", values.database.secret, "url"))
    return found


def callback_secret(values: Values) -> list[Object]:
    """`env` of who sends callbacks, or judges their URLs: the secret that signs them, if any."""
    name = values.callbacks.secret
    return [_secret("LUMBRE_CALLBACK_SECRET", name, "secret")] if name else []


def _secret(variable: str, secret: str, key: str) -> Object:
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def volumes(values: Values, *, shm: bool = False, blobs: bool = True) -> list[Object]:
    """The places of a container of Lumbre; `shm`: /dev/shm of more than 64 MiB."""
    found: list[Object] = [
        {"name": "state", "emptyDir": {"sizeLimit": values.workers.scratch}},
        {"name": "tmp", "emptyDir": {"sizeLimit": values.workers.scratch}},
    ]
    if blobs and not values.blobs.url:
        found.append({"name": "blobs", "persistentVolumeClaim": {"claimName": BLOB_CLAIM}})
    if values.broker.ca:
        items = [{"key": AUTHORITY_KEY, "path": _authority_file(values)}]
        found.append({"name": "trusted", "configMap": {"name": AUTHORITY, "items": items}})
    if shm:  # counts as memory of the container, and is limited by that, too
        memory = {"medium": "Memory", "sizeLimit": values.workers.shm}
        found.append({"name": "shm", "emptyDir": memory})
    return found


def mounts(values: Values, *, shm: bool = False, blobs: bool = True) -> list[Object]:
    """Where `volumes` of the same arguments are in the container."""
    found: list[Object] = [
        {"name": "state", "mountPath": HOME},
        {"name": "tmp", "mountPath": "/tmp"},
    ]
    if blobs and not values.blobs.url:
        found.append({"name": "blobs", "mountPath": BLOBS})
    if values.broker.ca:
        found.append({"name": "trusted", "mountPath": TRUSTED, "readOnly": True})
    if shm:
        found.append({"name": "shm", "mountPath": "/dev/shm"})
    return found


def probe(path: str, port: str, *, period: int, timeout: int = 5, failures: int = 3) -> Object:
    """An HTTP probe of a container's port (by name): seconds between two, and for one answer."""
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }


def tcp_probe(port: str, *, period: int, timeout: int = 5, failures: int = 3) -> Object:
    """A probe that is content with a connection to a container's port (by name)."""
    return {
        "tcpSocket": {"port": port},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }


def spread(labels: dict[str, str]) -> list[Object]:
    """`topologySpreadConstraints`: replicas on several nodes and zones, where there are such."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": selector(labels)},
            "matchLabelKeys": ["pod-template-hash"],  # a rollout's new pods among themselves
        }
        for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
    ]


def resources(cpu: str, memory: str) -> Object:
    """Requests, and a limit of memory; no limit of CPU, which would only leave cores idle."""
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": memory}}
