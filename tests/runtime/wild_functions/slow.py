"""Functions that take their time, and react to being cancelled or not."""

import os
import time
from pathlib import Path

from runtime import Context, Scaling, function

ONE = Scaling(max_replicas=1)


@function(scaling=ONE, timeout=0.7)
def doze(seconds: float) -> int:
    """Sleep, and tell the process."""
    print("dozing off", flush=True)
    time.sleep(seconds)
    return os.getpid()


@function(scaling=ONE, timeout=0.7)
def hold(numbers: int) -> int:
    """Add up, in C and without ever letting go of the GIL."""
    return sum(range(numbers))


@function(scaling=ONE, timeout=30)
def obey(context: Context, note: str, polite: bool = True) -> str:
    """Run until cancelled, and leave a note then; who is not polite never looks."""
    Path(note).write_text("running")
    while not (polite and context.cancelled):
        time.sleep(0.01)
    Path(note).write_text("stopped")
    return "stopped"
