"""A slow function that says how far it is."""

import math
import time
from typing import Annotated

from pydantic import Field

from runtime import Context, function


@function(devices=("cpu", "gpu"), timeout=120)
def steps(
    context: Context,
    count: Annotated[int, Field(ge=1, le=1000, description="steps")] = 5,
    pause: Annotated[float, Field(ge=0, le=10, description="seconds of each")] = 0.1,
) -> dict[str, float]:
    """Take steps, and tell of each how far it is and a loss that falls."""
    loss = 1.0
    for step in range(1, count + 1):
        time.sleep(pause)
        loss = math.exp(-step / count)
        context.log.info("step %d of %d", step, count)
        context.progress(step / count, epoch=step, loss=loss)
    return {"loss": loss}
