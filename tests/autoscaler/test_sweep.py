"""A sweep tries every combination, and recommends one that no other beats."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.arrivals import pattern
from autoscaler.durations import durations
from autoscaler.keda import scaled_object
from autoscaler.policy import Policy
from autoscaler.rendered import policy_of
from autoscaler.scene import ENGINES, Scene
from autoscaler.sweep import knobs_of, policy_for, scaling_of, sweep
from runtime.errors import ConfigurationError
from runtime.function import Scaling


def scene(engine: str = "local") -> Scene:
    random = Random(4)
    arrivals = pattern("burst:4:20:200").instants(450, random)
    return Scene(
        policy=Policy(target=1),
        arrivals=arrivals,
        runs=durations("exponential:0.5", "").many(random, len(arrivals)),
        engine=engine,  # type: ignore[arg-type]
        start=durations("3", ""),
    )


_values = st.fixed_dictionaries(
    {},
    optional={
        "target": st.lists(st.sampled_from([0.5, 1, 2, 8]), min_size=1, max_size=3, unique=True),
        "cooldown": st.lists(st.sampled_from([0, 30, 300]), min_size=1, max_size=2, unique=True),
        "min_replicas": st.lists(st.sampled_from([0, 1, 4]), min_size=1, max_size=3, unique=True),
    },
)


@settings(max_examples=15, deadline=None)
@given(_values, st.sampled_from([None, 0.01, 3, 100]))
def test_no_other_is_ever_as_cheap_and_as_fast_as_the_recommended_one(
    values: dict[str, list[float]], goal: float | None
) -> None:
    found = sweep(scene(), Scaling(max_replicas=4), values, goal=goal)
    best = found.recommended
    assert best in found.front
    for each in found.candidates:
        cheaper = each.found.seconds.total < best.found.seconds.total
        assert not (cheaper and each.p95() < best.p95())
        if goal is not None and each.p95() <= goal:
            assert best.p95() <= goal
            assert best.found.seconds.total <= each.found.seconds.total
    assert found.why


def test_all_are_counted_over_the_same_time() -> None:
    found = sweep(scene(), Scaling(max_replicas=4), {"cooldown": [1, 300], "target": [1, 4]})
    assert len({each.found.end for each in found.candidates}) == 1
    assert [each.words for each in found.candidates][:2] == [
        "cooldown=1 target=1",
        "cooldown=1 target=4",
    ]


def test_policies_under_which_some_wait_for_ever_are_not_recommended() -> None:
    single = replace(scene(), arrivals=[1.0], runs=[1.0])
    found = sweep(single, Scaling(max_replicas=4), {"activation": [0, 5]})
    assert found.recommended.knobs == {"activation": 0}
    with pytest.raises(ConfigurationError, match="lower the activation"):
        sweep(single, Scaling(max_replicas=4), {"activation": [5]})


def test_a_cluster_has_the_policy_of_what_is_rendered_for_it() -> None:
    scaling = Scaling(target=2, cooldown=30.5, polling_interval=0.3, max_replicas=7)
    for engine in ENGINES[1:]:
        assert policy_for(engine, scaling) == policy_of(scaled_object("f", "cpu", scaling))
    assert policy_for("local", scaling) == Policy.of(scaling, 7)


def test_knobs_are_read_as_they_are_written() -> None:
    assert knobs_of(["target=1,2", "min=0", "window=5"]) == {
        "target": [1, 2],
        "min_replicas": [0],
        "stabilization_window": [5],
    }
    assert scaling_of({"min_replicas": 2.0}).min_replicas == 2


def test_too_many_policies_are_refused() -> None:
    many = [float(n + 1) for n in range(40)]
    with pytest.raises(ConfigurationError, match="at most 1,000"):
        sweep(scene(), Scaling(), {"target": many, "cooldown": many})
