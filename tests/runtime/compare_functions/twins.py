"""Functions that run on both devices, and not always alike."""

import time
from pathlib import Path
from typing import Annotated, Any

from runtime import Context, MediaType, Scaling, function
from runtime.model import Device

BOTH: tuple[Device, ...] = ("cpu", "gpu")
ONE = Scaling(max_replicas=1)


@function(devices=BOTH, scaling=ONE, cost="n")
def twice(context: Context, n: int) -> dict[str, Any]:
    """Double a number, with a rate that differs and what makes a thousandth of difference."""
    on_gpu = context.simulated
    time.sleep(0.002 if on_gpu else 0.02)
    return {
        "product": 2 * n,
        "about": [1.0005 if on_gpu else 1.0],
        "rate": 30.0 if on_gpu else 3.0,
        "name": "the same",
    }


@function(devices=BOTH, scaling=ONE)
def measure(context: Context, image: Annotated[bytes, MediaType("image/png")], by: int = 1) -> int:
    """Count the bytes of an upload."""
    return len(image) * by


@function(devices=BOTH, scaling=ONE)
def moody(context: Context) -> int:
    """Succeed on the CPU only."""
    if context.simulated:
        raise RuntimeError("no luck on this device")
    return 1


@function(devices=BOTH, scaling=ONE)
def hold(context: Context, gate: str) -> str:
    """Run until a file is there; tell when each device began by a file beside it."""
    path = Path(gate)
    (path.parent / ("gpu" if context.simulated else "cpu")).touch()
    while not path.exists():
        time.sleep(0.01)
    return "done"


@function(devices=BOTH, scaling=ONE)
def draw(context: Context) -> Annotated[bytes, MediaType("image/png")]:
    """Give bytes rather than JSON."""
    return b"\x89PNG"


@function(scaling=ONE)
def grounded(n: int = 1) -> int:
    """Run on the CPU only."""
    return n
