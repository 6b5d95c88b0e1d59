"""A function that fails on purpose, so that a failure can be followed to its cause."""

from typing import Annotated

from pydantic import Field

from runtime import Context, Scaling, function


@function(timeout=5, scaling=Scaling(target=4, max_replicas=1, cooldown=20))
def flaky(
    context: Context,
    n: Annotated[int, Field(ge=0, le=10**6, description="divisible by three: it fails")] = 1,
) -> int:
    """Give n back, unless three divides it."""
    context.log.info("looking at %d", n)
    if n % 3 == 0:
        raise ValueError(f"three divides {n}: this function fails on purpose")
    return n
