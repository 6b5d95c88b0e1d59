"""A function that waits: many replicas of it cost no processor, so that scaling can be watched."""

import time
from typing import Annotated

from pydantic import Field

from runtime import Context, Scaling, function


@function(
    timeout=30,
    scaling=Scaling(
        target=2, max_replicas=6, polling_interval=1, cooldown=8, stabilization_window=4
    ),
)
def wave(
    context: Context,
    seconds: Annotated[float, Field(ge=0, le=10, description="to wait")] = 0.25,
) -> float:
    """Wait, and tell for how long; a burst of these brings replicas, and quiet takes them away."""
    began = time.perf_counter()
    time.sleep(seconds)
    return time.perf_counter() - began
