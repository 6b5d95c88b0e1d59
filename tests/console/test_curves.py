"""Curves out of what a function returned."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from console.curves import MOST, POINTS, curve, of_result

PROPERTY = settings(deadline=None)


def test_losses_are_a_curve_counted_in_epochs() -> None:
    (chart,) = of_result({"epochs": 4, "n": 1437, "losses": [2.0, 1.0, 0.5, 0.25], "name": "mlp"})
    assert chart["kind"] == "lines" and chart["title"] == "Losses"
    assert chart["caption"] == "losses fell from 2.000 to 0.2500 over 4 epochs."
    (series,) = chart["data"]["series"]
    assert series["x"] == [1, 2, 3, 4] and series["y"] == [2.0, 1.0, 0.5, 0.25]
    assert chart["data"]["xname"] == "epoch"
    assert chart["table"]["rows"][0] == ["1", "2.000"]


def test_losses_come_first_and_there_are_not_too_many() -> None:
    result = {f"series_{n}": [1, 2, 3] for n in range(9)} | {"val_loss": [3, 2, 1]}
    charts = list(of_result(result))
    assert len(charts) == MOST and charts[0]["title"] == "Val loss"


def test_a_list_of_numbers_alone_is_a_curve() -> None:
    (chart,) = of_result([1, None, 3, 4])
    assert chart["caption"] == "result rose from 1.000 to 4.000 over 4 steps."


def test_what_is_no_list_of_numbers_is_no_curve() -> None:
    for value in (7, "text", None, {"classes": ["a", "b", "c"]}, {"mask": [True, False, True]}):
        assert not list(of_result(value))
    assert not list(of_result({"pair": [1, 2], "mixed": [1, 2, "3"], "huge": [1, 2, 10**400]}))
    assert not list(of_result({"odd": [1.0, 2.0, float("nan")], "empty": [None, None, None]}))


@PROPERTY
@given(st.lists(st.floats(-1e9, 1e9), min_size=3, max_size=5000))
def test_a_long_curve_is_thinned_and_always_keeps_its_ends(y: list[float]) -> None:
    chart = curve("loss", "step", range(len(y)), y)
    (series,) = chart["data"]["series"]
    assert len(series["x"]) == len(series["y"]) <= POINTS + 1
    assert (series["x"][0], series["x"][-1]) == (0, len(y) - 1)
    assert (series["y"][0], series["y"][-1]) == (y[0], y[-1])
    assert all(series["y"][i] == y[x] for i, x in enumerate(series["x"]))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)


@PROPERTY
@given(json_values)
def test_any_result_can_be_looked_at(value: Any) -> None:
    for chart in of_result(value):
        assert chart["caption"]
