"""What an object of a cluster is called, and which objects there are Lumbre's."""

from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]  # as it stands in the YAML

NAME = "app.kubernetes.io/name"
COMPONENT = "app.kubernetes.io/component"
MANAGED_BY = "app.kubernetes.io/managed-by"
FUNCTION, DEVICE = "lumbre.dev/function", "lumbre.dev/device"
OURS = f"{MANAGED_BY}=lumbre"  # the label selector of everything that `lumbre deploy` applies


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """Where an object is; `namespace` is empty for what belongs to the whole cluster."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def labels_of(found: Object) -> dict[str, str]:
    """An object's labels; none where it has none."""
    return found.get("metadata", {}).get("labels") or {}


def is_controlled(found: Object) -> bool:
    """Whether another object made this one and will delete it, as KEDA does with its HPAs.

    Such an object has the labels of its maker, and is not ours to change.
    """
    owners = found.get("metadata", {}).get("ownerReferences") or ()
    return any(owner.get("controller") for owner in owners)
