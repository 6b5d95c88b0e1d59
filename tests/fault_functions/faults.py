"""What the tests of single faults run; every run leaves a line in the file that FAULTS_TRACE names.

A whole line is appended in one write, so that two replicas never mix theirs.
"""

import ctypes
import os
import time

from runtime import Context, Scaling, function


def trace(context: Context) -> None:
    line = f"{context.invocation_id} {context.attempt}\n"
    with open(os.environ["FAULTS_TRACE"], "a") as file:
        file.write(line)


@function(timeout=30)
def linger(context: Context, seconds: float) -> int:
    """Take that long, and say which attempt it was."""
    trace(context)
    time.sleep(seconds)
    return context.attempt


@function(timeout=30)
def hog(context: Context, seconds: int) -> int:
    """Hold the GIL that long: a C function that does not let go of it."""
    trace(context)
    ctypes.PyDLL(None).sleep(seconds)
    return context.attempt


@function(timeout=30)
def double(context: Context, number: int) -> int:
    trace(context)
    return 2 * number


@function(timeout=30, scaling=Scaling(polling_interval=120))
def rarely(context: Context, number: int) -> int:
    """Is looked at so rarely that only a call can wake it."""
    trace(context)
    return number
