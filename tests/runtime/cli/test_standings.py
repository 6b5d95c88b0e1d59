"""How functions stand, as a table, and with what a gateway knows besides."""

from typing import Any

from rich.console import Console

from runtime.cli.standings import as_table, with_gateway


def view(**more: Any) -> dict[str, Any]:
    return {
        "function": "matmul",
        "device": "gpu",
        "backlog": None,
        "desired": 1,
        "ready": 1,
        "at_most": 4,
        "conditions": {"Ready": "True", "Active": "True", "Fallback": "False"},
        "last_decision": None,
        "waiting": None,
    } | more


def told(*views: dict[str, Any]) -> str:
    console = Console(width=200, highlight=False)
    with console.capture() as capture:
        console.print(as_table(views))
    return capture.get()


def gateway(ready: int, running: int, detail: str | None) -> list[dict[str, Any]]:
    waiting = None if detail is None else {"cause": "at_max", "detail": detail}
    depth = {"ready": ready, "unacknowledged": running, "dead": 0}
    return [{"name": "matmul", "backlog": {"gpu": depth}, "waiting": {"gpu": waiting}}]


def test_a_line_tells_counts_and_what_is_unusual() -> None:
    _, line = told(view()).splitlines()
    assert line.split() == ["matmul", "gpu", "?", "1", "of", "4", "1", "Ready", "Active"]
    broken = view(conditions={"Ready": "False", "Fallback": "True"}, backlog=1500.0)
    _, line = told(broken).splitlines()
    assert line.split()[2] == "1,500"
    assert "not Ready Fallback" in line
    assert "KEDA has said nothing" in told(view(conditions={}))


def test_the_last_decision_is_told_with_its_time() -> None:
    decision = {"at": "2026-01-01T12:00:00Z", "reason": "R", "message": "Scaled from 0 to 1"}
    assert "00 Scaled from 0 to 1" in told(view(last_decision=decision))
    assert "00 R" in told(view(last_decision=decision | {"message": ""}))


def test_a_gateway_s_backlog_is_that_of_now() -> None:
    (both,) = with_gateway([view(backlog=1.0)], gateway(3, 2, "all 4 replicas are busy"))
    assert (both["backlog"], both["waiting"]) == (5, "all 4 replicas are busy")


def test_what_the_cluster_says_counts_more_than_the_gateway() -> None:
    (both,) = with_gateway([view(waiting="no node has a GPU")], gateway(1, 0, "starting"))
    assert both["waiting"] == "no node has a GPU"


def test_a_function_that_the_gateway_does_not_know_stays_as_it_is() -> None:
    assert with_gateway([view()], []) == [view()]
    assert with_gateway([view(device="cpu")], gateway(1, 0, None)) == [view(device="cpu")]
