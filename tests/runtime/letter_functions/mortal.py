"""Functions that take their replica along until a test saves them."""

import os
from pathlib import Path

from runtime import Scaling, function

FEW = Scaling(max_replicas=2)


@function(scaling=FEW, max_attempts=2)
def mortal(saved: str, n: int = 1, padding: str = "") -> int:
    """Give n back where there is a file at `saved`; die where there is none."""
    if not Path(saved).exists():
        print("last words", flush=True)
        os._exit(9)
    return n


@function(scaling=FEW, max_attempts=1)
def mortal_bytes(data: bytes, saved: str, add: int = 0) -> int:
    """Tell how long an upload is, likewise."""
    if not Path(saved).exists():
        os._exit(9)
    return len(data) + add


@function(scaling=FEW, max_attempts=1)
def ephemeral(n: int = 0) -> int:
    """Die, always."""
    os._exit(9)
