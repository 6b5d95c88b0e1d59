"""Arithmetic in plans: right where it is right, refused where it is anything else."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.formula import Formula, FormulaError

numbers = st.integers(-1000, 1000)


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> str:
    """Arithmetic that Python reads just so; divisions and powers by what has a value."""
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from(["n", "m", *map(str, range(10)), "2.5"]))
    left, right = draw(expressions(depth - 1)), draw(expressions(depth - 1))
    shape = draw(
        st.sampled_from(
            ["({} + {})", "({} - {})", "({} * {})", "min({}, {})", "max({}, {})", "-({}) + {}"]
        )
    )
    return shape.format(left, right)


@given(expressions(), numbers, numbers)
def test_a_formula_is_what_python_makes_of_it(text: str, n: int, m: int) -> None:
    expected = eval(text, {"n": n, "m": m, "min": min, "max": max})
    assert Formula.parse(text)({"n": n, "m": m}) == expected


@given(st.text(max_size=60))
def test_text_is_a_formula_or_refused_and_never_runs(text: str) -> None:
    try:
        formula = Formula.parse(text)
        value = formula(dict.fromkeys(formula.names, 3))
    except FormulaError:
        return
    assert isinstance(value, int | float)
    assert abs(value) <= 1e300


@given(st.integers(2, 10**6), st.integers(2, 10**6), st.integers(2, 10**6))
def test_huge_powers_are_refused_before_they_are_computed(a: int, b: int, c: int) -> None:
    formula = Formula.parse("a ** (b + 1000) ** (c + 1000)")
    with pytest.raises(FormulaError, match="above 1e300"):
        formula({"a": a, "b": b, "c": c})


def test_whole_numbers_stay_whole() -> None:
    value = Formula.parse("max(1, min(50, 2 * 10 ** 9 // n ** 3))")({"n": 1024})
    assert value == 1
    assert type(value) is int
    assert Formula.parse("2 * n ** 3")({"n": 16384}) == 2 * 16384**3
    assert Formula.parse("log2(n) % 4 + -n / 8")({"n": 64}) == math.log2(64) % 4 - 8


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("n +", "is no formula"),
        ("", "is no formula"),
        ("__import__('os')", "has \"__import__('os')\" in it"),
        ("n.real", "has 'n.real' in it"),
        ("'a' * 9", "has \"'a'\" in it"),
        ("[1]", "has '[1]' in it"),
        ("n if n else 1", "in it"),
        ("True", "has 'True' in it"),
        ("n and 1", "in it"),
        ("n << 3", "in it"),
        ("log2(n, 2)", "gives log2 2 numbers"),
        ("min(n)", "gives min 1 numbers"),
        ("min(*n, 1)", "in it"),
        ("sum(n)", "in it"),
        ("len(n + 1)", "in it"),
        ("1 + " * 80 + "1", "at most 300"),
        ("+" * 60 + "1", "nested more than 40 deep"),
    ],
)
def test_what_is_no_arithmetic_is_named(text: str, why: str) -> None:
    with pytest.raises(FormulaError, match=re.escape(why)):
        Formula.parse(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1 / n", "no value for n = 0"),
        ("1 // n", "no value for n = 0"),
        ("log2(n)", "no value for n = 0"),
        ("(n - 1) ** 0.5", "root of a negative number"),
        ("1e200 * 1e200", "above 1e300"),
        ("m", "names 'm', and the numbers here are: n"),
    ],
)
def test_what_has_no_value_says_why(text: str, why: str) -> None:
    with pytest.raises(FormulaError, match=why):
        Formula.parse(text)({"n": 0})
