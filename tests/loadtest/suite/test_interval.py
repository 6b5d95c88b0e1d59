"""Medians with their intervals."""

from loadtest import quantity
from loadtest.suite import interval
from runtime.estimate import Estimate

SURE = Estimate(56.7, 55.1, 57.9, 24, 0.95)


def test_an_interval_stands_beside_its_median() -> None:
    assert interval.faster(SURE) == "56.7 × (55.1 to 57.9, 24 calls)"
    assert interval.beside(SURE, quantity.duration) == "56.7 s (55.1 s to 57.9 s, 24 calls)"
    assert interval.within(SURE, quantity.number, "time") == "55.1 to 57.9, 24 times"


def test_too_few_values_are_said_to_be_too_few() -> None:
    few = Estimate(56.7, None, None, 1, 0.95)
    assert interval.faster(few) == "56.7 × (1 call, too few for an interval)"
