"""What a ScaledObject makes of a backlog: its YAML read back as the policy that `decide` follows.

What is left out has the defaults of KEDA 2.20 (scaledobject_types.go, hpa.go) and of Kubernetes'
HorizontalPodAutoscaler v2, so any ScaledObject of one queue can be read, not only ours.
"""

from collections.abc import Mapping
from typing import Any, Literal

from autoscaler.policy import Behavior, Fallback, Policy, Rate, Rates
from autoscaler.trigger import MESSAGE_RATE, check_trigger
from runtime.errors import ConfigurationError

HPA_SYNC = 15.0  # seconds, kube-controller-manager's --horizontal-pod-autoscaler-sync-period
DOWN_WINDOW = 300.0  # seconds, of scaling in, where it is not said
TOLERANCE = 0.1
_SELECT: dict[str, Literal["max", "min", "disabled"]] = {
    "Max": "max",
    "Min": "min",
    "Disabled": "disabled",
}
_UNITS: dict[str, Literal["replicas", "percent"]] = {"Pods": "replicas", "Percent": "percent"}


def policy_of(scaled_object: Mapping[str, Any], *, sync_interval: float = HPA_SYNC) -> Policy:
    """The policy that KEDA and the HPA follow for a ScaledObject, as it stands in the YAML.

    Raises ConfigurationError for what no policy says: other triggers than one of a queue, and
    perhaps its rate beside it, a trigger that `check_trigger` refuses, two tolerances.
    """
    name = scaled_object.get("metadata", {}).get("name", "?")
    if (kind := scaled_object.get("kind")) != "ScaledObject":
        raise ConfigurationError(f"{name} is a {kind}: a policy is read from a ScaledObject")
    spec = scaled_object["spec"]
    metadata, counts_rate = _triggers(name, spec.get("triggers", []))
    config = spec.get("advanced", {}).get("horizontalPodAutoscalerConfig", {})
    behavior: Mapping[str, Any] | None = config.get("behavior")
    up, down = ((behavior or {}).get(way) or {} for way in ("scaleUp", "scaleDown"))
    return Policy(
        target=float(metadata["value"]),
        min_replicas=spec.get("minReplicaCount", 0),
        max_replicas=spec.get("maxReplicaCount", 100),
        activation=float(metadata.get("activationValue", 0)),
        counts_rate=counts_rate,
        polling_interval=spec.get("pollingInterval", 30),
        cooldown=spec.get("cooldownPeriod", 300),
        initial_cooldown=spec.get("initialCooldownPeriod", 0),
        idle_replicas=spec.get("idleReplicaCount"),
        sync_interval=sync_interval,
        tolerance=_tolerance(name, up, down),
        stabilization_window=down.get("stabilizationWindowSeconds", DOWN_WINDOW),
        scale_up_window=up.get("stabilizationWindowSeconds", 0),
        behavior=None if behavior is None else Behavior(*_both(up, down)),
        fallback=_fallback(spec.get("fallback")),
    )


def _triggers(name: str, triggers: list[Any]) -> tuple[Mapping[str, Any], bool]:
    """The metadata of the backlog's, and whether there is one of the rate beside it."""
    if not 1 <= len(triggers) <= 2:
        raise ConfigurationError(
            f"ScaledObject {name} has {len(triggers)} triggers: give it one, of one queue, and one"
            " of that queue's rate"
        )
    backlog: Mapping[str, Any] = triggers[0]
    check_trigger(backlog)
    for beside in triggers[1:]:
        check_trigger(beside, MESSAGE_RATE)
        for field in ("queueName", "activationValue"):
            if beside["metadata"].get(field) != backlog["metadata"].get(field):
                raise ConfigurationError(
                    f"ScaledObject {name}: its triggers differ in {field}: give both one"
                )
    return backlog["metadata"], len(triggers) == 2


def _tolerance(name: str, up: Mapping[str, Any], down: Mapping[str, Any]) -> float:
    """A quantity, as the API server may have written it anew: 0.05 and 50m are one."""
    found = {_quantity(str(way.get("tolerance", TOLERANCE))) for way in (up, down)}
    if len(found) > 1:
        raise ConfigurationError(
            f"ScaledObject {name}: scaleUp and scaleDown differ in their tolerance: give both one"
        )
    return found.pop()


def _quantity(text: str) -> float:
    scales = {"m": 1e-3, "u": 1e-6, "n": 1e-9}
    scale = scales.get(text[-1:])
    return float(text[:-1]) * scale if scale else float(text)


def _both(up: Mapping[str, Any], down: Mapping[str, Any]) -> tuple[Rates, Rates]:
    default = Behavior()
    return _rates(up, default.scale_up), _rates(down, default.scale_down)


def _rates(rules: Mapping[str, Any], default: Rates) -> Rates:
    """The HPA fills in what is missing, each part on its own (autoscaling/v2 defaults.go)."""
    given = rules.get("policies")
    rates = tuple(Rate(p["value"], _UNITS[p["type"]], p["periodSeconds"]) for p in given or ())
    return Rates(rates or default.rates, _SELECT[rules.get("selectPolicy", "Max")])


def _fallback(given: Mapping[str, Any] | None) -> Fallback | None:
    if given is None:
        return None
    behavior = given.get("behavior", "static")
    if behavior == "scalingModifiers":
        raise ConfigurationError("fallback.behavior scalingModifiers is for formulas, not a queue")
    return Fallback(given["failureThreshold"], given["replicas"], behavior)
