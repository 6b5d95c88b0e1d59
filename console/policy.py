"""How replicas of a function follow its backlog, in words, and as a cluster would be told."""

from typing import Any

from autoscaler.document import as_yaml
from autoscaler.keda import DEFAULT_MOST, LONGEST, scaled_object
from console import numbers
from runtime.function import FunctionSpec, Scaling
from runtime.model import Device


def policy_view(spec: FunctionSpec, device: Device, most: int | None) -> dict[str, Any]:
    """The scaling of one device; `most` is how many replicas there is hardware for, if known."""
    scaling, text = spec.scaling[device], None
    if spec.timeout <= LONGEST:  # above it is a ScaledJob, which needs a pod, too
        text = as_yaml(scaled_object(spec.name, device, scaling, most or DEFAULT_MOST))
    return {"device": device, "words": policy_words(scaling, most), "yaml": text}


def policy_words(scaling: Scaling, most: int | None) -> list[str]:
    """What the fields mean, one sentence for each thing that happens."""
    least = scaling.min_replicas
    return [
        _rest(least, scaling.activation),
        f"From then on there is one replica for every {_messages(scaling.target)} that"
        f" {'waits or runs' if scaling.target == 1 else 'wait or run'},"
        f" at most {_most(scaling, most)}.",
        f"The queue is looked at every {span(scaling.polling_interval)}, and here at once when a"
        " message comes to an empty queue.",
        f"Fewer replicas are kept once fewer would have been enough for"
        f" {span(scaling.stabilization_window)};"
        f" within {scaling.tolerance * 100:g} % of the target nothing changes.",
        *_end(least, scaling.cooldown),
    ]


def _rest(least: int, activation: float) -> str:
    if least:
        noun = "replica" if least == 1 else "replicas"
        return f"At least {least:,} {noun} always {'is' if least == 1 else 'are'} there."
    if not activation:
        return "It rests at zero, and the first message wakes it."
    return f"It rests at zero, and wakes when more than {_messages(activation)} wait."


def _end(least: int, cooldown: float) -> list[str]:
    if least:
        return []
    return [f"The last replica goes when there was no message for {span(cooldown)}."]


def _messages(amount: float) -> str:
    return "message" if amount == 1 else f"{amount:g} messages"


def _most(scaling: Scaling, most: int | None) -> str:
    if scaling.max_replicas:
        return numbers.count(scaling.max_replicas)
    room = "as many as there is hardware for"
    return f"{numbers.count(most)} ({room} here)" if most else room


def span(seconds: float) -> str:
    """A span that somebody set, as it was set: 2 s, 0.5 s, 5 min."""
    if not seconds:
        return "no time at all"
    if seconds < 60 or seconds % 60:
        return f"{seconds:g} s"
    return numbers.seconds(seconds)
