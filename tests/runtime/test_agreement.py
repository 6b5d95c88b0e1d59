"""Whether results of two devices say the same."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.agreement import agreement, agrees

json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("ours", "theirs", "found"),
    [
        (1, 1.0009, True),
        (1, 1.0011, False),
        (-5.0, 5.0, False),
        (0, 0.0, True),
        (0, 1e-12, False),
        (True, 1, False),
        ("1", 1, False),
        (None, None, True),
        (None, 0, False),
        ([1, 2], [1, 2.001], True),
        ([1, 2], [1], False),
        ([[1], "x"], [[1], "y"], False),
    ],
)
def test_numbers_agree_within_a_thousandth_and_the_rest_where_it_is_equal(
    ours: Any, theirs: Any, found: bool
) -> None:
    assert agreement(ours, theirs) is agreement(theirs, ours) is found


def test_objects_are_told_field_by_field() -> None:
    ours = {"sum": 1.0, "rate": 5, "shape": {"n": [1, 2]}, "only": 1}
    theirs = {"sum": 1.0001, "rate": 9, "shape": {"n": [1, 3]}, "other": 1}
    assert agreement(ours, theirs) == {
        "sum": True,
        "rate": False,
        "shape": False,
        "only": False,
        "other": False,
    }
    assert agreement({}, {}) == {}
    assert agreement({"a": 1}, [1]) is False


def test_what_nests_deeply_is_compared_too() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    assert agrees(deep, deep)


@given(json)
def test_a_result_always_agrees_with_itself(value: Any) -> None:
    found = agreement(value, value)
    assert all(found.values()) if isinstance(found, dict) else found


@given(json, json)
def test_agreement_is_always_mutual(ours: Any, theirs: Any) -> None:
    assert agreement(ours, theirs) == agreement(theirs, ours)
