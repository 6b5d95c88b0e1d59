"""Functions with every kind of field, for the tests of forms."""

import hashlib
import time
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from runtime import Context, MediaType, function
from runtime.function import Blob


class Point(BaseModel):
    """A place."""

    x: float
    y: float = 0.0


@function
def say(
    count: Annotated[int, Field(ge=1, le=100, description="how many times")],
    text: str = "hello",
    loud: bool = True,
    limit: int | None = 7,
    size: Literal["small", "large"] = "small",
    place: Point | None = None,
    numbers: list[int] | None = None,
) -> dict[str, Any]:
    """Say what came.

    Nothing else happens.

        code(1)
    """
    return {
        "count": count,
        "text": text,
        "loud": loud,
        "limit": limit,
        "size": size,
        "place": place.model_dump() if place else None,
        "numbers": numbers,
    }


@function(devices=("cpu", "gpu"))
def digest(
    first: Annotated[bytes, MediaType("image/png")],
    second: bytes | None = None,
    text: str | None = None,
    word: str = "",
) -> dict[str, Any]:
    """Tell what was uploaded."""
    files = [None if data is None else hashlib.sha256(data).hexdigest() for data in (first, second)]
    return {"files": files, "text": text, "word": word}


@function
def mirror(data: bytes) -> Blob:
    """Give back what came, the other way round."""
    return Blob(data[::-1], "image/png")


@function
def hold(gate: str) -> str:
    """Run until a file is there."""
    while not Path(gate).exists():
        time.sleep(0.01)
    return "done"


@function
def a_function_whose_name_has_as_many_as_sixty_two_characters_in_it(context: Context) -> None:
    """Do nothing."""
