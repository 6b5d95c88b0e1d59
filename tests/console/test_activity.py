"""What rollup cells say of a function."""

from hypothesis import given
from hypothesis import strategies as st

from console.activity import POINTS, activity
from runtime.rollup import Cell, bin_of

COUNTS = st.dictionaries(
    st.sampled_from(["succeeded", "failed", "timed_out", "dead", "cancelled"]), st.integers(1, 9)
)
ROWS = st.lists(st.none() | COUNTS.map(lambda counts: Cell(statuses=counts)), max_size=90)


@given(st.lists(ROWS, max_size=2))
def test_a_sparkline_has_few_points_and_forgets_nothing(rows: list[list[Cell | None]]) -> None:
    did = activity(rows, 60)
    assert len(did.spark) <= POINTS
    assert sum(did.spark) == did.finished
    assert did.rate == did.finished / 60


def test_what_was_cancelled_is_no_error_and_no_success() -> None:
    cell = Cell(statuses={"succeeded": 3, "failed": 1, "cancelled": 6})
    assert activity([[None, cell]], 10).errors == 0.25
    assert activity([[Cell(statuses={"cancelled": 2})]], 10).errors is None
    assert activity([], 10).finished == 0


def test_times_of_both_devices_are_together() -> None:
    did = activity([[Cell(total={100: 9})], [Cell(total={200: 1})]], 10)
    assert did.p50 is not None and did.p95 is not None
    assert bin_of(did.p50) == 100
    assert bin_of(did.p95) in (200, 201)
