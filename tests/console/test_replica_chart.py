"""Backlog over replicas, and the reasons of every change."""

from console.digest import digest
from console.replica_chart import MOST_MARKS, replicas
from runtime.rollup import Cell
from tests.console.windows import START, decision, window


def test_backlog_and_replicas_are_two_panels_on_one_axis() -> None:
    cells: list[Cell | None] = [Cell(ready=7, unacknowledged=2, starting=1), Cell(busy=1), None]
    chart = replicas(digest(window({("f", "cpu"): cells, ("g", "gpu"): [Cell(idle=2)]})), "5 min")
    backlog, there = chart["data"]["panels"]
    assert {row["name"]: row["values"] for row in backlog["series"]} == {
        "running": [2, 0, 0, 0],
        "waiting": [7, 0, 0, 0],
    }
    assert {row["name"]: row["values"] for row in there["series"]} == {
        "CPU": [0, 1, 0, 0],
        "GPU": [2, 0, 0, 0],
        "starting": [1, 0, 0, 0],
    }
    assert chart["caption"] == (
        "Up to 9 waited or ran at once in the last 5 min, and there were 0 to 3 replicas."
    )


def test_every_decision_is_marked_with_its_reason_and_the_last_is_told() -> None:
    made = [decision(3, 0, 1), decision(7, 1, 3)]
    chart = replicas(digest(window({("f", "cpu"): [Cell(busy=1)]}, made)), "5 min")
    assert chart["data"]["marks"] == [
        {"at": int((START + 3) * 1000), "text": "f on the CPU 0 → 1: backlog 9"},
        {"at": int((START + 7) * 1000), "text": "f on the CPU 1 → 3: backlog 9"},
    ]
    assert chart["caption"].endswith("Last change: f on the CPU 1 → 3: backlog 9.")
    assert [row[3] for row in chart["table"]["rows"]] == ["1 → 3", "0 → 1"]


def test_of_very_many_decisions_the_latest_are_marked() -> None:
    made = [decision(at / 20, 0, at) for at in range(MOST_MARKS * 2)]
    marks = replicas(digest(window({("f", "cpu"): [Cell(busy=1)]}, made)), "5 min")["data"]["marks"]
    assert len(marks) == MOST_MARKS
    assert marks[-1]["text"].startswith(f"f on the CPU 0 → {MOST_MARKS * 2 - 1}")


def test_draining_replicas_are_shown_where_there_are_any() -> None:
    chart = replicas(digest(window({("f", "cpu"): [Cell(draining=1)]})), "5 min")
    assert [row["name"] for row in chart["data"]["panels"][1]["series"]] == ["starting", "draining"]


def test_without_replicas_it_says_when_there_will_be_some() -> None:
    assert (
        "replicas start when there is something to run"
        in replicas(digest(window()), "5 min")["empty"]
    )
