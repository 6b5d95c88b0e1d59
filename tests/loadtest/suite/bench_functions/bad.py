"""Functions that fail, die, hang, or disagree."""

import os
import signal
import time
from typing import Any

from runtime import Context, function

calls = 0


@function(devices=("cpu", "gpu"))
def half(context: Context, n: int = 1) -> dict[str, float]:
    """Raise in every second call."""
    global calls
    calls += 1
    if calls % 2:
        raise ValueError("an odd call")
    return {"seconds": 0.001, "checksum": n}


@function(devices=("cpu", "gpu"))
def never(context: Context, n: int = 1) -> None:
    """Raise in every call."""
    raise ValueError("never")


@function(devices=("cpu", "gpu"))
def dies(context: Context, n: int = 1) -> float:
    """Die of a segmentation fault, from the size 2 on."""
    if n > 1:
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(10)
    return 1.0


@function(devices=("cpu", "gpu"))
def hangs(context: Context, n: int = 1) -> float:
    """Take far too long, from the size 2 on."""
    if n > 1:
        time.sleep(1000)
    return 1.0


@function(devices=("cpu", "gpu"))
def differs(context: Context, n: int = 1) -> dict[str, float | None]:
    """Give another result on a simulated GPU, the further off the larger n is."""
    off = n / 1000 if context.simulated else 0.0
    return {"checksum": 1.0 + off, "missing": None if context.simulated else 1.0}


@function(devices=("cpu", "gpu"))
def unreadable(context: Context, n: int = 1) -> Any:
    """Return what has no JSON form."""
    return {"seconds": object()}


@function(devices=("cpu", "gpu"))
class NoSetup:
    """Cannot be set up."""

    def setup(self, context: Context) -> None:
        raise RuntimeError("no model here")

    def __call__(self, context: Context, n: int = 1) -> float:
        return 1.0
