"""Who keeps a GPU slot, and who gives it up for a function that has none."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.tenure import LONGEST, REST, SHORTEST, STARTS, Tenure, first_to_go

NOW = 1_000.0


def busy(function: str = "one", since: float = NOW, start: float = 0.1, **more: bool) -> Tenure:
    return Tenure(function, since, start, None, **more)


def idle(function: str, rests: float, since: float = NOW - 100, start: float = 0.1) -> Tenure:
    return Tenure(function, since, start, NOW - rests)


@pytest.mark.parametrize(
    ("start", "stay"),
    [(0.0, SHORTEST), (0.1, SHORTEST), (2.0, 2.0 * STARTS), (30.0, LONGEST), (500.0, LONGEST)],
)
def test_who_is_in_use_keeps_its_slot_for_a_multiple_of_what_its_start_cost(
    start: float, stay: float
) -> None:
    tenure = busy(start=start)
    assert tenure.due_at == NOW + stay
    assert first_to_go([tenure], NOW + stay - 0.1) is None
    assert first_to_go([tenure], NOW + stay) is tenure


@pytest.mark.parametrize(("start", "rest"), [(0.1, REST), (4.0, 4.0)])
def test_who_rests_keeps_it_for_as_long_as_its_start_cost(start: float, rest: float) -> None:
    tenure = Tenure("one", NOW, start, idle_since=NOW + 1)
    assert tenure.due_at == NOW + 1 + rest
    assert first_to_go([tenure], NOW + 1 + rest) is tenure


def test_a_pause_between_two_invocations_is_no_rest() -> None:
    tenure = Tenure("one", NOW - 2, 0.1, idle_since=NOW - 0.2)
    assert first_to_go([tenure], NOW) is None


def test_who_has_another_replica_can_spare_one_at_once() -> None:
    spare = busy("two", spare=True)
    assert first_to_go([busy("one"), spare], NOW) is spare


def test_one_at_rest_goes_first_then_a_spare_one_then_one_without_work() -> None:
    resting, rested = idle("resting", 20), idle("rested", 30)
    spare, pausing = busy("spare", spare=True), idle("pausing", 0.2)
    longest, long = busy("longest", NOW - 90), busy("long", NOW - 70)
    order = [rested, resting, spare, pausing, longest, long]
    left = [long, pausing, spare, rested, longest, resting]
    gone = []
    while goes := first_to_go(left, NOW):
        left.remove(goes)
        gone.append(goes)
    assert gone == order


def test_where_nobody_has_a_slot_nobody_goes() -> None:
    assert first_to_go([], NOW) is None


@dataclass
class Holder:
    """A function in a machine of this test's."""

    name: str
    start: float
    busy: bool
    ready_at: float = 0.0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 20), st.booleans()), min_size=2, max_size=6), st.integers(1, 3)
)
def test_every_function_always_gets_its_turn_and_keeps_it_for_a_while(
    functions: list[tuple[float, bool]], slots: int
) -> None:
    """All want a slot all the time; the one that gave one up waits behind the others."""
    everyone = [Holder(str(n), start, busy) for n, (start, busy) in enumerate(functions)]
    holding, waiting = everyone[:slots], everyone[slots:]
    now, served = 0.0, {holder.name for holder in holding}
    while len(served) < len(everyone):
        tenures = [
            Tenure(h.name, h.ready_at, h.start, None if h.busy else h.ready_at) for h in holding
        ]
        now = max(now, min(tenure.due_at for tenure in tenures))
        goes = first_to_go(tenures, now)
        assert goes is not None
        leaving = next(h for h in holding if h.name == goes.function)
        assert now - leaving.ready_at >= min(REST, SHORTEST) - 1e-9  # as sums of floats go
        arriving = waiting.pop(0)
        arriving.ready_at = now + arriving.start
        holding = [h for h in holding if h is not leaving] + [arriving]
        waiting.append(leaving)
        served.add(arriving.name)
        assert now <= (len(everyone) + 1) * (LONGEST + 20)
    assert served == {holder.name for holder in everyone}
