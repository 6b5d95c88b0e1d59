"""Which replica is to blame: one that fails while others do well, and never what fails for all."""

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.quarantine import (
    CLOCKS,
    IN_A_ROW,
    INHERITED,
    NOBODYS_FAULT,
    Conduct,
    Quarantine,
    Witness,
    blame,
)
from tests.runtime.lives import life


@dataclass
class Replica:
    """What a pool knows of a replica, without a process."""

    conduct: Conduct = field(default_factory=Conduct)
    served: int = 0
    jobs: int = 0

    def succeed(self, begun: float) -> None:
        self.served += 1
        self.jobs += 1
        self.conduct.in_a_row = 0
        self.conduct.proven_at = begun


class Rig:
    """Some replicas, a clock, and a quarantine that watches."""

    def __init__(self, replicas: int) -> None:
        self.now = 1_700_000_000.0
        self.quarantine = Quarantine(lambda: self.now)
        self.replicas = [Replica() for _ in range(replicas)]
        self.taken_out: list[str] = []

    def run(self, number: int, succeeds: bool, seconds: float = 1.0, kind: str = "Bug") -> None:
        replica, begun = self.replicas[number], self.now
        self.now += seconds
        if succeeds:
            replica.succeed(begun)
            return
        replica.served += 1
        replica.jobs += 1
        self.quarantine.failed(replica.conduct, replica.jobs, {kind})
        if why := self.quarantine.verdict(replica, self.replicas):
            self.taken_out.append(why)
            self.replicas[number] = Replica()


def test_one_that_fails_while_another_does_well_is_taken_out_with_the_reason() -> None:
    rig = Rig(2)
    for _ in range(IN_A_ROW):
        assert not rig.taken_out
        rig.run(1, True)
        rig.run(0, False)
        rig.run(1, True)
    assert rig.taken_out == [
        "taken out: it failed 5 times in a row, and 1 other replica succeeded meanwhile"
    ]


def test_its_successor_starts_anew() -> None:
    rig = Rig(2)
    for _ in range(IN_A_ROW):
        rig.run(0, False)
        rig.run(1, True)
    rig.run(0, False)
    assert len(rig.taken_out) == 1
    rig.run(0, False)
    assert len(rig.taken_out) == 1


def test_one_alone_is_never_taken_out() -> None:
    rig = Rig(1)
    for _ in range(10 * IN_A_ROW):
        rig.run(0, False)
    assert not rig.taken_out


def test_a_success_before_the_first_failure_proves_nothing() -> None:
    rig = Rig(2)
    rig.run(1, True)
    for _ in range(4 * IN_A_ROW):
        rig.run(0, False)
    assert not rig.taken_out


def test_one_that_was_begun_before_and_succeeds_later_proves_nothing() -> None:
    """The function may have broken while it ran."""
    rig = Rig(2)
    begun = rig.now
    for _ in range(IN_A_ROW):
        rig.run(0, False)
    rig.replicas[1].succeed(begun)
    rig.run(0, False)
    assert not rig.taken_out


@pytest.mark.parametrize("kind", sorted(NOBODYS_FAULT))
def test_what_a_caller_sent_never_counts(kind: str) -> None:
    rig = Rig(2)
    for _ in range(4 * IN_A_ROW):
        rig.run(1, True)
        rig.run(0, False, kind=kind)
    assert not rig.taken_out
    assert rig.replicas[0].conduct == Conduct()


def test_a_batch_that_fails_is_one_failure() -> None:
    quarantine, conduct = Quarantine(), Conduct()
    for _ in range(64):
        quarantine.failed(conduct, job=1)
    assert (conduct.failed, conduct.in_a_row) == (64, 1)


@given(
    st.integers(1, 6),
    st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.floats(0.001, 90)), max_size=200),
    st.integers(0, 200),
)
def test_what_fails_everywhere_from_some_instant_on_takes_nobody_out(
    replicas: int, healthy: list[tuple[int, bool, float]], broken_calls: int
) -> None:
    """However the calls were spread before: from then on, everything that is begun fails."""
    rig = Rig(replicas)
    for number, _, seconds in healthy:
        rig.run(number % replicas, True, seconds)
    under_way = [(number, rig.now) for number in range(replicas)]  # begun just before
    for call in range(broken_calls):
        rig.run(call * 7 % replicas, False, 0.5)
        if call == 3:
            for number, begun in under_way:
                rig.replicas[number].succeed(begun)
    assert not rig.taken_out


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("seed", range(5))
def test_a_function_that_fails_now_and_then_everywhere_takes_nobody_out(
    share: float, seed: int
) -> None:
    chance = random.Random(seed)
    rig = Rig(4)
    for number in range(4):  # each has done something, or what is rare could be anything
        for _ in range(25):
            rig.run(number, chance.random() >= share, 0.1)
    rig.taken_out.clear()
    for _ in range(2000):
        rig.run(chance.randrange(4), chance.random() >= share, 0.1)
    assert not rig.taken_out


def test_a_black_hole_among_those_that_fail_now_and_then_is_found_later() -> None:
    chance = random.Random(1)
    rig = Rig(4)
    for _ in range(100):
        rig.run(1 + chance.randrange(3), chance.random() >= 0.3, 0.1)
    calls = 0
    while not rig.taken_out:
        rig.run(0, False, 0.1)
        rig.run(1 + chance.randrange(3), chance.random() >= 0.3, 0.1)
        calls += 1
        assert calls < 100
    assert calls > IN_A_ROW


def test_a_replica_elsewhere_is_a_witness_and_its_clock_is_not_trusted() -> None:
    failing = Conduct(failed=5, in_a_row=5, since=1000.0)
    well = life(served=9, proven_at=1000.0 + CLOCKS + 0.1)
    assert blame(failing, [Witness.heard(well)])
    just = life(served=9, proven_at=1000.0 + CLOCKS - 0.1)
    assert blame(failing, [Witness.heard(just)]) is None
    assert blame(failing, [Witness.heard(life(served=9, proven_at=None))]) is None


def test_the_row_of_one_that_died_goes_on_in_its_successor_on_the_same_gpu() -> None:
    rig = Rig(1)
    conduct = Conduct(failed=3, in_a_row=3, since=rig.now, job=3)
    rig.quarantine.leave("0", conduct)
    assert rig.quarantine.conduct("1").in_a_row == 0
    inherited = rig.quarantine.conduct("0")
    assert (inherited.in_a_row, inherited.job) == (3, 0)
    assert rig.quarantine.conduct("0").in_a_row == 0, "it was inherited twice"


def test_a_row_is_not_inherited_long_after() -> None:
    rig = Rig(1)
    rig.quarantine.leave(None, Conduct(in_a_row=4))
    rig.now += INHERITED + 1
    assert rig.quarantine.conduct(None).in_a_row == 0
