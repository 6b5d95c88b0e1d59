"""The tiles' figures and curves."""

from hypothesis import given

from console.digest import digest
from console.tiles import LIVE, POINTS, figures, sparks
from runtime.history import Window
from runtime.model import TERMINAL
from runtime.rollup import Cell, bin_of
from tests.console.windows import few, window, windows

ROW = dict.fromkeys(LIVE, 2)


def test_figures_are_of_the_window_and_of_now() -> None:
    cell = Cell({"succeeded": 6, "failed": 1, "dead": 1, "cancelled": 2}, {bin_of(0.1): 6})
    found = figures(digest(window({("f", "cpu"): [cell]})), [ROW, ROW])
    assert (found["finished"], found["rate"], found["errors"]) == (10, 0.5, 0.25)
    assert 0.09 < found["p50"] <= found["p95"] < 0.11
    assert {name: found[name] for name in LIVE} == dict.fromkeys(LIVE, 4)


def test_of_nothing_there_is_no_error_and_no_time() -> None:
    found = figures(digest(window()), [])
    assert (found["finished"], found["errors"], found["p50"], found["backlog"]) == (
        0,
        None,
        None,
        0,
    )


@few
@given(windows())
def test_a_curve_always_has_few_points_that_hold_all_that_ended(given_window: Window) -> None:
    whole = digest(given_window)
    found = sparks(whole)
    assert len({len(points) for points in found.values()}) == 1
    assert 1 <= len(found["finished"]) <= POINTS
    assert sum(count or 0 for count in found["finished"]) == sum(
        sum(whole.ended(status)) for status in TERMINAL
    )
    assert all(share is None or 0 <= share <= 1 for share in found["errors"])
