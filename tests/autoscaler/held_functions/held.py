"""A function that goes on until a test opens its gate, which is a file."""

import time
from pathlib import Path

from runtime import Scaling, function

LONGEST = 60.0  # seconds; no test waits that long


@function(scaling=Scaling(max_replicas=1))
def held(gate: str) -> None:
    """Say that it has begun, and run until the gate is there."""
    Path(f"{gate}.begun").touch()
    deadline = time.monotonic() + LONGEST
    while not Path(gate).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody opened {gate}")
        time.sleep(0.005)
