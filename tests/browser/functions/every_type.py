"""A function with a parameter of every type that a form must have an input for."""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from runtime import function


class Colour(StrEnum):
    """A choice among names."""

    RED = "red"
    GREEN = "green"


class Place(BaseModel):
    """Something with parts."""

    name: str
    height: Annotated[float, Field(ge=0, description="metres")] = 2.5


@function(devices=("cpu", "gpu"))
def every_type(
    text: Annotated[str, Field(min_length=1, max_length=60, description="a short text")],
    number: Annotated[int, Field(ge=1, le=100)] = 7,
    share: Annotated[float, Field(ge=0, le=1)] = 0.5,
    yes: bool = False,
    level: Literal["low", "middle", "high"] = "middle",
    power: Literal[1, 2, 4] = 2,
    colour: Colour = Colour.RED,
    maybe: int | None = None,
    either: int | str = "either",
    numbers: list[float] | None = None,
    words: Annotated[list[str], Field(max_length=5)] = [],  # noqa: B006 (never changed)
    limits: dict[str, int] = {},  # noqa: B006
    place: Place | None = None,
    day: date | None = None,
    at: datetime | None = None,
    picture: bytes = b"",
) -> dict[str, object]:
    """Return what was given, so that a page can be held against it."""
    return {
        "text": text,
        "number": number,
        "share": share,
        "yes": yes,
        "level": level,
        "power": power,
        "colour": colour,
        "maybe": maybe,
        "either": either,
        "numbers": numbers,
        "words": words,
        "limits": limits,
        "place": place.model_dump() if place else None,
        "day": day.isoformat() if day else None,
        "at": at.isoformat() if at else None,
        "picture": len(picture),
    }
