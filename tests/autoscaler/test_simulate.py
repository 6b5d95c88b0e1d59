"""A simulation agrees with queueing theory, loses nothing, and is the same twice."""

import math
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler import erlang
from autoscaler.arrivals import pattern
from autoscaler.durations import Durations, durations
from autoscaler.policy import Policy
from autoscaler.scene import ENGINES, Scene
from autoscaler.simulate import simulate
from autoscaler.simulated import Simulated
from autoscaler.sweep import policy_for
from runtime.errors import ConfigurationError
from runtime.function import Scaling

BATCHES = 20  # of a long run: their means are nearly independent of one another
T_975 = 2.093  # Student's t, 97.5 %, of 19 degrees of freedom


def fixed(replicas: int) -> Policy:
    """As many replicas as that, for ever."""
    scaling = Scaling(min_replicas=replicas, max_replicas=replicas, polling_interval=1000)
    return Policy.of(scaling, replicas)


def queue(rate: float, run: Durations, replicas: int, count: int, seed: int = 1) -> Simulated:
    random = Random(seed)
    arrivals = pattern(f"poisson:{rate}").instants(count / rate, random)
    runs = run.many(random, len(arrivals))
    return simulate(Scene(policy=fixed(replicas), arrivals=arrivals, runs=runs))


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Where the true mean lies with 95 % confidence, by the method of batch means.

    Law and Kelton, Simulation Modeling and Analysis (2000), section 9.5.3; widened by half, since
    this is one seed of many and every one of these tests has to hold with it.
    """
    size = len(values) // BATCHES
    means = [math.fsum(values[i * size : (i + 1) * size]) / size for i in range(BATCHES)]
    middle = math.fsum(means) / BATCHES
    spread = math.sqrt(math.fsum((m - middle) ** 2 for m in means) / (BATCHES - 1) / BATCHES)
    return middle - 1.5 * T_975 * spread, middle + 1.5 * T_975 * spread


# ── queueing theory ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("replicas", "rate"), [(1, 0.7), (4, 3.2), (10, 8.5)])
def test_fixed_replicas_wait_as_erlang_says(replicas: int, rate: float) -> None:
    found = queue(rate, durations("exponential:1", ""), replicas, 100_000)
    waits = found.waits
    low, high = interval([float(wait > 0) for wait in waits])
    assert low <= erlang.waiting_probability(rate, 1, replicas) <= high
    low, high = interval(waits)
    assert low <= erlang.mean_wait(rate, 1, replicas) <= high
    assert high - low < 0.35 * erlang.mean_wait(rate, 1, replicas)  # or it would say nothing
    longer = 0.5
    low, high = interval([float(wait > longer) for wait in waits])
    assert low <= erlang.share_waiting_longer(longer, rate, 1, replicas) <= high


@pytest.mark.parametrize(("run", "variation"), [("1", 0.0), ("lognormal:1:2", 2.0)])
def test_one_replica_waits_as_pollaczek_and_khinchine_say(run: str, variation: float) -> None:
    found = queue(0.6, durations(run, ""), 1, 150_000)
    low, high = interval(found.waits)
    assert low <= erlang.mean_wait_of_one(0.6, 1, variation) <= high


def test_a_check_against_theory_can_fail() -> None:
    """Five replicas do not pass for four, nor constant run times for exponential ones."""
    low, high = interval(queue(3.2, durations("exponential:1", ""), 5, 100_000).waits)
    assert not low <= erlang.mean_wait(3.2, 1, 4) <= high
    low, high = interval(queue(3.2, durations("1", ""), 4, 100_000).waits)
    assert not low <= erlang.mean_wait(3.2, 1, 4) <= high


# ── what always holds ─────────────────────────────────────────────────────────────────────────

_knobs = st.builds(
    Scaling,
    min_replicas=st.integers(0, 3),
    max_replicas=st.integers(3, 8),
    target=st.sampled_from([0.5, 1, 2, 7]),
    activation=st.sampled_from([0, 0, 2]),
    polling_interval=st.sampled_from([1, 2, 30]),
    cooldown=st.sampled_from([0, 5, 60]),
    stabilization_window=st.sampled_from([0, 10, 300]),
)
_start = st.sampled_from(["0", "0.5", "exponential:3", "lognormal:8:4"])


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """Anything that may come to any engine."""
    gaps = draw(st.lists(st.sampled_from([0.0, 0.01, 0.3, 1.0, 40.0, 400.0]), max_size=60))
    arrivals = [sum(gaps[: number + 1]) for number in range(len(gaps))]
    runs = draw(
        st.lists(st.sampled_from([0.0, 0.05, 1, 9]), min_size=len(gaps), max_size=len(gaps))
    )
    engine = draw(st.sampled_from(ENGINES))
    return Scene(
        policy=policy_for(engine, draw(_knobs)),
        arrivals=arrivals,
        runs=runs,
        engine=engine,
        start=durations(draw(_start), "start"),
        places=draw(st.sampled_from([None, 1, 3, 8])),
        statistics=0.0 if engine == "local" else draw(st.sampled_from([0.0, 5.0])),
        pull=draw(st.sampled_from([0.0, 20.0])),
        per_node=draw(st.integers(1, 4)),
        seed=draw(st.integers(0, 9)),
    )


_many = settings(max_examples=100, deadline=None)


@_many
@given(scenes())
def test_every_invocation_ends_once_or_waits_for_ever_below_the_activation(scene: Scene) -> None:
    found = simulate(scene)
    assert len(found.began) + found.unserved == len(scene.arrivals)
    assert all(began >= came for began, came in zip(found.began, scene.arrivals, strict=False))
    assert found.unserved <= scene.policy.activation
    assert list(found.began) == sorted(found.began)


@_many
@given(scenes())
def test_messages_over_time_are_always_arrivals_times_their_time(scene: Scene) -> None:
    """Little's law, over a stretch that begins and ends with nothing: L · T is the sum of all W."""
    found = simulate(scene)
    if not found.unserved:
        assert found.message_seconds == pytest.approx(math.fsum(found.totals), abs=1e-6)


@_many
@given(scenes())
def test_there_are_never_more_replicas_than_may_be(scene: Scene) -> None:
    found = simulate(scene)
    assert all(change.after <= scene.policy.max_replicas for change in found.changes)
    if scene.places is not None and scene.policy.min_replicas <= scene.places:
        assert found.most_replicas <= scene.places
    for moment in found.timeline.sampled(found.end, 50):
        assert moment is not None
        wanted = moment.starting + moment.idle + moment.busy
        assert wanted <= scene.policy.max_replicas


@_many
@given(scenes())
def test_replica_seconds_always_add_up(scene: Scene) -> None:
    found = simulate(scene)
    seconds = found.seconds
    assert min(seconds.starting, seconds.busy, seconds.idle) >= 0
    busy = math.fsum(scene.runs[: len(found.began)])
    assert seconds.busy == pytest.approx(busy)
    # Never less than what runs, and never more than the most there were all the time.
    assert busy - 1e-6 <= seconds.total <= found.most_replicas * found.end + 1e-6


@_many
@given(scenes())
def test_nobody_runs_two_at_once(scene: Scene) -> None:
    found = simulate(scene)
    steps = [(began, 1) for began in found.began]
    steps += [(began + run, -1) for began, run in zip(found.began, scene.runs, strict=False)]
    running = most = 0
    for _, step in sorted(steps):
        running += step
        most = max(most, running)
    assert most <= found.most_replicas


@_many
@given(scenes())
def test_the_same_scene_always_ends_alike(scene: Scene) -> None:
    assert list(simulate(scene).began) == list(simulate(scene).began)


# ── engines ───────────────────────────────────────────────────────────────────────────────────


def alone(engine: Any, **changes: Any) -> Simulated:
    """One invocation that finds nobody, which runs for a second."""
    scaling = Scaling(polling_interval=30, cooldown=60)
    policy = policy_for(engine, scaling)
    scene = Scene(
        policy=policy, arrivals=[100.0], runs=[1.0], engine=engine, start=durations("2", "")
    )
    return simulate(replace(scene, **changes))


def test_a_message_to_nobody_wakes_this_machine_and_a_pushed_scaler_at_once() -> None:
    for engine in ("local", "push"):
        found = alone(engine)
        assert (found.waited.max, found.cold) == (2.0, 1)


def test_a_cluster_looks_at_its_next_poll_and_at_what_statistics_said_last() -> None:
    waits = [alone("cluster", seed=seed).waited.max for seed in range(40)]
    assert 2 <= min(waits) < 12 and 22 < max(waits) <= 32
    late = [alone("cluster", seed=seed, statistics=5.0).waited.max for seed in range(40)]
    assert all(2 <= wait <= 37 for wait in late)
    assert sum(late) > sum(waits)


def test_the_last_replica_goes_a_cooldown_after_the_last_look_that_found_something() -> None:
    found = alone("local")
    assert [(change.before, change.after) for change in found.changes] == [(0, 1), (1, 0)]
    # Looks are every 30 s after that which found it at work, at 102; one at 162 is not yet over it.
    assert found.changes[-1].at == pytest.approx(192)
    assert found.seconds.total == pytest.approx(92)
    assert (found.seconds.starting, found.seconds.busy) == (2, 1)


def test_the_image_is_pulled_once_for_a_node() -> None:
    policy = replace(fixed(4), min_replicas=0)
    policy = replace(policy, polling_interval=1.0, target=1.0, stabilization_window=1000)
    scene = Scene(policy=policy, arrivals=[0.0] * 4, runs=[100.0] * 4, start=durations("1", ""))
    assert simulate(scene).waited.max < 10
    found = simulate(replace(scene, pull=60.0, per_node=2))
    # Two on the first node, which pulls from 0 on; two on the next, from the look at 1 on.
    assert [round(wait) for wait in found.waits] == [61, 61, 62, 62]
    found = simulate(replace(scene, pull=60.0, per_node=1))
    assert [round(wait) for wait in found.waits] == [61, 62, 62, 62]


def test_replicas_that_are_let_go_finish_what_they_run() -> None:
    scaling = Scaling(
        target=1, max_replicas=4, polling_interval=1, cooldown=1, stabilization_window=0
    )
    scene = Scene(policy=Policy.of(scaling, 4), arrivals=[0.0] * 4, runs=[1.0, 1.0, 50.0, 50.0])
    found = simulate(scene)
    assert found.total.max >= 50
    moments = [moment for moment in found.timeline.sampled(60, 600) if moment]
    assert max(moment.replicas for moment in moments) == 4
    assert found.seconds.busy == 102


def test_what_is_below_the_activation_for_ever_is_told() -> None:
    policy = Policy.of(Scaling(activation=3), 4)
    found = simulate(Scene(policy=policy, arrivals=[1.0, 2.0], runs=[1.0, 1.0]))
    assert (found.unserved, found.seconds.total) == (2, 0)
    assert math.isnan(found.total.p95)


def test_looks_that_find_nothing_are_passed_over_and_change_nothing() -> None:
    """A month between two messages takes no time to play; the second finds what the first did."""
    month = 30 * 86_400.0
    policy = Policy.of(Scaling(polling_interval=2), 4)
    scene = Scene(policy=policy, arrivals=[0.0, month], runs=[1.0, 1.0], start=durations("1", ""))
    found = simulate(scene)
    assert found.waits == [1.0, 1.0]
    assert [change.after for change in found.changes] == [1, 0, 1, 0]


def test_a_scene_needs_a_run_time_for_each_arrival() -> None:
    with pytest.raises(ConfigurationError, match="one run time for each arrival"):
        simulate(Scene(policy=fixed(1), arrivals=[1.0], runs=[]))
