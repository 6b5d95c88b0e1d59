"""What a run is held to: each way to break a promise is found."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from loadtest.chaos.order import Order, Way
from loadtest.chaos.receipt import Receipt, Told
from loadtest.chaos.record import Record
from loadtest.chaos.runs import Run
from loadtest.chaos.verdict import Evidence, Verdict, judge

ORDER = Order(7, "chaos_quick", Way.ACCEPT, {"number": 7})
FAILS = Order(8, "chaos_hopeless", Way.WAIT, {"number": 8}, "failed")
DONE = Record("a", "chaos_quick", "succeeded", 1, 5.0, ORDER.result)
FAILED = Record("b", "chaos_hopeless", "failed", 1, 5.0)


def audit(*rows: Record, **more: Any) -> dict[str, Any]:
    statuses: dict[str, int] = {"queued": 0}
    for row in rows:
        statuses[row.status] = statuses.get(row.status, 0) + 1
    return {"holds": True, "problems": [], "by_status": statuses, **more}


def evidence(**more: Any) -> Evidence:
    """Of a run in which all went well."""
    given: dict[str, Any] = {
        "receipts": {
            "a": Receipt("a", ORDER, promised=True),
            "b": Receipt("b", FAILS, promised=False, told=Told("failed", 1, None)),
        },
        "listed": [FAILED, replace(DONE, result=None)],
        "rows": [DONE, FAILED],
        "audits": [audit(DONE, FAILED)],
        "large": {},
        "runs": {"a": [Run(1, 1.0)], "b": [Run(1, 1.0)]},
    }
    return Evidence(**{**given, **more})


def with_rows(*rows: Record, **more: Any) -> Evidence:
    return evidence(rows=rows, listed=rows, audits=[audit(*rows)], **more)


def receipts(**changes: Mapping[str, Any]) -> dict[str, Receipt]:
    found = dict(evidence().receipts)
    return found | {id: replace(found[id], **change) for id, change in changes.items()}


def says(verdict: Verdict, text: str) -> bool:
    return any(text in problem for problem in verdict.problems)


def test_a_run_in_which_all_went_well_holds() -> None:
    verdict = judge(evidence())
    assert verdict.holds, verdict.problems
    assert (verdict.accepted, verdict.completed, verdict.lost, verdict.twice) == (2, 2, 0, 0)
    assert verdict.statuses == {"succeeded": 1, "failed": 1}


@pytest.mark.parametrize("rows", [(FAILED,), (FAILED, replace(DONE, status="running"))])
def test_what_was_answered_202_and_is_not_terminal_is_lost(rows: tuple[Record, ...]) -> None:
    verdict = judge(with_rows(*rows))
    assert (verdict.lost, verdict.completed, verdict.holds) == (1, 1, False)
    assert says(verdict, "lost: a")


def test_what_was_answered_and_is_not_recorded_counts_where_that_is_promised() -> None:
    verdict = judge(with_rows(DONE))
    assert (verdict.lost, verdict.unrecorded, verdict.holds) == (0, 1, False)
    verdict = judge(with_rows(DONE, records_everything=False))
    assert (verdict.lost, verdict.unrecorded) == (0, 1)
    assert verdict.holds


def test_two_records_of_one_invocation_are_one_too_many() -> None:
    verdict = judge(evidence(listed=[FAILED, DONE, DONE]))
    assert verdict.twice == 1 and not verdict.holds


def test_a_record_that_changed_after_it_was_terminal_counts_as_recorded_twice() -> None:
    verdict = judge(evidence(changed=["a was this and is that"]))
    assert verdict.twice == 1 and not verdict.holds


def test_another_result_than_the_orders_is_wrong() -> None:
    verdict = judge(with_rows(replace(DONE, result="0123"), FAILED))
    assert verdict.wrong == 1 and says(verdict, "another result")


def test_a_large_result_is_looked_at_too() -> None:
    large = Order(9, "chaos_large", Way.ACCEPT)
    given = {"a": Receipt("a", large, promised=True)}
    row = replace(DONE, function="chaos_large", result=None)
    right = with_rows(row, receipts=given, large={"a": large.result}, runs={"a": [Run(1, 1.0)]})
    assert judge(right).holds
    right.large = {"a": "0123"}
    assert judge(right).wrong == 1


def test_another_status_than_the_orders_is_wrong() -> None:
    verdict = judge(with_rows(replace(DONE, status="dead", result=None), FAILED))
    assert verdict.wrong == 1 and says(verdict, "should be succeeded")


def test_a_caller_who_was_told_otherwise_than_is_recorded_was_told_wrong() -> None:
    told = receipts(b={"told": Told("timed_out", 1, None)})
    assert judge(evidence(receipts=told)).wrong == 1


def test_what_was_cancelled_must_be_so() -> None:
    cancelled = receipts(a={"cancelled_at": 0.5, "may_be_cancelled": True})
    verdict = judge(evidence(receipts=cancelled, runs={"b": [Run(1, 1.0)], "a": [Run(1, 0.4)]}))
    assert verdict.wrong == 1
    rows = (replace(DONE, status="cancelled", result=None), FAILED)
    assert judge(with_rows(*rows, receipts=cancelled, runs={"b": [Run(1, 1.0)]})).holds


def test_a_cancel_whose_answer_was_lost_may_have_been_done() -> None:
    tried = receipts(a={"may_be_cancelled": True})
    rows = (replace(DONE, status="cancelled", result=None), FAILED)
    assert judge(with_rows(*rows, receipts=tried)).holds
    assert judge(with_rows(DONE, FAILED, receipts=tried)).holds
    assert judge(with_rows(*rows)).wrong == 1, "nobody tried to"


def test_what_begins_after_its_cancel_was_answered_is_late_unless_the_broker_was_away() -> None:
    cancelled = receipts(a={"cancelled_at": 10.0, "may_be_cancelled": True})
    rows = (replace(DONE, status="cancelled", result=None), FAILED)
    runs = {"a": [Run(1, 20.0)], "b": [Run(1, 1.0)]}
    verdict = judge(with_rows(*rows, receipts=cancelled, runs=runs))
    assert verdict.late == 1 and not verdict.holds
    away = judge(with_rows(*rows, receipts=cancelled, runs=runs, outages=[(5.0, 12.0)]))
    assert away.late == 0 and away.holds
    other = judge(with_rows(*rows, receipts=cancelled, runs=runs, outages=[(1.0, 3.0)]))
    assert other.late == 1


def test_running_more_often_than_it_takes_is_shown_and_allowed() -> None:
    verdict = judge(evidence(runs={"a": [Run(1, 1.0), Run(2, 2.0)], "b": [Run(1, 1.0)]}))
    assert (verdict.ran_again, verdict.holds) == (1, True)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"runs": {"a": [Run(1, 1.0)]}}, "recorded and never ran"),
        ({"runs": {**evidence().runs, "z": [Run(1, 1.0)]}}, "ran and is not recorded"),  # type: ignore[dict-item]
        ({"queues": ["results holds 1"]}, "queue not empty"),
        ({"listed": [DONE]}, "listed otherwise"),
        ({"audits": [audit(DONE, FAILED, holds=False, problems=["no"])]}, "does not hold: no"),
        ({"audits": [audit(DONE)]}, "the audit counts otherwise"),
        ({"problems": ["a traceback"]}, "a traceback"),
    ],
)
def test_witnesses_that_disagree_are_a_problem(change: dict[str, Any], text: str) -> None:
    verdict = judge(evidence(**change))
    assert says(verdict, text) and not verdict.holds


def test_of_anothers_deployment_only_what_is_told_counts() -> None:
    own = Record("other", "chaos_quick", "succeeded", 1, 5.0)
    verdict = judge(evidence(rows=None, runs=None, listed=[DONE, FAILED, own], audits=[audit(own)]))
    assert verdict.holds, verdict.problems


def test_of_many_cases_a_few_are_shown_and_all_counted() -> None:
    orders = {str(n): Receipt(str(n), ORDER, promised=True) for n in range(12)}
    verdict = judge(evidence(receipts=orders))
    assert verdict.lost == 12 and says(verdict, "and 7 more")
