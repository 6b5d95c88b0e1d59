"""What a window holds, bucket by bucket; above all how many replicas there were."""

from hypothesis import given

from console import buckets
from runtime.history import Window
from runtime.model import DEVICES
from runtime.rollup import Cell
from tests.console.windows import decision, window, windows


def test_one_replica_that_was_idle_and_busy_within_a_bucket_counts_once() -> None:
    both = Cell(idle=1, busy=1)
    assert buckets.serving(window({("f", "cpu"): [both] * 4}), "cpu") == [1, 1, 1, 1]


def test_replicas_of_which_some_were_idle_and_some_busy_all_count_where_they_were_asked_for() -> (
    None
):
    mixed = Cell(idle=1, busy=3)
    made = [decision(1, 0, 4)]
    assert buckets.serving(window({("f", "cpu"): [mixed] * 4}, made), "cpu") == [4, 4, 4, 4]


def test_as_many_replicas_are_shown_as_were_asked_for_at_the_time() -> None:
    cell = Cell(idle=3, busy=3)
    made = [decision(2, 3, 5), decision(11, 5, 4)]
    assert buckets.serving(window({("f", "cpu"): [cell] * 4}, made), "cpu") == [5, 5, 5, 4]


def test_decisions_about_others_change_nothing() -> None:
    cell = Cell(idle=2, busy=2)
    made = [decision(1, 2, 9, function="g")]
    given_window = window({("f", "cpu"): [cell] * 4}, made)
    assert buckets.serving(given_window, "cpu") == [2, 2, 2, 2]
    assert buckets.serving(given_window, "gpu") == [0, 0, 0, 0]


@given(windows())
def test_there_are_never_fewer_replicas_than_one_gauge_says_nor_more_than_all_say(
    given_window: Window,
) -> None:
    for device in DEVICES:
        rows = [row for key, row in given_window.cells.items() if key[1] == device]
        for place, count in enumerate(buckets.serving(given_window, device)):
            cells = [cell for row in rows if (cell := row[place])]
            least = sum(max(cell.idle, cell.busy) for cell in cells)
            assert least <= count <= sum(cell.idle + cell.busy for cell in cells)


@given(windows())
def test_whole_times_of_both_devices_together_are_those_of_each(given_window: Window) -> None:
    both = buckets.times(given_window)
    each = [buckets.times(given_window, [device]) for device in DEVICES]
    assert both == [buckets.merged(some) for some in zip(*each, strict=True)]
