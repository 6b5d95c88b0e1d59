"""The formulas give what tables in textbooks give."""

import math

import pytest

from autoscaler import erlang
from runtime.errors import ConfigurationError


def test_one_replica_is_the_simple_case() -> None:
    """M/M/1: it waits with the probability ρ, ρ / (1 − ρ) run times in the mean."""
    assert erlang.waiting_probability(0.8, 1, 1) == pytest.approx(0.8)
    assert erlang.mean_wait(0.8, 1, 1) == pytest.approx(4)
    assert erlang.mean_wait(0.8, 1, 1) == pytest.approx(erlang.mean_wait_of_one(0.8, 1, 1))


def test_two_replicas_are_as_worked_out_by_hand() -> None:
    """M/M/2: C = 2 ρ² / (1 + ρ), here with ρ = 0.75."""
    assert erlang.waiting_probability(1.5, 1, 2) == pytest.approx(2 * 0.75**2 / 1.75)


def test_a_known_value_of_a_table() -> None:
    """Ten replicas at a load of 8 erlang: C = 0.409 (Erlang C tables)."""
    assert erlang.waiting_probability(8, 1, 10) == pytest.approx(0.409, abs=5e-4)


def test_more_work_than_replicas_waits_without_end() -> None:
    assert erlang.mean_wait(3, 1, 3) == math.inf
    assert erlang.waiting_probability(3, 1, 3) == 1


def test_enough_replicas_are_just_enough() -> None:
    count = erlang.replicas_for(100, 0.5, 0.05)
    assert erlang.mean_wait(100, 0.5, count) <= 0.05 < erlang.mean_wait(100, 0.5, count - 1)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least one replica"):
        erlang.mean_wait(1, 1, 0)
