"""Numbers as people read them."""

import math
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest import quantity
from loadtest.quantity import NONE

UNITS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0"),
        (0.01234, "0.0123"),
        (9.996, "10.0"),
        (99.96, "100"),
        (45, "45.0"),
        (56.67, "56.7"),
        (1234.5, "1,230"),
        (-2.5, "−2.50"),
    ],
)
def test_a_number_has_three_digits(value: float, said: str) -> None:
    assert quantity.number(value) == said


@given(st.floats(1e-12, 1e15), st.integers(1, 6))
def test_a_number_is_always_right_to_its_digits_and_never_has_an_exponent(
    value: float, digits: int
) -> None:
    said = quantity.number(value, digits)
    assert re.fullmatch(r"[0-9,]+(\.[0-9]+)?", said)
    assert float(said.replace(",", "")) == pytest.approx(value, rel=0.51 * 10 ** (1 - digits))


@pytest.mark.parametrize(
    "word",
    [
        quantity.number,
        quantity.given,
        quantity.exact,
        quantity.duration,
        quantity.rate,
        quantity.times,
        quantity.share,
        quantity.change,
        lambda value: quantity.amount(value, "B"),
    ],
)
def test_what_is_none_or_not_finite_is_a_dash(word: Callable[[float | None], str]) -> None:
    assert [word(value) for value in (None, math.nan, math.inf, -math.inf)] == [NONE] * 4


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (4e-9, "4.00 ns"),
        (1e-6, "1.00 µs"),
        (35.1e-6, "35.1 µs"),
        (0.0009996, "1.00 ms"),
        (0.018449, "18.4 ms"),
        (0.48, "480 ms"),
        (0.9999, "1.00 s"),
        (1.2, "1.20 s"),
        (119, "119 s"),
        (119.6, "2 min"),
        (125, "2 min 5 s"),
        (842, "14 min 2 s"),
        (3599.7, "1 h"),
        (5628, "1 h 34 min"),
        (12_000, "3 h 20 min"),
        (-0.012, "−12.0 ms"),
    ],
)
def test_a_duration_has_the_unit_that_fits(seconds: float, said: str) -> None:
    assert quantity.duration(seconds) == said


def test_a_duration_may_have_more_digits() -> None:
    assert quantity.duration(0.0123456, 4) == "12.35 ms"
    assert quantity.duration(120.4, 4) == "2 min 0.4 s"


def read(text: str) -> float:
    words = text.replace(",", "").split()
    return sum(float(n) * UNITS[unit] for n, unit in zip(words[::2], words[1::2], strict=True))


@given(st.floats(1e-9, 1e5), st.floats(1e-9, 1e5))
def test_durations_always_keep_their_order_of_magnitude(one: float, other: float) -> None:
    assert read(quantity.duration(one)) == pytest.approx(one, rel=0.0084)  # 30 s of 1 h
    if one > 1.02 * other:
        assert read(quantity.duration(one)) > read(quantity.duration(other))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (5e-5, "50 µs"),
        (0.001, "1 ms"),
        (0.3, "300 ms"),
        (2.5, "2.5 s"),
        (1e3, "1,000 s"),
    ],
)
def test_a_tick_is_as_short_as_it_can_be(seconds: float, said: str) -> None:
    assert quantity.tick(seconds) == said


def test_rates_have_their_unit() -> None:
    assert [quantity.rate(n) for n in (20.123, 5234.0, 0)] == ["20.1/s", "5,230/s", "0/s"]


def test_amounts_have_a_prefix() -> None:
    assert quantity.amount(6.87e14, "FLOP/s") == "687 TFLOP/s"
    assert quantity.amount(3.6e12, "B/s") == "3.60 TB/s"
    assert quantity.amount(999.9, "B") == "1.00 kB"
    assert quantity.amount(12, "B") == "12.0 B"


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (0.874, "87.4 %"),
        (0.95, "95 %"),
        (1.05, "105 %"),
        (0.0211, "2.11 %"),
        (0.00003, "0.003 %"),
        (0.1, "10 %"),
        (0.0, "0 %"),
    ],
)
def test_shares_are_in_percent(part: float, said: str) -> None:
    assert quantity.share(part) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1048576, "1,048,576"),
        (0.5, "0.5"),
        (-3, "−3"),
        (1e-7, "1e-07"),
        (3e21, "3e+21"),
    ],
)
def test_what_was_given_keeps_all_its_digits(value: float, said: str) -> None:
    assert quantity.given(value) == said


def test_what_a_function_gave_reads_as_in_its_result() -> None:
    assert [quantity.exact(value) for value in (15234.25, -3.1e-7)] == ["15234.25", "-3.1e-07"]


def test_ratios_and_changes_have_their_signs() -> None:
    assert quantity.times(56.72) == "56.7 ×"
    assert (quantity.change(1.032), quantity.change(0.88)) == ("+3.2 %", "−12.0 %")


def test_one_is_not_many() -> None:
    assert quantity.count(1204) == "1,204"
    assert [quantity.counted(n, "call") for n in (0, 1, 1204)] == [
        "0 calls",
        "1 call",
        "1,204 calls",
    ]
    assert quantity.counted(2, "copy", "copies") == "2 copies"


def test_percentiles_have_names() -> None:
    assert [quantity.percentile(percent) for percent in (50.0, 99.9)] == ["p50", "p99.9"]
