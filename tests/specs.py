"""Specs of functions for tests that run none of them: made up, or those of the shipped files."""

import subprocess
import sys
from functools import cache
from typing import Any

import orjson
from hypothesis import strategies as st

from runtime.function import NAME, FunctionSpec, Resources, Scaling, spec_from_json
from tests.support import ROOT


def made_up(name: str = "work", **fields: Any) -> FunctionSpec:
    """A function that nobody wrote, on the CPU and for 60 s unless said otherwise."""
    devices = fields.pop("devices", ("cpu",))
    scaling = fields.pop("scaling", Scaling())
    usual: dict[str, Any] = {
        "description": "",
        "file": f"functions/{name}.py",
        "attribute": name,
        "version": "1",
        "timeout": 60.0,
        "cost": None,
        "resources": Resources(),
        "max_attempts": 3,
        "batching": None,
        "retries": None,
        "streams": False,
        "parameters": (),
        "binary": {},
        "input_schema": {},
        "output_schema": {},
    }
    per_device = scaling if isinstance(scaling, dict) else dict.fromkeys(devices, scaling)
    return FunctionSpec(name=name, devices=devices, scaling=per_device, **usual | fields)


@cache
def shipped() -> tuple[FunctionSpec, ...]:
    """The specs of functions/, by name; described once, in a process of its own."""
    command = [sys.executable, "-m", "runtime", "bake", "functions", "--output", "-"]
    baked = orjson.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    specs = [spec_from_json(s) for entry in baked["files"].values() for s in entry["functions"]]
    return tuple(sorted(specs, key=lambda spec: spec.name))


def _seconds(least: float, most: float) -> st.SearchStrategy[float]:
    return st.floats(least, most, allow_nan=False) | st.integers(int(least) + 1, int(most))


@st.composite
def scalings(draw: st.DrawFn) -> Scaling:
    """Scalings that @function takes, over all their fields."""
    least = draw(st.integers(0, 3))
    return Scaling(
        min_replicas=least,
        max_replicas=draw(st.none() | st.integers(max(1, least), 12)),
        target=draw(st.sampled_from([0.5, 1, 2.5, 4, 8]) | st.floats(0.001, 1e6)),
        activation=draw(st.sampled_from([0, 0, 0, 2, 2.5])),
        polling_interval=draw(_seconds(0.1, 60)),
        cooldown=draw(_seconds(0, 300)),
        stabilization_window=draw(_seconds(0, 4000)),
        tolerance=draw(st.sampled_from([0.1, 0, 0.05, 0.25])),
    )


@st.composite
def functions(draw: st.DrawFn) -> FunctionSpec:
    """Functions of every kind that `lumbre deploy` may meet, names included."""
    devices: tuple[Any, ...] = draw(st.sampled_from([("cpu",), ("gpu",), ("cpu", "gpu")]))
    return made_up(
        draw(st.from_regex(NAME, fullmatch=True)),
        devices=devices,
        timeout=draw(st.floats(0.1, 900) | st.floats(900.1, 10_000)),
        scaling={device: draw(scalings()) for device in devices},
        resources=Resources(
            draw(st.none() | st.integers(1, 64)), draw(st.none() | st.integers(1, 2**40))
        ),
    )
