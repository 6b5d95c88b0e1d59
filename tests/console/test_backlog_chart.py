"""Backlog and replicas on one axis."""

from console.backlog_chart import backlog_and_replicas
from runtime.history import Window
from runtime.ledger import ScalingDecision
from runtime.model import Device
from runtime.rollup import Cell

KEY: tuple[str, Device] = ("matmul", "cpu")


def window(cells: list[Cell | None], made: list[ScalingDecision] | None = None) -> Window:
    return Window(1000.0, 5, len(cells), {("matmul", "cpu"): cells}, made or [])


def decision(at: float, before: int, after: int, function: str = "matmul") -> ScalingDecision:
    return ScalingDecision(at, function, "cpu", before, after, "because", 3)


def test_the_chart_has_both_panels_and_the_reason_of_every_decision() -> None:
    cells: list[Cell | None] = [None, Cell(ready=4, unacknowledged=1, starting=1), Cell(busy=1)]
    made = [decision(1005.0, 0, 1), decision(1006.0, 0, 9, "other")]
    chart = backlog_and_replicas(window(cells, made), KEY)
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
    assert backlog_and_replicas(window([None, None]), KEY)["empty"]
    rested = backlog_and_replicas(window([Cell(), Cell()]), KEY)
    assert "empty" not in rested
    assert "rested at zero" in rested["caption"]
