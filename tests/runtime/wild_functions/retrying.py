"""Functions that raise until they have been tried often enough."""

import json.decoder
import time
from pathlib import Path

from runtime import Context, Retry, Scaling, function

ONE = Scaling(max_replicas=1)


class Flaky(ConnectionError):
    """A subclass of what is retried."""


def attempt(context: Context, error: Exception, succeed_at: int) -> int:
    if context.attempt < succeed_at:
        raise error
    return context.attempt


@function(
    scaling=ONE,
    retries=Retry(max_attempts=3, on=("ConnectionError", "JSONDecodeError"), backoff=0.05),
)
def by_name(context: Context, kind: str, succeed_at: int) -> int:
    """Raise an error of a kind until that attempt."""
    kinds = {
        "itself": ConnectionError("itself"),
        "subclass": Flaky("a subclass"),
        "builtin": ConnectionResetError("another subclass"),
        "dotted": json.decoder.JSONDecodeError("of a module", "", 0),
        "other": ValueError("not among them"),
    }
    return attempt(context, kinds[kind], succeed_at)


@function(
    scaling=ONE,
    retries=Retry(max_attempts=3, on=("json.decoder.JSONDecodeError",), backoff=0.05),
)
def by_dotted_name(context: Context, dotted: bool, succeed_at: int) -> int:
    """Raise the error that is named with its module, or its base class."""
    error = json.decoder.JSONDecodeError("no", "", 0) if dotted else ValueError("the base")
    return attempt(context, error, succeed_at)


@function(scaling=ONE, retries=Retry(max_attempts=6, backoff=8.0, max_backoff=40.0))
def patiently(context: Context) -> int:
    """Raise always."""
    raise RuntimeError(f"attempt {context.attempt}")


@function(
    scaling=ONE, timeout=10, retries=Retry(max_attempts=3, on=("ConnectionError",), backoff=0.05)
)
def at_the_gate(gate: str) -> None:
    """Wait for a file, then raise what is retried."""
    while not Path(gate).exists():
        time.sleep(0.005)
    raise ConnectionError("closed behind us")
