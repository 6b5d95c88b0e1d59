"""PodDisruptionBudgets: what a drain of a node may take at once.

They hold back drains only: scale-in and rollouts delete pods whatever a budget says.
"""

from typing import Literal

from deploy.pod import Object, metadata
from deploy.values import Values


def budget(
    name: str,
    values: Values,
    labels: dict[str, str],
    selector: dict[str, str],
    unhealthy: Literal["AlwaysAllow", "IfHealthyBudget"] = "AlwaysAllow",
) -> Object:
    """One pod at a time.  `unhealthy`: pods that are not ready may always go, or count as gone."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(name, values, labels),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": unhealthy,
            "selector": {"matchLabels": selector},
        },
    }
