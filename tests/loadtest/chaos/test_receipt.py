"""What callers were told: kept, and held against itself."""

import math

from loadtest.chaos.order import Order, Way
from loadtest.chaos.receipt import Receipts, Told

ORDER = Order(7, "chaos_quick", Way.OWN, {"number": 7})
DONE = Told("succeeded", 1, ORDER.result)


def test_what_was_accepted_is_promised_and_what_was_only_answered_is_not() -> None:
    receipts = Receipts()
    assert receipts.accepted(ORDER, "a").promised
    assert not receipts.ended(ORDER, "b", DONE).promised
    assert receipts.accepted(ORDER, "b") is receipts.by_id["b"]
    assert receipts.by_id["b"].promised and receipts.by_id["b"].told == DONE
    assert receipts.by_id["a"].cancelled_at == math.inf
    assert not receipts.problems


def test_who_is_told_the_same_again_has_no_problem_and_who_is_told_otherwise_has_one() -> None:
    receipts = Receipts()
    receipts.ended(ORDER, "a", DONE)
    receipts.ended(ORDER, "a", DONE)
    assert not receipts.problems
    receipts.ended(ORDER, "a", Told("failed", 1, None))
    assert len(receipts.problems) == 1 and "a was told as" in receipts.problems[0]


def test_one_id_for_two_orders_is_a_problem() -> None:
    receipts = Receipts()
    receipts.accepted(ORDER, "a")
    receipts.accepted(Order(8, "chaos_quick", Way.ACCEPT, {"number": 8}), "a")
    assert len(receipts.problems) == 1 and "was given to orders" in receipts.problems[0]
