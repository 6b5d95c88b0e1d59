"""A file that cannot be imported: its function is not to be had."""

from runtime import function


@function
def in_a_broken_file() -> None:
    """Never served."""


raise ImportError("this machine has no such driver")
