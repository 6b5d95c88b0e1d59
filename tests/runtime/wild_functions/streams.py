"""Generators: each value is an event, and one of them is the result."""

import os
from collections.abc import Generator

from runtime import Context, Scaling, function

ONE = Scaling(max_replicas=1)


@function(scaling=ONE, max_attempts=1)
def count(context: Context, n: int, end: str = "last") -> Generator[object, None, str | None]:
    """Yield numbers, then end in one of many ways."""
    for number in range(n):
        yield {"number": number}
        if number == 0:
            context.progress(0.5, half=True)
    if end == "return":
        return "returned"
    if end == "raise":
        raise ValueError("in the middle")
    if end == "odd":
        yield object()
    if end == "large":
        yield "x" * 300_000
    if end == "die":
        os._exit(5)
    return None
