"""What would be decided next."""

import pytest

from autoscaler.policy import Policy
from console.outlook import Past, outlook
from runtime.function import Scaling
from runtime.ledger import ScalingDecision
from runtime.model import Depth
from runtime.rollup import Cell

POLICY = Policy.of(Scaling(target=2, cooldown=60, stabilization_window=30, max_replicas=4), 4)
NOW = 1300.0


def past(*cells: Cell | None) -> Past:
    """History that ends now, in buckets of five seconds."""
    return Past(NOW - 5 * len(cells), 5.0, cells)


def test_an_empty_queue_rests_at_zero() -> None:
    seen = outlook(POLICY, Depth(), 0, past(Cell(), Cell()), [], NOW)
    assert (seen.next, seen.wanted, seen.cooldown_left) == (0, 0, None)
    assert "rests at zero" in seen.reason


def test_the_first_message_wakes_it() -> None:
    seen = outlook(POLICY, Depth(ready=1), 0, past(Cell()), [], NOW)
    assert (seen.backlog, seen.wanted, seen.next) == (1, 1, 1)
    assert "activation 0 → 1" in seen.reason
    assert seen.idle == 0.0


def test_a_backlog_is_divided_by_the_target_and_held_to_the_limit() -> None:
    seen = outlook(POLICY, Depth(ready=20, unacknowledged=3), 2, past(Cell(ready=20)), [], NOW)
    assert (seen.backlog, seen.wanted, seen.next) == (23, 12, 4)
    assert seen.reason == "backlog 23 / target 2 → 12, held to max 4"


def test_without_backlog_it_says_how_much_of_the_cooldown_is_left() -> None:
    quiet = past(*[Cell(ready=1)] * 2, *[Cell()] * 8)
    seen = outlook(POLICY, Depth(), 1, quiet, [], NOW)
    assert seen.idle == pytest.approx(40.0)
    assert seen.cooldown_left == pytest.approx(20.0)
    assert seen.next == 1
    assert seen.reason == "no backlog, waits for cooldown (20 s left)"


def test_invocations_too_short_to_be_seen_waiting_keep_it_awake() -> None:
    seen = outlook(POLICY, Depth(), 1, past(Cell(), Cell(statuses={"succeeded": 3})), [], NOW)
    assert seen.cooldown_left == pytest.approx(60.0)


def test_after_the_cooldown_the_last_goes() -> None:
    seen = outlook(POLICY, Depth(), 1, past(Cell(ready=1), *[Cell()] * 20), [], NOW)
    assert (seen.next, seen.cooldown_left) == (0, 0.0)


def test_a_higher_backlog_of_a_moment_ago_holds_back_scale_in() -> None:
    before = past(Cell(ready=8), Cell(ready=2), Cell(ready=2))
    seen = outlook(POLICY, Depth(ready=2), 4, before, [], NOW)
    assert (seen.wanted, seen.next) == (1, 4)
    assert "held at 4 by the stabilization window (20 s left)" in seen.reason


def test_a_change_of_just_now_counts_towards_the_rate_of_changes() -> None:
    policy = Policy.of(Scaling(target=1, max_replicas=100), 100)
    made = [ScalingDecision(NOW - 1, "f", "cpu", 1, 5, "because", 50)]
    fresh = outlook(policy, Depth(ready=50), 5, past(Cell(ready=50)), [], NOW)
    limited = outlook(policy, Depth(ready=50), 5, past(Cell(ready=50)), made, NOW)
    assert fresh.next > limited.next == 5


def test_where_there_is_no_history_what_was_before_counts_as_quiet() -> None:
    seen = outlook(POLICY, Depth(), 2, past(None, None), [], NOW)
    assert seen.idle is None
    assert seen.cooldown_left is None
    assert seen.next == 2  # ten seconds are not the cooldown
