"""A function with a result that no page should try to hold."""

from runtime import function


@function(devices=("cpu",))
def large(size: int = 2_000_000) -> str:
    """Return a text of so many characters."""
    return "lumbre " * (size // 7) + "." * (size % 7)
