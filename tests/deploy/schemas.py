"""What Kubernetes, KEDA and the operators would say of objects, without any of them.

Kubernetes' own kinds are held to its OpenAPI schemas, of the oldest version that Lumbre supports
and of the newest known; KEDA's to models made from its definitions.  Of the other kinds this file
says what Lumbre uses of their definitions (RabbitMQ cluster operator 2.22, Gateway API 1.4,
Prometheus operator 0.88), and takes nothing else.
"""

import json
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate  # type: ignore[import-untyped]
from cloudcoil.models.keda import v1alpha1 as keda
from kubernetes_validate import utils
from pydantic import ValidationError

from deploy.pod import Object

OLDEST = "1.30"
NEWEST: str = kubernetes_validate.latest_version().rpartition(".")[0]
SINCE = {"resource.k8s.io/v1": "1.34"}  # of those that OLDEST does not have
CLAIMING = "1.34"  # the oldest for pods that claim devices
# Otherwise every check reads a file of all definitions again (20 ms).
setattr(utils, "schema_contents", cache(utils.schema_contents))  # noqa: B010
# Fields of KEDA 2.20 that the models, which are of 2.16, do not have.
NEWER = (".fallback.behavior",)

TEXT: Object = {"type": "string", "minLength": 1}
COUNT: Object = {"type": "integer", "minimum": 0}
TEXTS: Object = {"type": "object", "additionalProperties": {"type": "string"}}


def _object(required: Object, **optional: Object) -> Object:
    return {
        "type": "object",
        "properties": required | optional,
        "required": [*required],
        "additionalProperties": False,
    }


def _list(of: Object) -> Object:
    return {"type": "array", "items": of, "minItems": 1}


def _word(*words: str) -> Object:
    return {"enum": list(words)}


DURATION: Object = {"type": "string", "pattern": r"^([0-9]+(ms|s|m|h))+$"}
SELECTOR = _object(
    {},
    matchLabels=TEXTS,
    matchExpressions=_list(_object({"key": TEXT, "operator": _word("In"), "values": _list(TEXT)})),
)
RELABELING = _object({"sourceLabels": _list(TEXT), "regex": TEXT, "action": _word("drop")})
SECRET_KEY = _object({"name": TEXT, "key": TEXT})
ENDPOINT = _object(
    {"port": TEXT},
    path=TEXT,
    interval=DURATION,
    metricRelabelings=_list(RELABELING),
    authorization=_object({"type": _word("Bearer"), "credentials": SECRET_KEY}),
)
ALERT = _object(
    {"alert": TEXT, "expr": TEXT},
    **{"for": DURATION, "labels": TEXTS, "annotations": TEXTS},
)
MATCH = _object(
    {"path": _object({"type": _word("PathPrefix"), "value": TEXT})},
    headers=_list(_object({"type": _word("Exact"), "name": TEXT, "value": TEXT})),
)
HTTP_RULE = _object(
    {"matches": _list(MATCH), "backendRefs": _list(_object({"name": TEXT, "port": COUNT}))},
    timeouts=_object({"request": DURATION}),
)
ANTI_AFFINITY = _object({"labelSelector": SELECTOR, "topologyKey": TEXT})
RESOURCES = _object({"cpu": TEXT, "memory": TEXT})
SPECS = {
    "RabbitmqCluster": _object(
        {
            "replicas": COUNT,
            "resources": _object({"requests": RESOURCES, "limits": RESOURCES}),
            "persistence": _object({"storage": TEXT}, storageClassName=TEXT),
            "rabbitmq": _object({"additionalConfig": TEXT}),
        },
        image=TEXT,
        imagePullSecrets=_list(_object({"name": TEXT})),
        affinity=_object(
            {
                "podAntiAffinity": _object(
                    {"requiredDuringSchedulingIgnoredDuringExecution": _list(ANTI_AFFINITY)}
                )
            }
        ),
    ),
    "HTTPRoute": _object(
        {
            "parentRefs": _list(_object({"name": TEXT}, namespace=TEXT)),
            "hostnames": _list(TEXT),
            "rules": _list(HTTP_RULE),
        }
    ),
    "ServiceMonitor": _object({"selector": SELECTOR, "endpoints": _list(ENDPOINT)}),
    "PodMonitor": _object({"selector": SELECTOR, "podMetricsEndpoints": _list(ENDPOINT)}),
    "PrometheusRule": _object({"groups": _list(_object({"name": TEXT, "rules": _list(ALERT)}))}),
}
VERSIONS = {
    "RabbitmqCluster": "rabbitmq.com/v1beta1",
    "HTTPRoute": "gateway.networking.k8s.io/v1",
    "ServiceMonitor": "monitoring.coreos.com/v1",
    "PodMonitor": "monitoring.coreos.com/v1",
    "PrometheusRule": "monitoring.coreos.com/v1",
}


def faults(objects: Iterable[Object]) -> list[str]:
    """A line for each object that would not be taken, or of which a field would be lost."""
    return [f"{_name(each)}: {fault}" for each in objects for fault in _cached(json.dumps(each))]


@cache
def _cached(found: str) -> tuple[str, ...]:
    """Most objects are in many bundles."""
    return tuple(_faults(json.loads(found)))


def _name(found: Object) -> str:
    return f"{found['kind']} {found['metadata']['name']}"


def _faults(found: Object) -> Iterator[str]:
    version = found["apiVersion"]
    if version == "keda.sh/v1alpha1":
        yield from _keda(found)
    elif found["kind"] in SPECS:
        if version != VERSIONS[found["kind"]]:
            yield f"{version} is not its version"
        checked = jsonschema.Draft202012Validator(SPECS[found["kind"]])
        yield from (
            f"spec{e.json_path[1:]}: {e.message}" for e in checked.iter_errors(found["spec"])
        )
    else:
        yield from _kubernetes(found)


def _kubernetes(found: Object) -> Iterator[str]:
    claims = "resourceClaims" in found.get("spec", {}).get("template", {}).get("spec", {})
    oldest = CLAIMING if claims else SINCE.get(found["apiVersion"], OLDEST)
    for version in (oldest, NEWEST):
        try:
            kubernetes_validate.validate(found, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            yield f"Kubernetes {version} has no {found['apiVersion']} {found['kind']}"
        except kubernetes_validate.ValidationError as error:
            yield f"Kubernetes {version}: {error}"


def _keda(found: Object) -> Iterator[str]:
    if job := found["spec"].get("jobTargetRef"):
        # The models cannot take numbers for quantities: what is a Job's is held to Kubernetes.
        metadata = {"name": "of-a-scaled-job"}
        whole = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": job}
        yield from _kubernetes(whole)
        spec = {"template": {"spec": {"containers": [{"name": "worker"}]}}}
        found = found | {"spec": found["spec"] | {"jobTargetRef": spec}}
    try:
        model = getattr(keda, found["kind"]).model_validate(found)
    except ValidationError as error:
        yield str(error)
        return
    kept = model.model_dump(by_alias=True, mode="json", exclude_unset=True)
    yield from (f"{path} is not known" for path in lost(found, kept) if not path.endswith(NEWER))


def lost(written: Any, read: Any, path: str = "") -> Iterator[str]:
    """The fields of what was written that were not read."""
    if isinstance(written, dict):
        for key, value in written.items():
            if not isinstance(read, dict) or key not in read:
                yield f"{path}.{key}"
            else:
                yield from lost(value, read[key], f"{path}.{key}")
    elif isinstance(written, list):
        for one, other in zip(written, read, strict=True):
            yield from lost(one, other, f"{path}[]")
