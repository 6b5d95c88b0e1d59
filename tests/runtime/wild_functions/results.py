"""Functions that return every kind of thing, without NumPy or torch."""

import math
import os
from typing import Annotated, Any

from runtime import Blob, MediaType, Scaling, function

ONE = Scaling(max_replicas=1)


class Odd:
    """Nothing that JSON has a word for."""


@function(scaling=ONE)
def give(what: str) -> Any:
    """Return something."""
    if what == "nothing":
        return None
    if what == "nan":
        return {"loss": math.nan, "best": [math.inf, 1.0]}
    if what == "odd":
        return {"odd": Odd()}
    if what == "exception":
        return ValueError("returned, not raised")
    if what == "nested":
        deep: list[Any] = []
        for _ in range(100_000):
            deep = [deep]
        return deep
    if what == "100 MB":
        return b"x" * 100_000_000
    if what == "1 MB":
        return {"text": "x" * 1_000_000}
    if what == "blob":
        return Blob(b"a,b\n", "text/csv")
    return os.getpid()


@function(scaling=ONE)
def draw(size: int) -> Annotated[bytes, MediaType("image/png")]:
    """Return bytes of a media type."""
    return b"p" * size
