"""Names of functions, as a cluster takes them: labels, and names of resources that differ."""

import re
from collections.abc import Iterator, Sequence

from autoscaler.keda import resource_name
from runtime.function import FunctionSpec
from runtime.model import Device

# Kubernetes: Labels and Selectors, "Syntax and character set"; a function's own rule allows more.
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


def name_faults(specs: Sequence[FunctionSpec]) -> Iterator[str]:
    """What is wrong with each name, and what to change; resources of two functions never meet."""
    taken: dict[str, tuple[str, Device]] = {}
    for spec in specs:
        if not LABEL_VALUE.fullmatch(spec.name):
            yield (
                f"function {spec.name}: Kubernetes takes no such name for a label: rename the"
                " function so that it ends with a letter or a digit, and has at most 63 characters"
            )
        for device in spec.devices:
            name = resource_name(spec.name, device)
            if name in taken:
                other, on = taken[name]
                yield (
                    f"function {spec.name} on {device}: its resources would be called {name}, as"
                    f" those of {other} on {on} are: rename one of the two"
                )
            taken[name] = (spec.name, device)
