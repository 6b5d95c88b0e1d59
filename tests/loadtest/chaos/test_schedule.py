"""What is broken, and when: the same for the same seed."""

from hypothesis import given
from hypothesis import strategies as st

from loadtest.chaos.schedule import LASTING, WEIGHTS, Kind, schedule

KINDS = st.sets(st.sampled_from(list(Kind)), min_size=1)


def test_every_kind_has_a_weight() -> None:
    assert WEIGHTS.keys() == set(Kind)
    assert LASTING.keys() <= set(Kind)


@given(st.integers(), st.floats(5, 200), KINDS, st.floats(0.3, 10))
def test_a_seed_always_gives_the_same_faults(
    seed: int, seconds: float, kinds: set[Kind], every: float
) -> None:
    faults = schedule(seed, seconds, kinds, every)
    assert faults == schedule(seed, seconds, kinds, every)


@given(st.integers(), st.floats(5, 200), KINDS, st.floats(0.3, 10))
def test_every_kind_always_occurs_and_none_that_was_not_asked_for(
    seed: int, seconds: float, kinds: set[Kind], every: float
) -> None:
    faults = schedule(seed, seconds, kinds, every)
    assert {fault.kind for fault in faults} == kinds
    assert len(faults) >= round(seconds / every)
    assert [fault.at for fault in faults] == sorted(fault.at for fault in faults)
    assert all(0 < fault.at < seconds and 0 <= fault.which < 1 for fault in faults)
    assert all(0 < fault.seconds <= 10 for fault in faults)


def test_another_seed_gives_others() -> None:
    kinds = set(Kind)
    assert schedule(1, 60, kinds, 1) != schedule(2, 60, kinds, 1)
