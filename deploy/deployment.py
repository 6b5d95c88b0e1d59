"""The Deployment of a role, and the one container of its pods."""

from collections.abc import Mapping, Sequence
from typing import Any

from deploy.access import account
from deploy.namespace import GATEWAY as PRIORITY
from deploy.pod import (
    Object,
    container_security,
    env_from,
    environment,
    labels,
    metadata,
    mounts,
    pod,
    resources,
    selector,
    spread,
    volumes,
)
from deploy.values import Values


def deployment(
    role: str,
    values: Values,
    container: Object,
    *,
    annotations: Mapping[str, str],
    replicas: int | None,
    grace: int,
) -> Object:
    """`lumbre-ROLE`; `replicas` None leaves the count to an HPA; `grace`: as of `pod.pod`."""
    own = labels(role)
    spec = pod(
        values,
        [container],
        account=account(role),
        volumes=volumes(values),
        grace=grace,
        priority=PRIORITY,
    )
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(f"lumbre-{role}", values, own),
        "spec": {
            **({} if replicas is None else {"replicas": replicas}),
            "revisionHistoryLimit": 5,
            # One more first: with one replica there is always one.
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
            },
            "selector": {"matchLabels": selector(own)},
            "template": {
                "metadata": {"labels": own, "annotations": dict(annotations)},
                "spec": spec | {"topologySpreadConstraints": spread(own)},
            },
        },
    }


def container(
    name: str,
    values: Values,
    args: Sequence[str],
    *,
    cpu: str,
    memory: str,
    ledger: bool = True,
    broker: bool = True,
    blobs: bool = True,
    env: Mapping[str, str] | None = None,
    secrets: Sequence[Object] = (),
    **more: Any,
) -> Object:
    """A container of the image without torch, after whose `lumbre` come `args`.

    `ledger`, `broker`, `blobs`: which stores it has the credentials of.
    """
    own = [{"name": key, "value": value} for key, value in (env or {}).items()]
    return {
        "name": name,
        "image": values.images.gateway,
        "imagePullPolicy": values.images.pull_policy,
        "args": list(args),
        "envFrom": env_from(values, blobs=blobs),
        "env": [*own, *environment(values, ledger=ledger, broker=broker), *secrets],
        **more,
        "resources": resources(cpu, memory),
        "securityContext": container_security(),
        "volumeMounts": mounts(values, blobs=blobs),
    }
