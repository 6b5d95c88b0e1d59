"""The tiles' figures and curves."""

from hypothesis import given

from console.tiles import LIVE, figures, sparks
from runtime.history import Window
from runtime.rollup import Cell, bin_of
from tests.console.windows import window, windows

ROW = dict.fromkeys(LIVE, 2)


def test_figures_are_of_the_window_and_of_now() -> None:
    cell = Cell({"succeeded": 6, "failed": 1, "dead": 1, "cancelled": 2}, {bin_of(0.1): 6})
    found = figures(window({("f", "cpu"): [cell]}), [ROW, ROW])
    assert (found["finished"], found["rate"], found["errors"]) == (10, 0.5, 0.25)
    assert 0.09 < found["p50"] <= found["p95"] < 0.11
    assert {name: found[name] for name in LIVE} == dict.fromkeys(LIVE, 4)


def test_of_nothing_there_is_no_error_and_no_time() -> None:
    found = figures(window(), [])
    assert (found["finished"], found["errors"], found["p50"], found["backlog"]) == (
        0,
        None,
        None,
        0,
    )


@given(windows())
def test_a_curve_always_has_a_point_for_each_bucket(given_window: Window) -> None:
    found = sparks(given_window)
    assert {len(points) for points in found.values()} == {given_window.count}
    assert all(share is None or 0 <= share <= 1 for share in found["errors"])
