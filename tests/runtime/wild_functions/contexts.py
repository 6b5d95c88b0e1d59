"""Functions that use all that a context has."""

import time
from typing import Any

from runtime import Context, InvalidInput, Scaling, function

ONE = Scaling(max_replicas=1)


@function(scaling=ONE, timeout=20)
def tell(context: Context, upload: bytes = b"") -> dict[str, Any]:
    """Give back what the context knows."""
    context.progress(0.25, stage="begun")
    context.log.info("logged %d", 42)
    with context.timer("outer"), context.timer("inner"):
        time.sleep(0.02)
    return {
        "id": context.invocation_id,
        "attempt": context.attempt,
        "left": (context.deadline or 0) - time.time(),
        "link": context.output_blob("report.txt", b"all well", "text/plain"),
        "upload": len(upload),
        "same": context.input_blob("upload") == upload if upload else None,
        "traceparent": context.traceparent,
    }


@function(scaling=ONE)
def judge(number: int) -> int:
    """Refuse what only it can judge."""
    if number == 13:
        raise InvalidInput("number", "is unlucky: take another")
    return number


@function(scaling=ONE)
def boast(context: Context) -> None:
    """Tell a progress that cannot be."""
    context.progress(1.5)
