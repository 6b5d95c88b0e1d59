"""A median with its interval beside it, as people read them."""

from collections.abc import Callable

from loadtest import quantity
from runtime.estimate import Estimate


def beside(found: Estimate, word: Callable[[float], str], what: str = "call") -> str:
    """The median and its interval: `35.1 ms (34.9 ms to 35.6 ms, 24 calls)`."""
    return f"{word(found.median)} ({within(found, word, what)})"


def within(found: Estimate, word: Callable[[float], str], what: str = "call") -> str:
    """The interval alone, or that there are too few for one: `34.9 ms to 35.6 ms, 24 calls`."""
    if found.low is None or found.high is None:
        return f"{quantity.counted(found.n, what)}, too few for an interval"
    return f"{word(found.low)} to {word(found.high)}, {quantity.counted(found.n, what)}"


def faster(found: Estimate) -> str:
    """A speedup with its interval: `56.7 × (55.1 to 57.9, 24 calls)`."""
    return f"{quantity.times(found.median)} ({within(found, quantity.number)})"
