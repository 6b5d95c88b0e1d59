"""A function that fails in one of its replicas only."""

import os
from pathlib import Path

from runtime import Scaling, function


@function(timeout=5, scaling=Scaling(max_replicas=2))
def fails_here(folder: str) -> int:
    """Raise in the process whose number is in the file `broken`."""
    file = Path(folder) / "broken"
    if file.exists() and file.read_text() == str(os.getpid()):
        raise RuntimeError("CUDA driver went away")
    return os.getpid()
