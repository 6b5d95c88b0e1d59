"""Functions that write, by every way there is, and however much."""

import ctypes
import os
import sys
from typing import Literal

from runtime import Scaling, function

ONE = Scaling(max_replicas=1)


@function(scaling=ONE)
def write_everywhere(word: str) -> None:
    """Write a line by Python, by system call and by C, to both streams."""
    print(f"print {word}")
    print(f"stderr {word}", file=sys.stderr)
    os.write(1, f"write {word}\n".encode())
    libc = ctypes.CDLL(None)
    libc.printf(b"printf %s\n", word.encode())
    sys.stdout.write(f"unended {word}")


@function(scaling=ONE, timeout=60)
def write_much(mebibytes: int) -> int:
    """Write so many MiB to standard output."""
    block = b"o" * 2**20
    for _ in range(mebibytes):
        os.write(1, block)
    return mebibytes


@function(scaling=ONE)
def close_output(which: Literal["stdout", "stderr", "both", "none", "replaced"]) -> str:
    """Close the streams, or put something in their place."""
    if which in ("stdout", "both"):
        sys.stdout.close()
    if which in ("stderr", "both"):
        sys.stderr.close()
    if which == "replaced":
        sys.stdout = sys.stderr = None
        raise ValueError("told nobody")
    return which
