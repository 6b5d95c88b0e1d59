"""The policy against what the real KEDA and HPA did, and against what must always hold.

The timelines were measured with KEDA 2.20.2, Kubernetes 1.36 and RabbitMQ 3.10.8.
"""

from collections import deque
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from autoscaler.policy import (
    Behavior,
    Decision,
    Fallback,
    Memory,
    Observation,
    Policy,
    Rate,
    Rates,
    Sample,
    decide,
)
from runtime.function import Scaling

SYNC = 15.02  # seconds between two syncs of the measured HPA, which asks for 15


MEASURED = Policy(  # the policy of the timelines: KEDA's defaults, but faster
    target=5,
    max_replicas=8,
    polling_interval=1,
    cooldown=5,
    sync_interval=SYNC,
    exclude_unacknowledged=True,  # what protocol amqp sees
)


Change = tuple[int, float]  # replicas, seconds


@dataclass(frozen=True)
class Timeline:
    """A measured case: when KEDA looked and the HPA synced first, what they saw, what they did."""

    name: str
    polls: float
    syncs: float
    seen: list[tuple[float, dict[str, Any]]]  # when the scaler could see it, not when it was done
    did: list[Change]
    until: float
    policy: Policy = MEASURED
    replicas: int = 0


def replay(timeline: Timeline) -> list[tuple[Change, str]]:
    """Call decide whenever KEDA or the HPA is due; its changes, with their reasons."""
    memory = replace(Memory.start(0), next_poll=timeline.polls, next_sync=timeline.syncs)
    seen = Observation(now=0, ready=0, replicas=timeline.replicas)
    script, did = deque(timeline.seen), list[tuple[Change, str]]()
    while True:
        due = min(memory.next_poll, memory.next_sync)
        if seen.paused:  # nothing is due until the script goes on
            due = script[0][0]
        if due > timeline.until:
            return did
        seen = replace(seen, now=max(due, seen.now))
        while script and script[0][0] <= seen.now:
            seen = replace(seen, **script.popleft()[1])
        decision, memory = decide(timeline.policy, seen, memory)
        if decision.replicas != seen.replicas:
            did.append(((decision.replicas, seen.now), decision.reason))
            seen = replace(seen, replicas=decision.replicas)


UP_8 = Rates((Rate(8, "replicas"),))
HELD = {"ready": 0, "unacknowledged": 20}
GIVEN_BACK = {"ready": 20, "unacknowledged": 0}

TIMELINES = [
    Timeline(
        "default",
        polls=0.15,
        syncs=11.17,
        seen=[(5.02, {"ready": 100}), (45.01, {"ready": 0})],
        did=[(1, 5.15), (4, 11.17), (8, 26.19), (0, 49.2)],
        until=60,
    ),
    Timeline(
        "default, other phases",
        polls=0.03,
        syncs=6.0,
        seen=[(2.01, {"ready": 100}), (60.0, {"ready": 0})],
        did=[(1, 3.0), (4, 6.0), (8, 21.03), (0, 64.05)],
        until=80,
    ),
    Timeline(
        "behavior",
        polls=0.1,
        syncs=11.81,
        seen=[(2.03, {"ready": 100}), (40.04, {"ready": 12}), (75.0, {"ready": 0})],
        did=[(1, 2.1), (8, 11.81), (3, 41.87), (0, 79.16)],
        until=90,
        policy=replace(MEASURED, behavior=Behavior(scale_up=UP_8), stabilization_window=0),
    ),
    Timeline(
        "stabilized",
        polls=0.3,
        syncs=10.27,
        seen=[(2.13, {"ready": 100}), (45.03, {"ready": 12}), (380.0, {"ready": 0})],
        did=[(1, 2.3), (4, 10.27), (8, 25.33), (3, 340.99), (0, 384.57)],
        until=400,
    ),
    Timeline(
        "tolerance",
        polls=0.85,
        syncs=10.1,
        seen=[
            (2.01, {"ready": 40}),
            (50.0, {"ready": 44}),  # ratio 1.1 exactly
            (85.0, {"ready": 45}),
            (115.01, {"ready": 36}),  # then 0.9 exactly
        ],
        did=[(1, 2.85), (5, 9.89), (8, 25.13), (9, 85.26), (8, 115.3)],
        until=150,
        policy=replace(MEASURED, max_replicas=20, behavior=Behavior(), stabilization_window=0),
    ),
    Timeline(
        "unacknowledged, amqp",
        polls=0.18,
        syncs=12.93,
        seen=[(2.01, {"ready": 20}), (30.02, HELD), (50.0, GIVEN_BACK), (60.0, {"ready": 0})],
        did=[(1, 2.18), (4, 12.93), (0, 34.21), (1, 50.3), (4, 57.99), (0, 64.31)],
        until=75,
    ),
    Timeline(
        "unacknowledged, http",
        polls=0.82,
        syncs=9.87,
        seen=[(5.3, {"ready": 20}), (35.5, HELD), (55.5, GIVEN_BACK), (65.0, {"ready": 0})],
        did=[(1, 5.82), (4, 9.87), (0, 69.86)],
        until=80,
        policy=replace(MEASURED, exclude_unacknowledged=False),
    ),
    Timeline(
        "unacknowledged, http, excluded",
        polls=0.92,
        syncs=9.99,
        seen=[(6.2, {"ready": 20}), (36.2, HELD), (55.5, GIVEN_BACK), (65.5, {"ready": 0})],
        did=[(1, 6.89), (4, 9.99), (0, 40.98), (1, 55.99), (0, 70.0)],
        until=80,
    ),
    Timeline(
        "activation",
        polls=0.18,
        syncs=10.86,
        seen=[(2.02, {"ready": 10}), (15.0, {"ready": 11}), (45.0, {"ready": 10})],
        did=[(1, 15.18), (3, 25.89), (0, 49.19)],
        until=65,
        policy=replace(MEASURED, activation=10),
    ),
    Timeline(
        "idle",
        polls=0.48,
        syncs=11.24,
        seen=[(2.0, {"ready": 1}), (25.01, {"ready": 0})],
        did=[(2, 2.49), (0, 29.5)],
        until=50,
        policy=replace(MEASURED, min_replicas=2, idle_replicas=0),
    ),
    Timeline(
        "min 2",
        polls=0.39,
        syncs=11.17,
        seen=[(2.02, {"ready": 100}), (40.01, {"ready": 0})],
        did=[(2, 0.55), (4, 11.17), (8, 26.22)],
        until=60,
        policy=replace(MEASURED, min_replicas=2),
    ),
    Timeline(
        "fallback",
        polls=0.6,
        syncs=10.58,
        seen=[(10.01, {"error": True}), (53.8, {"error": False})],
        did=[(1, 13.62), (4, 25.69), (6, 40.78), (0, 58.9)],
        until=75,
        policy=replace(MEASURED, fallback=Fallback(3, 6)),
    ),
    Timeline(
        "no fallback, queue deleted",
        polls=0.86,
        syncs=10.83,
        seen=[
            (2.01, {"ready": 30}),
            (30.02, {"error": True}),
            (55.01, {"error": False, "ready": 0}),
        ],
        did=[(1, 2.86), (4, 10.83), (6, 26.04), (0, 55.2)],
        until=65,
    ),
    Timeline(
        "broker down, amqp",  # KEDA never gets as far as its fallback: as if there were none
        polls=0.79,
        syncs=10.79,
        seen=[(2.0, {"ready": 10}), (28.0, {"error": True}), (95.9, {"error": False})],
        did=[(1, 2.79), (2, 10.79)],
        until=110,
    ),
    Timeline(
        "fallback, broker down, http",
        polls=0.85,
        syncs=10.87,
        seen=[
            (3.5, {"ready": 10}),
            (28.0, {"error": True}),
            (96.4, {"error": False, "ready": 0}),  # statistics are not back yet
            (101.39, {"ready": 10}),
        ],
        did=[(1, 3.85), (2, 10.87), (4, 40.95), (6, 55.99), (0, 100.98), (1, 101.99)],
        until=110,
        policy=replace(MEASURED, fallback=Fallback(3, 6)),
    ),
    Timeline(
        "queue missing at first",
        polls=0.76,
        syncs=10.73,
        seen=[
            (0.0, {"error": True}),
            (15.01, {"error": False}),
            (20.01, {"ready": 3}),
            (45.0, {"ready": 0}),
        ],
        did=[(1, 20.76), (0, 49.78)],
        until=60,
    ),
    Timeline(
        "force-activation",
        polls=0.02,
        syncs=11.84,
        seen=[(5.15, {"force_activation": True}), (20.15, {"force_activation": False})],
        did=[(1, 6.02), (0, 25.12)],
        until=40,
    ),
    Timeline(
        "paused-scale-in",
        polls=0.41,
        syncs=10.37,
        seen=[
            (2.01, {"ready": 20}),
            (30.34, {"paused_scale_in": True}),
            (32.0, {"ready": 0}),
            (50.76, {"paused_scale_in": False}),
        ],
        did=[(1, 2.41), (4, 10.37), (0, 51.53)],
        until=60,
    ),
    Timeline(
        "paused",
        polls=0.66,
        syncs=14.0,
        seen=[
            (2.0, {"ready": 7}),
            (10.24, {"paused": True, "replicas": 3}),  # paused-replicas: 3
            (22.0, {"ready": 0}),
            (30.15, {"paused": False}),
            (51.31, {"paused": True}),
            (53.38, {"ready": 10}),
            (60.29, {"paused": False}),
        ],
        did=[(1, 2.66), (0, 30.26), (1, 60.43)],
        until=62,
    ),
    Timeline(
        "initial cooldown 15",
        polls=0.31,
        syncs=11.23,
        seen=[],
        did=[(0, 15.31)],
        until=30,
        policy=replace(MEASURED, initial_cooldown=15),
        replicas=3,
    ),
    Timeline(
        "real consumers",
        polls=0.1,
        syncs=16.1,
        seen=[
            (20.06, {"ready": 150}),
            (31.0, {"ready": 130}),
            (46.0, {"ready": 16}),  # wants 4: the 26 of 15 s ago still drives it to 8
            (48.0, {"ready": 0}),
        ],
        did=[(1, 20.1), (4, 31.12), (8, 46.18), (0, 52.1)],
        until=65,
    ),
]


@pytest.mark.parametrize("timeline", TIMELINES, ids=lambda t: t.name)
def test_a_measured_timeline_happens_again(timeline: Timeline) -> None:
    did = [change for change, _ in replay(timeline)]
    assert [replicas for replicas, _ in did] == [replicas for replicas, _ in timeline.did]
    for (_, at), (_, measured_at) in zip(did, timeline.did, strict=True):
        assert at == pytest.approx(measured_at, abs=1.0)


@pytest.mark.parametrize("phase", [0.5, 4, 8, 12])
def test_the_phase_of_the_hpa_moves_its_own_steps_only(phase: float) -> None:
    did = [change for change, _ in replay(replace(TIMELINES[0], syncs=phase))]
    assert [replicas for replicas, _ in did] == [1, 4, 8, 0]
    for (_, at), (_, measured_at), allowed in zip(
        did, TIMELINES[0].did, (1, 15, 15, 1), strict=True
    ):
        assert at == pytest.approx(measured_at, abs=allowed)


def test_reasons_tell_a_timeline_with_its_numbers() -> None:
    assert [reason for _, reason in replay(TIMELINES[0])] == [
        "activation 0 → 1; next backlog 100 / target 5 → 20, held to max 8",
        "backlog 100 / target 5 → 20, scale-out rate: 4",
        "backlog 100 / target 5 → 20, held to max 8",
        "no backlog for 5 s: to zero",
    ]


# One decision at a time, on the local engine.

LOCAL = Policy.of(Scaling(target=4, cooldown=60, stabilization_window=30), max_replicas=16)


def once(
    policy: Policy = LOCAL, memory: Memory | None = None, **seen: Any
) -> tuple[Decision, Memory]:
    observation = Observation(**{"now": 100.0, "ready": 0, "replicas": 0} | seen)
    return decide(policy, observation, memory or Memory.start(observation.now))


def settled(**changes: Any) -> Memory:
    """Memory at 100 s of something active a second ago, with nothing due before 200 s."""
    basis = Memory(created=0, next_poll=200, next_sync=200, last_active=99)
    return replace(basis, **changes)


def test_scaling_means_the_same_in_a_policy() -> None:
    scaling = Scaling(
        min_replicas=1,
        max_replicas=3,
        target=7,
        activation=2,
        polling_interval=0.5,
        cooldown=11,
        stabilization_window=13,
        tolerance=0.2,
    )
    policy = Policy.of(scaling, max_replicas=9)
    for field in Scaling.__dataclass_fields__:
        assert getattr(policy, field) == getattr(scaling, field)
    assert (policy.behavior, policy.sync_interval) == (Behavior(), 0)
    assert Policy.of(Scaling(), max_replicas=9).max_replicas == 9


def test_a_publish_to_an_empty_queue_activates_before_the_poll_is_due() -> None:
    asleep = settled(next_sync=0)
    unmoved, _ = once(memory=asleep, ready=37)
    assert unmoved == Decision(0, "backlog 37, next look in 100 s")
    woken, memory = once(memory=asleep, ready=37, woken=True)
    assert woken == Decision(1, "activation 0 → 1; next backlog 37 / target 4 → 10")
    assert (memory.next_poll, memory.last_active) == (102, 100)
    following, _ = once(memory=memory, now=100.0, ready=37, replicas=1)
    assert following.replicas == 5  # the HPA's part, as far as its rates go


def test_replicas_follow_the_backlog_as_fast_as_the_rates_allow() -> None:
    memory, replicas, grew = Memory.start(0), 0, list[Change]()
    for second in range(0, 60, 2):
        seen = Observation(now=second, ready=1000, replicas=replicas)
        decision, memory = decide(LOCAL, seen, memory)
        if decision.replicas != replicas:
            grew.append((decision.replicas, second))
        replicas = decision.replicas
    assert grew == [(1, 0), (5, 2), (10, 18), (16, 34)]


def test_unacknowledged_messages_are_backlog_unless_excluded() -> None:
    busy: dict[str, Any] = {"memory": settled(next_sync=0), "unacknowledged": 12, "replicas": 1}
    assert once(**busy)[0].replicas == 3
    assert once(replace(LOCAL, exclude_unacknowledged=True), **busy)[0].replicas == 1


@pytest.mark.parametrize(
    ("replicas", "backlog", "expected"),
    [(8, 8 * 4, 8), (10, 44, 10), (10, 45, 12), (10, 36, 10), (10, 35, 9), (5, 22, 5), (1, 5, 2)],
)
def test_the_tolerance_holds_its_own_edges(replicas: int, backlog: int, expected: int) -> None:
    policy = replace(LOCAL, stabilization_window=0)
    memory = settled(next_sync=0)
    assert once(policy, memory, ready=backlog, replicas=replicas)[0].replicas == expected


@pytest.mark.parametrize("target", [0.1, 0.3, 0.57, 1.001, 2.3])
def test_a_fractional_target_divides_exactly(target: float) -> None:
    fast = Behavior(scale_up=Rates((Rate(1_000_000, "replicas"),)))
    policy = replace(LOCAL, target=target, max_replicas=1_000_000, tolerance=0, behavior=fast)
    for times in range(1, 200):
        backlog = round(target * 1000) * times
        decision, _ = once(policy, settled(next_sync=0), ready=backlog, replicas=1)
        assert decision.replicas == 1000 * times


def test_the_smallest_target_is_a_thousandth() -> None:
    policy = replace(LOCAL, target=1e-9, max_replicas=5)
    assert once(policy, settled(next_sync=0), ready=1, replicas=1)[0].replicas == 5


def test_scale_in_waits_until_the_window_holds_no_higher_recommendation() -> None:
    memory = settled(next_sync=0, recommendations=(Sample(80, 6), Sample(85, 3)))
    decision, memory = once(memory=memory, ready=8, replicas=6)
    held = "backlog 8 / target 4 → 2, held at 6 by the stabilization window (10 s left)"
    assert decision == Decision(6, held)
    assert once(memory=memory, now=109.9, ready=8, replicas=6)[0].replicas == 6
    assert once(memory=memory, now=110.0, ready=8, replicas=6)[0].replicas == 3
    assert once(memory=memory, now=115.0, ready=8, replicas=3)[0].replicas == 2


def test_behavior_nil_counts_the_recommendation_on_the_edge_of_the_window() -> None:
    policy = replace(LOCAL, behavior=None)
    memory = settled(next_sync=0, recommendations=(Sample(80, 6),))
    assert once(policy, memory, now=110.0, ready=8, replicas=6)[0].replicas == 6
    assert once(policy, memory, now=110.1, ready=8, replicas=6)[0].replicas == 2


def test_only_behavior_nil_scales_out_on_an_old_recommendation() -> None:
    memory = settled(next_sync=0, recommendations=(Sample(80, 6),))
    assert once(memory=memory, ready=16, replicas=4)[0].replicas == 4
    assert once(replace(LOCAL, behavior=None), memory, ready=16, replicas=4)[0].replicas == 6


def test_the_scale_up_window_takes_the_lowest_recommendation() -> None:
    policy = replace(LOCAL, scale_up_window=10)
    memory = settled(next_sync=0, recommendations=(Sample(95, 3),))
    decision, memory = once(policy, memory, ready=20, replicas=2)
    held = "backlog 20 / target 4 → 5, scale-out held at 3 by the scale-up window"
    assert decision == Decision(3, held)
    assert once(policy, memory, now=104.9, ready=20, replicas=3)[0].replicas == 3
    assert once(policy, memory, now=105.0, ready=20, replicas=3)[0].replicas == 5


def rated(rates: tuple[Rate, ...], select: Literal["max", "min", "disabled"], up: bool) -> Policy:
    chosen = Rates(rates, select)
    behavior = Behavior(scale_up=chosen) if up else Behavior(scale_down=chosen)
    return replace(LOCAL, max_replicas=100, stabilization_window=0, behavior=behavior)


TWO_RATES = (Rate(3, "replicas"), Rate(50, "percent", 60))


@pytest.mark.parametrize(
    ("select", "up", "expected"),
    [
        ("max", True, 15),
        ("min", True, 13),
        ("disabled", True, 10),
        ("max", False, 5),
        ("min", False, 7),
        ("disabled", False, 10),
    ],
)
def test_select_names_the_rate_that_counts(
    select: Literal["max", "min", "disabled"], up: bool, expected: int
) -> None:
    policy = rated(TWO_RATES, select, up)
    decision, _ = once(policy, settled(next_sync=0), ready=1000 if up else 1, replicas=10)
    assert decision.replicas == expected


def test_a_rate_counts_from_where_its_period_began() -> None:
    policy = rated((Rate(50, "percent", 60),), "max", up=True)
    grown = settled(next_sync=0, changes=(Sample(30, 7), Sample(50, 2), Sample(60, -1)))
    assert once(policy, grown, ready=1000, replicas=10)[0].replicas == 14  # 9 × 1.5, up
    on_the_edge = settled(next_sync=0, changes=(Sample(40, 8),))
    assert once(policy, on_the_edge, ready=1000, replicas=10)[0].replicas == 15
    halving = rated((Rate(50, "percent"),), "max", up=False)
    assert once(halving, settled(next_sync=0), ready=1, replicas=9)[0].replicas == 4  # 4.5, down
    shrunk = settled(next_sync=0, changes=(Sample(45, -4),))
    slow = rated((Rate(5, "replicas", 60),), "max", up=False)
    assert once(slow, shrunk, ready=1, replicas=10)[0].replicas == 9  # 4 of 5 went at 45 s
    exhausted = settled(next_sync=0, changes=(Sample(45, -9),))
    assert once(slow, exhausted, ready=1, replicas=10)[0].replicas == 10


def test_changes_are_remembered_for_the_longest_period() -> None:
    policy = rated((Rate(2, "replicas", 5), Rate(6, "replicas", 60)), "min", up=True)
    engine = Engine(policy)
    grew = [engine.step(second, ready=1000).replicas for second in (0, 1, 30, 20, 5, 5, 1)]
    assert grew == [1, 3, 5, 7, 7, 9, 9]  # 6 in the minute that began with the second look


def test_the_way_to_zero_goes_before_a_sync_due_at_the_same_moment() -> None:
    policy = replace(LOCAL, stabilization_window=0)
    memory = settled(next_poll=0, next_sync=0, last_active=30)
    decision, memory = once(policy, memory, replicas=5)
    assert decision == Decision(0, "no backlog for 70 s: to zero")
    assert (memory.next_poll, memory.next_sync) == (102, 0)


def test_bounds_come_back_at_a_sync_even_where_the_backlog_cannot_be_read() -> None:
    policy = replace(LOCAL, min_replicas=2, max_replicas=4)
    above, memory = once(policy, settled(next_sync=0), ready=0, replicas=6, error=True)
    assert above == Decision(4, "above max 4: 6 → 4")
    assert memory.changes == (Sample(100, -2),)
    below, _ = once(policy, settled(next_sync=0), ready=0, replicas=1, error=True)
    assert below == Decision(2, "below min 2: 1 → 2")


@pytest.mark.parametrize(
    ("behavior", "replicas", "expected"),
    [
        ("static", 2, 4),
        ("static", 9, 4),
        ("currentReplicas", 2, 2),
        ("currentReplicas", 9, 9),
        ("currentReplicasIfHigher", 2, 4),
        ("currentReplicasIfHigher", 9, 9),
        ("currentReplicasIfLower", 2, 2),
        ("currentReplicasIfLower", 9, 4),
    ],
)
def test_each_fallback_behavior_assumes_its_own_count(
    behavior: Any, replicas: int, expected: int
) -> None:
    policy = replace(LOCAL, stabilization_window=0, fallback=Fallback(3, 4, behavior))
    memory = settled(next_sync=0, failures=3)
    assert once(policy, memory, ready=0, replicas=replicas, error=True)[0].replicas == expected


def test_failures_count_in_looks_and_syncs_until_one_succeeds() -> None:
    policy = replace(LOCAL, fallback=Fallback(3, 6))
    frozen, memory = once(policy, ready=0, replicas=2, error=True)
    assert memory.failures == 2
    assert frozen.reason == ("backlog cannot be read: stays at 2 (failure 1, fallback after 3)")
    fired, memory = once(policy, replace(memory, next_poll=0), ready=0, replicas=2, error=True)
    assert fired == Decision(6, "backlog cannot be read, fallback → 6")
    assert memory.failures == 4
    _, memory = once(policy, memory, ready=8, replicas=6)
    assert memory.failures == 0


def test_a_fallback_to_zero_lets_an_unreadable_queue_rest() -> None:
    policy = replace(LOCAL, fallback=Fallback(3, 0))
    memory = settled(next_poll=0, last_active=30)
    assert once(policy, memory, ready=0, replicas=2, error=True)[0].replicas == 0


def test_the_cooldown_runs_from_the_last_active_look() -> None:
    memory = settled(next_poll=0, last_active=52)
    waiting, _ = once(memory=memory, ready=0, replicas=2)
    assert waiting == Decision(2, "no backlog, waits for cooldown (12 s left)")
    assert once(memory=memory, now=112.0, ready=0, replicas=2)[0].replicas == 2
    assert once(memory=memory, now=112.1, ready=0, replicas=2) == (
        Decision(0, "no backlog for 60 s: to zero"),
        replace(memory, next_poll=114.1),
    )


def test_whole_seconds_of_the_clock_end_a_cooldown_earlier() -> None:
    policy = replace(LOCAL, clock_resolution=1)
    memory = settled(next_poll=0, last_active=39.9)
    assert once(policy, memory, now=99.5, replicas=2)[0].replicas == 0
    assert once(memory=memory, now=99.5, replicas=2)[0].replicas == 2


def test_backlog_at_the_activation_does_not_wake_and_does_not_keep() -> None:
    policy = replace(LOCAL, activation=10)
    asleep, _ = once(policy, ready=10)
    assert asleep == Decision(0, "backlog 10 not above activation 10: rests at zero")
    assert once(policy, ready=11)[0].replicas == 1
    quiet = settled(next_poll=0, last_active=30)
    assert once(policy, quiet, ready=10, replicas=2) == (
        Decision(0, "backlog 10 not above activation 10 for 70 s: to zero"),
        replace(quiet, next_poll=102),
    )


def test_force_activation_wakes_and_keeps_one_but_says_nothing_of_an_unreadable_queue() -> None:
    assert once(ready=0, force_activation=True)[0] == Decision(1, "activation 0 → 1: forced")
    memory = settled(next_poll=0, last_active=1)
    _, forced = once(memory=memory, replicas=1, force_activation=True)
    assert forced.last_active == 100
    _, blind = once(memory=memory, replicas=1, force_activation=True, error=True)
    assert blind.last_active == 1


def test_a_paused_direction_stays_while_the_other_moves() -> None:
    policy = replace(LOCAL, stabilization_window=0)
    memory = settled(next_sync=0)
    held, _ = once(policy, memory, ready=4, replicas=5, paused_scale_in=True)
    assert held == Decision(5, "backlog 4 / target 4 → 1, scale-in is paused: 5")
    assert once(policy, memory, ready=40, replicas=5, paused_scale_in=True)[0].replicas == 10
    held, _ = once(policy, memory, ready=40, replicas=5, paused_scale_out=True)
    assert held == Decision(5, "backlog 40 / target 4 → 10, scale-out is paused: 5")
    assert once(policy, memory, ready=4, replicas=5, paused_scale_out=True)[0].replicas == 1
    asleep, memory = once(ready=40, paused_scale_out=True)
    assert asleep == Decision(0, "scale-out is paused at 0")
    assert memory.last_active is None


def test_a_pause_forgets_the_hpa_and_the_first_look_after_it_is_at_once() -> None:
    memory = settled(last_active=30, recommendations=(Sample(90, 9),), changes=(Sample(90, 9),))
    paused, memory = once(MEASURED, memory, ready=100, replicas=3, paused=True)
    assert paused == Decision(3, "paused at 3")
    assert memory == Memory(0, next_poll=100, next_sync=100 + SYNC, last_active=30)
    assert once(MEASURED, memory, now=100.5, replicas=3)[0].replicas == 0


def test_rest_may_be_an_idle_count_above_zero() -> None:
    policy = replace(LOCAL, min_replicas=3, idle_replicas=1, sync_interval=1000)
    memory = settled(next_poll=0, last_active=30)
    gone, _ = once(policy, memory, replicas=3)
    assert gone == Decision(1, "no backlog for 70 s: to 1")
    assert once(policy, memory, replicas=1)[0] == Decision(1, "no backlog: rests at 1")
    assert once(policy, memory, replicas=1, ready=1)[0].replicas == 3


def test_min_is_kept_without_backlog() -> None:
    policy = replace(LOCAL, min_replicas=2, stabilization_window=0)
    assert once(policy, replicas=0)[0] == Decision(2, "below min 2: 0 → 2")
    held, _ = once(policy, settled(next_poll=0, next_sync=0), replicas=2)
    assert held == Decision(2, "backlog 0 / target 4 → 0, held to min 2")


# Whatever happens.


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    low = draw(st.integers(0, 3))
    rates = st.builds(
        Rates,
        st.lists(
            st.builds(
                Rate,
                st.integers(1, 100),
                st.sampled_from(["replicas", "percent"]),
                st.sampled_from([5.0, 15.0]),
            ),
            min_size=1,
            max_size=2,
        ).map(tuple),
        st.sampled_from(["max", "min"]),
    )
    return Policy(
        target=draw(st.sampled_from([0.5, 1, 2.5, 4, 10])),
        min_replicas=low,
        max_replicas=draw(st.integers(max(1, low), 12)),
        activation=draw(st.sampled_from([0, 0, 3])),
        exclude_unacknowledged=draw(st.booleans()),
        polling_interval=draw(st.sampled_from([1.0, 2.0])),
        cooldown=draw(st.sampled_from([0.0, 3.0, 20.0])),
        initial_cooldown=draw(st.sampled_from([0.0, 4.0])),
        clock_resolution=draw(st.sampled_from([0.0, 1.0])),
        idle_replicas=draw(st.sampled_from([None, 0])) if low else None,
        sync_interval=draw(st.sampled_from([0.0, 5.0])),
        tolerance=draw(st.sampled_from([0.0, 0.1, 0.3])),
        stabilization_window=draw(st.sampled_from([0.0, 6.0, 30.0])),
        scale_up_window=draw(st.sampled_from([0.0, 0.0, 8.0])),
        behavior=draw(st.none() | st.just(Behavior()) | st.builds(Behavior, rates, rates)),
        fallback=draw(
            st.none()
            | st.builds(
                Fallback,
                st.integers(0, 3),
                st.integers(0, 15),
                st.sampled_from(["static", "currentReplicas", "currentReplicasIfHigher"]),
            )
        ),
    )


counts = st.integers(0, 60) | st.sampled_from([0, 1, 3, 4])
flag = st.sampled_from([False, False, False, True])
moments = st.fixed_dictionaries(
    {
        "ready": counts,
        "unacknowledged": st.integers(0, 8),
        "error": flag,
        "woken": flag,
        "paused": flag,
        "paused_scale_in": flag,
        "paused_scale_out": flag,
        "force_activation": flag,
    }
)
histories = st.lists(st.tuples(st.sampled_from([0.0, 0.4, 1.0, 2.0, 7.0]), moments), max_size=25)
History = list[tuple[float, dict[str, Any]]]
unhurried = settings(deadline=None)  # a busy machine is no failure


class Engine:
    """Carries a policy through time: what it decides is what there is at the next moment."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.now, self.memory = policy, 0.0, Memory.start(0)
        rest = policy.min_replicas if policy.idle_replicas is None else policy.idle_replicas
        self.replicas = rest

    def live(self, history: History) -> "Engine":
        for wait, moment in history:
            self.step(wait, **moment)
        return self

    def step(self, wait: float, **moment: Any) -> Decision:
        self.now += wait
        decision, self.memory = self.decide(**moment)
        self.replicas = decision.replicas
        return decision

    def decide(self, **moment: Any) -> tuple[Decision, Memory]:
        seen = Observation(**{"ready": 0} | moment, now=self.now, replicas=self.replicas)
        return decide(self.policy, seen, self.memory)


@unhurried
@given(policies(), histories)
def test_replicas_always_stay_within_bounds(policy: Policy, history: History) -> None:
    engine = Engine(policy)
    for wait, moment in history:
        decision = engine.step(wait, **moment)
        assert decision.reason
        if decision.replicas == 0:
            assert policy.min_replicas == 0 or policy.idle_replicas == 0
        else:
            assert max(1, policy.min_replicas) <= decision.replicas <= policy.max_replicas


@unhurried
@given(policies(), histories, moments)
def test_a_paused_policy_never_changes(
    policy: Policy, history: History, moment: dict[str, Any]
) -> None:
    engine = Engine(policy).live(history)
    before = engine.replicas
    assert engine.step(1.0, **moment | {"paused": True}).replicas == before


@unhurried
@given(policies(), histories, moments, st.lists(st.sampled_from([0.0, 1.0, 40.0]), min_size=1))
def test_an_error_never_scales_in_without_fallback(
    policy: Policy, history: History, moment: dict[str, Any], waits: list[float]
) -> None:
    engine = Engine(replace(policy, fallback=None)).live(history)
    for wait in waits:
        before = engine.replicas
        assert engine.step(wait, **moment | {"error": True}).replicas >= before


@unhurried
@given(policies(), histories, moments, counts, st.sampled_from([0.0, 1.0, 5.0, 40.0]))
def test_a_greater_backlog_never_decides_fewer_replicas(
    policy: Policy, history: History, moment: dict[str, Any], other: int, wait: float
) -> None:
    engine = Engine(policy).live(history)
    engine.now += wait
    fewer, more = sorted((moment["ready"], other))
    below, _ = engine.decide(**moment | {"ready": fewer})
    above, _ = engine.decide(**moment | {"ready": more})
    assert below.replicas <= above.replicas


@unhurried
@given(policies(), histories, counts, st.integers(0, 8))
def test_a_constant_backlog_never_makes_the_count_flap(
    policy: Policy, history: History, ready: int, unacknowledged: int
) -> None:
    engine = Engine(policy).live(history)
    wait = policy.polling_interval
    for _ in range(round(300 / wait)):  # 12 steps of one replica in 15 s, and every window
        engine.step(wait, ready=ready, unacknowledged=unacknowledged)
    settled_at = engine.replicas
    for _ in range(round(100 / wait)):
        assert engine.step(wait, ready=ready, unacknowledged=unacknowledged).replicas == settled_at


@unhurried
@given(policies(), histories, st.integers(1, 60))
def test_zero_comes_once_the_cooldown_is_over_and_not_before(
    policy: Policy, history: History, ready: int
) -> None:
    assume(policy.min_replicas == 0 or policy.idle_replicas == 0)
    engine = Engine(replace(policy, clock_resolution=0)).live(history)
    wait = policy.polling_interval
    engine.step(wait, ready=ready + 3, woken=True)  # above every activation
    gone_at = engine.now
    assert engine.replicas > 0
    while engine.now + wait <= gone_at + policy.cooldown:
        assert engine.step(wait).replicas > 0
    engine.step(wait)
    assert engine.step(wait).replicas == 0


@unhurried
@given(policies(), histories)
def test_remembering_less_decides_the_same(policy: Policy, history: History) -> None:
    """The memory drops recommendations that a newer one outdoes; nobody can tell."""
    engine, everything = Engine(policy), tuple[Sample, ...]()
    for wait, moment in history:
        before = engine.memory
        engine.now += wait
        if before.recommendations:
            engine.memory = replace(before, recommendations=everything)
        full, _ = engine.decide(**moment)
        engine.memory = before
        engine.now -= wait
        assert engine.step(wait, **moment).replicas == full.replicas
        new = tuple(s for s in engine.memory.recommendations if s.at == engine.now)
        everything = (*everything, *new) if engine.memory.recommendations else ()


def test_memory_does_not_grow_with_time() -> None:
    engine = Engine(LOCAL)
    for second in range(5000):
        engine.step(0.01, ready=second % 40, woken=True)
    assert len(engine.memory.recommendations) <= 10
    assert len(engine.memory.changes) <= 20
