"""Numbers as people read them."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.report.quantity import counted, duration, line, number, rate, share, short


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (1e-6, "1 µs"),
        (0.0009996, "1 ms"),
        (0.018449, "18.4 ms"),
        (0.41, "410 ms"),
        (1.25, "1.25 s"),
        (119, "119 s"),
        (125, "2 min 5 s"),
        (12_000, "3 h 20 min"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "–"),
    ],
)
def test_a_duration_has_the_unit_that_suits_it(seconds: float | None, told: str) -> None:
    assert duration(seconds) == told


def test_rates_and_shares_have_their_units() -> None:
    assert (rate(20.123), rate(5234.0), rate(None)) == ("20.1/s", "5,230/s", "–")
    assert (share(0.0211), share(0), share(1e-5), share(math.nan)) == (
        "2.11 %",
        "0 %",
        "0.001 %",
        "–",
    )


def test_one_is_not_many() -> None:
    assert (counted(1, "fault"), counted(1204, "fault")) == ("1 fault", "1,204 faults")


@given(st.floats(min_value=1e-9, max_value=1e12))
def test_a_number_never_has_an_exponent_and_is_always_right_to_three_digits(value: float) -> None:
    told = number(value)
    assert re.fullmatch(r"[\d,]+(\.\d+)?", told)
    assert float(told.replace(",", "")) == pytest.approx(value, rel=0.00501)


@given(st.text())
def test_a_line_never_breaks_and_never_steers_a_terminal(text: str) -> None:
    assert line(text).isprintable()
    assert len(short(text)) <= 28
