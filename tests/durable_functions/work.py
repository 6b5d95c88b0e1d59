"""What the durability tests run: short work that leaves a trace of every run."""

import os
import time
from pathlib import Path

from runtime import Context, Scaling, function


@function(scaling=Scaling(target=4, max_replicas=2), max_attempts=10)
def work(context: Context, number: int, trace: str, seconds: float = 0.002) -> dict[str, int]:
    """Append a line to the trace, as one write, and give the number back."""
    time.sleep(seconds)
    line = f"{context.invocation_id} {context.attempt} {os.getpid()}\n"
    with Path(trace).open("a") as file:
        file.write(line)
    return {"number": number}
