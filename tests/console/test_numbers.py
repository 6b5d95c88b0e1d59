"""How the console writes numbers."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from console import numbers


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "–"),
        (math.nan, "–"),
        (0, "0 ms"),
        (0.00085, "850 µs"),
        (0.0123, "12.3 ms"),
        (0.9996, "1.00 s"),
        (4.1, "4.10 s"),
        (59.96, "1 min"),
        (125, "2 min 5 s"),
        (12_000, "3 h 20 min"),
        (200_000, "2 d 8 h"),
        (-0.5, "−500 ms"),
    ],
)
def test_a_duration_has_a_unit_that_fits(value: float | None, told: str) -> None:
    assert numbers.seconds(value) == told


@given(st.floats(min_value=1e-9, max_value=1e9))
def test_a_number_never_loses_more_than_a_half_of_its_third_digit(value: float) -> None:
    told = float(numbers.significant(value).replace(",", ""))
    assert abs(told - value) <= 0.0051 * value


@given(st.floats(min_value=1e-9, max_value=1e9))
def test_a_number_never_has_an_exponent(value: float) -> None:
    assert "e" not in numbers.significant(value)


@given(st.floats(min_value=0, max_value=1e8))
@example(5_182_200.0)  # 60 d are none of a larger unit
def test_a_duration_never_shows_as_much_of_a_unit_as_makes_the_next(value: float) -> None:
    told = f" {numbers.seconds(value)} "
    assert not any(whole in told for whole in (" 60 s ", " 60.0 s ", " 60 min ", " 24 h "))


@pytest.mark.parametrize(
    ("value", "told"),
    [(None, "–"), (0, "0 B"), (999, "999 B"), (1200, "1.20 kB"), (2_000_000, "2.00 MB")],
)
def test_bytes_are_counted_in_thousands(value: float | None, told: str) -> None:
    assert numbers.size(value) == told


def test_a_rate_below_one_a_second_is_told_by_the_minute() -> None:
    assert numbers.rate(0.05) == "3.00/min"
    assert numbers.rate(12.345) == "12.3/s"


def test_an_instant_to_come_is_not_told_as_past() -> None:
    assert numbers.ago(110.0, 100.0) == "in 10 s"
    assert numbers.ago(100.0, 100.4) == "now"
    assert numbers.ago(100.0, 3800.0) == "1 h ago"


def test_an_id_is_shortened_only_where_that_saves_something() -> None:
    assert numbers.short("0198c0ffee00") == "0198c0ffee00"
    assert numbers.short("019812345678901234567890abcd3f2c") == "0198…3f2c"


def test_an_instant_is_written_in_utc_with_milliseconds() -> None:
    assert numbers.instant(0.5) == "1970-01-01T00:00:00.500Z"
