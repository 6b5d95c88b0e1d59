"""What a deployment under fire runs: some of it works, some fails for a while, some for ever.

Every run leaves a line in the file that CHAOS_TRACE names, as it begins, so that runs can be
counted from outside.
"""

import os
import signal
import time
from typing import Annotated, Any

from runtime import Context, MediaType, Retry, Scaling, function

SCALING = Scaling(target=4, max_replicas=3, cooldown=5, stabilization_window=5)
OFTEN = 30  # attempts: what fails for a while is not to be given up on
BYTES = MediaType("application/octet-stream")


class Moody(Exception):
    """It may work the next time."""


class Hopeless(Exception):
    """It never works."""


def trace(context: Context) -> None:
    """Append `id attempt instant` to the trace, in one write."""
    if path := os.environ.get("CHAOS_TRACE"):
        line = f"{context.invocation_id} {context.attempt} {time.time():.6f}\n"
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)


@function(scaling=SCALING, max_attempts=OFTEN)
def chaos_quick(context: Context, number: int) -> dict[str, int]:
    """Give a number and its square."""
    trace(context)
    return {"number": number, "square": number * number}


@function(scaling=SCALING, max_attempts=OFTEN)
def chaos_slow(context: Context, number: int, milliseconds: int) -> dict[str, int]:
    """Take some time over the same."""
    trace(context)
    time.sleep(milliseconds / 1000)
    return {"number": number, "square": number * number}


# The disk that blobs go to may be full for a while.
@function(scaling=SCALING, max_attempts=OFTEN, retries=Retry(OFTEN, ("OSError",), 0.5, 2.0))
def chaos_large(context: Context, data: Annotated[bytes, BYTES]) -> Annotated[bytes, BYTES]:
    """Give the bytes back, the last one first."""
    trace(context)
    return data[::-1]


@function(scaling=SCALING, max_attempts=OFTEN, retries=Retry(OFTEN, ("Moody",), 0.2, 1.0))
def chaos_moody(context: Context, number: int, failures: int) -> dict[str, int]:
    """Raise in the first attempts, and then give a number and its square."""
    trace(context)
    if context.attempt <= failures:
        raise Moody(f"attempt {context.attempt} of {failures} that fail")
    return {"number": number, "square": number * number}


@function(scaling=SCALING, max_attempts=OFTEN, retries=Retry(3, ("Moody",), 0.2, 1.0))
def chaos_hopeless(context: Context, number: int) -> Any:
    """Raise what is not tried again."""
    trace(context)
    raise Hopeless(f"{number} cannot be done")


@function(scaling=SCALING, max_attempts=OFTEN)
def chaos_fragile(context: Context, number: int, crashes: int) -> dict[str, int]:
    """Take the replica along in the first attempts, and then give a number and its square."""
    trace(context)
    if context.attempt <= crashes:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"number": number, "square": number * number}


@function(scaling=SCALING, max_attempts=2)
def chaos_doomed(context: Context, number: int) -> Any:
    """Take the replica along, every time."""
    trace(context)
    os._exit(number % 200 + 1)


@function(scaling=SCALING, max_attempts=OFTEN, timeout=0.5)
def chaos_endless(context: Context, number: int) -> int:
    """Take longer than it may."""
    trace(context)
    time.sleep(600)
    return number
