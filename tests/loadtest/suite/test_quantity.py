"""Quantities as a person reads them."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.estimate import Estimate
from loadtest.suite import quantity


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0"),
        (0.01234, "0.0123"),
        (9.996, "10.0"),
        (99.96, "100"),
        (56.67, "56.7"),
        (1234.5, "1,230"),
        (-2.5, "-2.50"),
        (math.inf, "inf"),
    ],
)
def test_a_number_has_three_digits(value: float, said: str) -> None:
    assert quantity.number(value) == said


@given(st.floats(1e-12, 1e15))
def test_a_number_is_always_within_half_a_per_cent_of_what_it_says(value: float) -> None:
    said = quantity.number(value)
    assert re.fullmatch(r"[0-9,]+(\.[0-9]+)?", said)
    assert float(said.replace(",", "")) == pytest.approx(value, rel=0.0051)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1.2, "1.20 s"),
        (0.48, "480 ms"),
        (0.9999, "1.00 s"),
        (35.1e-6, "35.1 µs"),
        (4e-9, "4.00 ns"),
        (0.0, "0 s"),
        (842.0, "842 s"),
    ],
)
def test_seconds_are_in_the_unit_that_fits(value: float, said: str) -> None:
    assert quantity.seconds(value) == said


@given(st.floats(1e-9, 1e5), st.floats(1e-9, 1e5))
def test_seconds_always_keep_their_order_of_magnitude(one: float, other: float) -> None:
    units = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}

    def read(text: str) -> float:
        number, unit = text.split()
        return float(number.replace(",", "")) * units[unit]

    assert read(quantity.seconds(one)) == pytest.approx(one, rel=0.0051)
    if one > 1.02 * other:
        assert read(quantity.seconds(one)) > read(quantity.seconds(other))


def test_rates_have_a_prefix() -> None:
    assert quantity.amount(6.87e14, "FLOP/s") == "687 TFLOP/s"
    assert quantity.amount(3.6e12, "B/s") == "3.60 TB/s"
    assert quantity.amount(999.9, "B") == "1.00 kB"
    assert quantity.amount(12, "B") == "12.0 B"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.874, "87 %"),
        (1.05, "105 %"),
        (0.034, "3.4 %"),
        (0.0996, "10 %"),
        (0.001, "0.1 %"),
        (0.00003, "< 0.1 %"),
        (0.0, "0 %"),
    ],
)
def test_shares_are_in_per_cent(value: float, said: str) -> None:
    assert quantity.percent(value) == said


def test_sizes_keep_all_their_digits() -> None:
    assert quantity.size(1048576) == "1,048,576"
    assert quantity.size(0.5) == "0.5"


def test_changes_are_signed() -> None:
    assert quantity.change(1.032) == "+3.2 %"
    assert quantity.change(0.88) == "−12.0 %"


def test_an_interval_stands_beside_its_median_or_why_there_is_none() -> None:
    sure = Estimate(56.7, 55.1, 57.9, 24, 0.95)
    assert quantity.faster(sure) == "56.7 × (55.1 to 57.9, 24 calls)"
    assert quantity.beside(sure, quantity.seconds) == "56.7 s (55.1 s to 57.9 s, 24 calls)"
    few = Estimate(56.7, None, None, 1, 0.95)
    assert quantity.faster(few) == "56.7 × (1 call, too few for an interval)"


def test_one_is_no_plural() -> None:
    assert quantity.count(1, "call") == "1 call"
    assert quantity.count(1204, "call") == "1,204 calls"
