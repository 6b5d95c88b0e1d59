"""A function that both devices have, and that takes as long as it is told to."""

import time
from typing import Annotated

from pydantic import Field

from runtime import function


@function(devices=("cpu", "gpu"))
def naps(
    n: Annotated[int, Field(ge=1, le=10_000, description="milliseconds")] = 10,
) -> dict[str, float]:
    """Sleep, and tell how long that took."""
    began = time.perf_counter()
    time.sleep(n / 1000)
    return {"n": n, "seconds": time.perf_counter() - began}
