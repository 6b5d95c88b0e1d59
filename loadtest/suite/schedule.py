"""The order of the calls: random, and the same again with the same seed."""

import random
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Ending(Protocol):
    """Something that is called until it has an end."""

    @property
    def stopped(self) -> str | None: ...


E = TypeVar("E", bound=Ending)


class Schedule:
    """Random orders from one seed, and the place of each call in the whole run."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._places = 0

    def shuffled(self, items: Iterable[T]) -> list[T]:
        """The same items in random order."""
        found = list(items)
        self._random.shuffle(found)
        return found

    def place(self) -> int:
        """The place of the next call, from 0."""
        self._places += 1
        return self._places - 1

    def rounds(self, items: Iterable[E]) -> Iterator[E]:
        """Each unfinished item once a round, every round in another random order.

        What drifts meanwhile (clocks, temperature, other work) then meets all of them alike.
        """
        left = [item for item in items if item.stopped is None]
        while left:
            for item in self.shuffled(left):
                if item.stopped is None:
                    yield item
            left = [item for item in left if item.stopped is None]
