"""Orders are random, of everything, and the same again with the same seed."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from loadtest.suite.schedule import Schedule

seeds = st.integers(0, 2**32)


@dataclass(eq=False)
class Calls:
    """Ends after as many calls as it is told."""

    left: int

    @property
    def stopped(self) -> str | None:
        return None if self.left else "done"


def rounds(seed: int, needed: list[int]) -> list[int]:
    items = [Calls(n) for n in needed]
    order = []
    for item in Schedule(seed).rounds(items):
        item.left -= 1
        order.append(items.index(item))
    return order


@given(seeds, st.lists(st.integers(), max_size=20))
def test_an_order_is_a_permutation_that_its_seed_decides(seed: int, items: list[int]) -> None:
    first = Schedule(seed).shuffled(items)
    assert sorted(first) == sorted(items)
    assert Schedule(seed).shuffled(items) == first


@given(seeds, st.lists(st.integers(0, 5), max_size=8))
def test_every_round_has_each_unfinished_item_once(seed: int, needed: list[int]) -> None:
    order = rounds(seed, needed)
    for number in range(max(needed, default=0)):
        unfinished = [i for i, n in enumerate(needed) if n > number]
        this, order = order[: len(unfinished)], order[len(unfinished) :]
        assert sorted(this) == unfinished
    assert order == []


def test_rounds_differ_from_each_other_and_between_seeds() -> None:
    order = rounds(1, [2] * 12)
    assert order[:12] != order[12:]
    assert rounds(2, [2] * 12) != order


def test_places_count_from_zero() -> None:
    schedule = Schedule(0)
    assert [schedule.place() for _ in range(3)] == [0, 1, 2]
