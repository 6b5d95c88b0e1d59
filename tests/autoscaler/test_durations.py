"""Durations have the mean and the deviation that they are said to have."""

import math
from random import Random

import pytest

from autoscaler.durations import Durations, durations
from runtime.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "mean", "deviation"),
    [
        ("0.5", 0.5, 0),
        ("exponential:2", 2, 2),
        ("lognormal:3:1.5", 3, 1.5),
        ("lognormal:3:0", 3, 0),
    ],
)
def test_they_are_spread_as_they_say(text: str, mean: float, deviation: float) -> None:
    values = durations(text, "--run").many(Random(1), 100_000)
    found = math.fsum(values) / len(values)
    spread = math.sqrt(math.fsum((value - found) ** 2 for value in values) / len(values))
    assert found == pytest.approx(mean, rel=0.02)
    assert spread == pytest.approx(deviation, rel=0.05, abs=1e-9)
    assert min(values) >= 0


def test_recorded_ones_are_drawn_again() -> None:
    values = Durations.of([1.0, 3.0]).many(Random(1), 1000)
    assert set(values) == {1.0, 3.0} and 400 < values.count(1.0) < 600


@pytest.mark.parametrize("text", ["", "fast", "exponential", "lognormal:1", "-1", "1:2", "inf"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"--start .* is no duration"):
        durations(text, "--start")
