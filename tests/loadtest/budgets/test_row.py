"""How numbers are held to their budgets."""

from hypothesis import given
from hypothesis import strategies as st

from loadtest.budgets.row import Check, Row, Sample, figure


def test_a_sample_is_told_as_median_least_most_and_how_many() -> None:
    assert Sample.of([31.44, 22.0, 23.06]).text("ms") == "23.1 ms (22.0 to 31.4, n = 3)"


def test_figures_have_as_many_digits_as_matter() -> None:
    numbers = (12345.6, 100.4, 99.97, 74.06, 9.999, 0.254, -0.02, 0.0)
    told = ["12,346", "100", "100", "74.1", "10.0", "0.25", "-0.02", "0.00"]
    assert [figure(number) for number in numbers] == told


def test_a_budget_that_is_just_reached_is_met() -> None:
    assert Check(70.0, 70.0, "%", at_least=True).met
    assert Check(0.25, 0.25, "ms").met
    assert not Check(69.99, 70.0, "%", at_least=True).met
    assert not Check(0.2501, 0.25, "ms").met


def test_a_missed_budget_says_by_how_much() -> None:
    row = Row("start", "90 ms", "", (Check(90, 60, "ms"), Check(24, 30, "×", at_least=True)))
    assert row.budget == "≤ 60 ms, ≥ 30 ×"
    assert row.verdict == "missed by 30.0 ms (50 %); missed by 6.00 × (20 %)"
    assert not row.met


def test_a_fault_makes_a_row_void_whatever_its_numbers() -> None:
    row = Row("start", "10 ms", "", (Check(10, 60, "ms"),), ("3 errors",))
    assert row.verdict == "3 errors"
    assert not row.met


def test_a_row_without_a_budget_is_only_measured() -> None:
    row = Row("acceptances", "2,000 a second", "")
    assert (row.budget, row.verdict) == ("none", "measured")


@given(st.floats(0, 1e6), st.floats(0.01, 1e6), st.booleans())
def test_a_check_is_either_met_or_names_what_is_missing(
    value: float, limit: float, at_least: bool
) -> None:
    row = Row("x", "", "", (Check(value, limit, "ms", at_least),))
    assert row.met == (row.verdict == "met")
    assert row.met or row.verdict.startswith("missed by ")
