"""Backlog and replicas on one axis."""

from hypothesis import given
from hypothesis import strategies as st

from console.backlog_chart import backlog_and_replicas, replica_counts
from runtime.history import Window
from runtime.ledger import ScalingDecision
from runtime.rollup import Cell

KEY = ("matmul", "cpu")


def window(cells: list[Cell | None], made: list[ScalingDecision] | None = None) -> Window:
    return Window(1000.0, 5, len(cells), {("matmul", "cpu"): cells}, made or [])


def decision(at: float, before: int, after: int, function: str = "matmul") -> ScalingDecision:
    return ScalingDecision(at, function, "cpu", before, after, "because", 3)


def test_a_replica_that_was_busy_first_and_ready_later_counts_once() -> None:
    cells: list[Cell | None] = [Cell(busy=3), Cell(busy=3, idle=3), Cell(idle=3)]
    counts = replica_counts(window(cells), cells, [], 3)
    assert [c and (c.busy, c.ready) for c in counts] == [(3, 0), (3, 0), (0, 3)]


def test_how_many_there_were_before_a_decision_is_told_by_it() -> None:
    cells: list[Cell | None] = [Cell(busy=1, idle=1), Cell(busy=1, idle=4), Cell(idle=1)]
    made = [decision(1006.0, 1, 4), decision(1010.0, 4, 1)]
    counts = replica_counts(window(cells, made), cells, made, 1)
    assert [c and c.running for c in counts] == [1, 4, 1]


def test_one_that_drains_counts_once_and_on() -> None:
    cells: list[Cell | None] = [Cell(idle=2), Cell(idle=2, draining=2), Cell(draining=2)]
    made = [decision(1007.0, 2, 0)]
    counts = replica_counts(window(cells, made), cells, made, 0)
    assert [c and (c.ready, c.draining) for c in counts] == [(2, 0), (2, 0), (0, 2)]


GAUGE = st.integers(0, 5)
CELLS = st.lists(
    st.none() | st.builds(Cell, busy=GAUGE, idle=GAUGE, starting=GAUGE, draining=GAUGE), max_size=8
)
CHANGES = st.lists(st.tuples(st.floats(1000, 1040), GAUGE, GAUGE), max_size=5)


@given(CELLS, CHANGES, GAUGE)
def test_counts_are_never_below_zero_nor_above_what_was_seen(
    cells: list[Cell | None], changes: list[tuple[float, int, int]], running: int
) -> None:
    made = [decision(*change) for change in changes]
    counts = replica_counts(window(cells, made), cells, made, running)
    for cell, count in zip(cells, counts, strict=True):
        assert (cell is None) == (count is None)
        if cell and count:
            assert count.busy == cell.busy
            assert 0 <= count.ready <= cell.idle
            assert 0 <= count.starting <= cell.starting
            assert 0 <= count.draining <= cell.draining


def test_the_chart_has_both_panels_and_the_reason_of_every_decision() -> None:
    cells: list[Cell | None] = [None, Cell(ready=4, unacknowledged=1, starting=1), Cell(busy=1)]
    made = [decision(1005.0, 0, 1), decision(1006.0, 0, 9, "other")]
    chart = backlog_and_replicas(window(cells, made), ("matmul", "cpu"), 1)
    backlog, replicas = chart["data"]["panels"]
    assert [each["values"] for each in backlog["series"]] == [[None, 4, 0], [None, 1, 0]]
    told = {each["name"]: each["values"] for each in replicas["series"]}
    assert told["busy"] == [None, 0, 1]
    assert told["starting"] == [None, 1, 0]
    assert chart["data"]["points"] == [1_000_000, 1_005_000, 1_010_000]
    assert chart["data"]["marks"] == [{"at": 1_005_000, "text": "0 → 1: because"}]
    assert chart["caption"] == (
        "The backlog was 5 at most, the replicas 1; the number of replicas changed once."
    )
    assert len(chart["table"]["rows"]) == 2
    names = [each["name"] for panel in chart["data"]["panels"] for each in panel["series"]]
    assert len(set(names)) == len(names)  # one legend for both


def test_a_time_of_which_nothing_is_known_says_so() -> None:
    assert backlog_and_replicas(window([None, None]), ("matmul", "cpu"), 0)["empty"]
    rested = backlog_and_replicas(window([Cell(), Cell()]), ("matmul", "cpu"), 0)
    assert "empty" not in rested
    assert "rested at zero" in rested["caption"]
