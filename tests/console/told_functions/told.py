"""Functions whose invocations have something to show."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from runtime import Context, Scaling, function
from runtime.function import MediaType
from runtime.model import Device

ONE: dict[Device, Scaling] = {"cpu": Scaling(max_replicas=1)}


@function(scaling=ONE)
def losses(context: Context, epochs: int = 4) -> dict[str, Any]:
    """Learn something."""
    with context.timer("learn"):
        return {"epochs": epochs, "losses": [1 / (n + 1) for n in range(epochs)]}


@function(scaling=ONE)
def held(context: Context, gate: str, steps: int = 2) -> Iterator[Any]:
    """Tell some steps, and wait for a gate."""
    print("it has begun", flush=True)
    for step in range(1, steps + 1):
        context.progress(step / (steps + 1), step=step, loss=1 / step)
    while not Path(gate).exists():
        time.sleep(0.01)
    yield "over"


@function(scaling=ONE)
def raises(text: str = "<no> number") -> int:
    """Raise."""
    return int(text)


@function(scaling=ONE, max_attempts=2)
def dies() -> None:
    """End its replica each time."""
    print("the last words", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


@function(scaling=ONE)
def picture(
    image: Annotated[bytes, MediaType("image/png")],
) -> Annotated[bytes, MediaType("image/svg+xml")]:
    """Give another picture back."""
    return b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


@function(scaling=ONE)
def large(size: int = 2_000_000) -> dict[str, str]:
    """Give much back, and write much."""
    for number in range(4000):
        print(f"line {number} of very many lines")
    return {"text": "x" * size}
