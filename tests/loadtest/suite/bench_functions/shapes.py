"""Results of every shape."""

from pydantic import BaseModel

from runtime import Batching, function


class Item(BaseModel):
    n: int = 1


@function
def large(n: int = 1) -> str:
    """A text of n characters."""
    return "x" * n


@function
def raw() -> bytes:
    """Bytes, which are no JSON."""
    return b"raw"


@function(batching=Batching(max_size=4))
def together(items: list[Item]) -> list[int]:
    """The squares of what was gathered."""
    return [item.n**2 for item in items]
