"""A function that does nothing, so that only what is around it is measured."""

from runtime import function


@function
def noop(x: int = 1) -> dict[str, int]:
    """Give the number back."""
    return {"x": x}
