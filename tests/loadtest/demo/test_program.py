"""What the demonstration sends."""

import pytest

from loadtest.demo.program import PLAN, program
from loadtest.plan import read_plan
from runtime.errors import ConfigurationError

ALL = {share.function for share in read_plan(PLAN).mix}


def test_it_lasts_as_long_as_is_wanted_with_the_rates_of_the_plan() -> None:
    plan, short = read_plan(PLAN), program(30, ALL)
    assert plan.length == pytest.approx(120)
    assert short.length == pytest.approx(30)
    assert [getattr(stage, "rate", None) for stage in short.stages] == [
        getattr(stage, "rate", None) for stage in plan.stages
    ]


def test_its_bursts_are_as_many_however_long_it_lasts() -> None:
    def bursts(seconds: float) -> list[float]:
        stages = program(seconds, ALL).stages
        return [s.length / s.every for s in stages if s.kind == "burst" and s.length]

    assert bursts(12) == pytest.approx(bursts(120))


def test_functions_that_the_node_cannot_serve_are_left_out() -> None:
    assert {share.function for share in program(20, {"wave", "matmul"}).mix} == {"wave", "matmul"}


def test_a_node_that_serves_none_of_them_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="none of the demonstration's functions"):
        program(20, {"hello"})


def test_too_short_a_time_is_refused_with_the_least() -> None:
    with pytest.raises(ConfigurationError, match="at least 5"):
        program(1, ALL)
