"""What is in objects: pods, their containers, and what these refer to."""

from collections.abc import Iterable, Iterator
from typing import Any

from deploy.pod import Object


def templates(objects: Iterable[Object]) -> Iterator[tuple[str, Object]]:
    """The pod templates, each with its object's name."""
    for found in objects:
        spec = found.get("spec", {})
        name = f"{found['kind']} {found['metadata']['name']}"
        if "jobTargetRef" in spec:
            yield name, spec["jobTargetRef"]["template"]
        elif isinstance(spec, dict) and "containers" in spec.get("template", {}).get("spec", {}):
            yield name, spec["template"]


def containers(template: Object) -> list[Object]:
    """All containers of a pod template."""
    spec = template["spec"]
    return [*spec["containers"], *spec.get("initContainers", ())]


def named_ports(template: Object) -> set[str]:
    """The names of a pod's ports."""
    return {port["name"] for each in containers(template) for port in each.get("ports", ())}


def references(found: Object) -> set[tuple[str, str, str]]:
    """What an object refers to in its namespace: kind, name, and a key where one is named."""
    return {*_walk(found, found["kind"])}


def _walk(value: Any, kind: str) -> Iterator[tuple[str, str, str]]:
    if isinstance(value, list):
        for each in value:
            yield from _walk(each, kind)
    if not isinstance(value, dict):
        return
    for field, inner in value.items():
        if field in _NAMED and isinstance(inner, dict) and "name" in inner:
            yield _NAMED[field], inner["name"], inner.get("key", "")
        elif field == "configMap" and "name" in inner:
            yield "ConfigMap", inner["name"], ""
        elif field == "secret" and "secretName" in inner:
            yield "Secret", inner["secretName"], ""
        elif field == "persistentVolumeClaim":
            yield "PersistentVolumeClaim", inner["claimName"], ""
        elif field == "serviceAccountName":
            yield "ServiceAccount", inner, ""
        elif field == "priorityClassName":
            yield "PriorityClass", inner, ""
        elif field == "resourceClaimTemplateName":
            yield "ResourceClaimTemplate", inner, ""
        elif field == "imagePullSecrets":
            yield from (("Secret", each["name"], "") for each in inner)
        elif field == "secretTargetRef":
            yield from (("Secret", each["name"], each["key"]) for each in inner)
        elif field == "configMapTargetRef":
            yield from (("ConfigMap", each["name"], each["key"]) for each in inner)
        elif field == "backendRefs":
            yield from (("Service", each["name"], "") for each in inner)
        elif field == "tls" and kind == "Ingress":
            yield from (("Secret", each["secretName"], "") for each in inner)
        elif field == "policyName":
            yield "ValidatingAdmissionPolicy", inner, ""
        elif field in ("scaleTargetRef", "roleRef"):
            yield inner.get("kind", "Deployment"), inner["name"], ""
        elif field == "subjects":
            yield from ((each["kind"], each["name"], "") for each in inner)
        elif field == "serviceName":
            yield "Service", inner, ""
        else:
            yield from _walk(inner, kind)


_NAMED = {
    "configMapRef": "ConfigMap",
    "configMapKeyRef": "ConfigMap",
    "secretRef": "Secret",
    "secretKeyRef": "Secret",
    "service": "Service",
    "authenticationRef": "TriggerAuthentication",
    "credentials": "Secret",
}
