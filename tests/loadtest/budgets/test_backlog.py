"""A long queue: what is made of what was seen, and a short one in a real node."""

import dataclasses
from pathlib import Path

from loadtest.budgets.backlog import Seen, fill_and_drain, row
from loadtest.budgets.closed import Measured
from loadtest.budgets.server import node

FILLED = Measured(1000, 0, {}, 1.0, 1000.0, 0.001, 0.002, 0.003, 0.004, 0.00001)
AUDIT = {"holds": True, "problems": [], "by_status": {"queued": 0, "succeeded": 1501, "failed": 0}}
SEEN = Seen(
    number=1000,
    filled=FILLED,
    waiting=1000,
    before=80 * 2**20,
    full=80 * 2**20 + 900 * 1024,
    after=81 * 2**20,
    draining=0.5,
    audit=AUDIT,
    accepted=1501,
)


def test_a_queue_is_told_by_what_each_costs_and_how_fast_it_drains() -> None:
    told = row(SEEN)
    assert told.measured == "0.90 KB each; drained at 2,000 a second; none lost"
    assert told.verdict == "met"
    assert "Of 1,501 accepted in all, GET /audit says: 1,501 succeeded; it holds." in told.detail


def test_an_invocation_that_did_not_succeed_makes_the_row_void() -> None:
    audit = AUDIT | {"by_status": {"succeeded": 1499, "failed": 1}}
    told = row(dataclasses.replace(SEEN, audit=audit))
    assert told.measured.endswith("2 lost")
    assert told.verdict == "2 did not succeed"


def test_an_audit_that_does_not_hold_makes_the_row_void() -> None:
    audit = AUDIT | {"holds": False, "problems": ["one row too many"]}
    told = row(dataclasses.replace(SEEN, audit=audit))
    assert told.verdict == "the audit does not hold: one row too many"
    assert told.detail.endswith("it does not hold.")


def test_a_queue_that_was_not_full_when_looked_at_makes_the_row_void() -> None:
    told = row(dataclasses.replace(SEEN, waiting=990))
    assert told.verdict == "990 were waiting when the memory was looked at"


def test_what_is_queued_behind_a_held_replica_comes_out_again(tmp_path: Path) -> None:
    with node(tmp_path, queue_limit=2000) as lumbre:
        seen = fill_and_drain(lumbre, tmp_path, 300)
    assert row(seen).faults == ()
    assert seen.waiting == 300
    assert seen.audit["by_status"]["succeeded"] == 801
    assert seen.full >= seen.before
