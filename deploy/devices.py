"""Which devices of a function a cluster has: the others are not rendered."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from deploy.values import Values
from runtime.function import FunctionSpec


def held_to_devices(specs: Sequence[FunctionSpec], values: Values) -> list[FunctionSpec]:
    """The specs with the devices that `values.devices` has, in the functions' own order."""
    return [
        replace(spec, devices=tuple(d for d in spec.devices if d in values.devices))
        for spec in specs
    ]


def device_faults(specs: Sequence[FunctionSpec], values: Values) -> Iterator[str]:
    """Functions that no device is left of, and what to change."""
    for spec, held in zip(specs, held_to_devices(specs, values), strict=True):
        if not held.devices:
            own, there = " and ".join(spec.devices), " and ".join(values.devices)
            yield (
                f"function {spec.name}: it runs on {own} only, and devices has {there}: add"
                f" {spec.devices[0]} to devices where the cluster has it, or to the function's"
                f" devices {values.devices[0]}, or leave the function out"
            )
