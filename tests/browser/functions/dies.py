"""A function that kills its replica, until a file says that it may live."""

import os
import signal
from pathlib import Path

from runtime import Context, Scaling, function


@function(devices=("cpu",), max_attempts=2, scaling=Scaling(max_replicas=1))
def dies(context: Context, note: str = "") -> str:
    """End in the dead letters; once the file that BROWSER_MERCY names is there, return the note."""
    if not Path(os.environ["BROWSER_MERCY"]).exists():
        print("no mercy", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return f"lived: {note}"
