"""Which stages there are, how long they last, and what is refused of them."""

from typing import Any

import pytest

from loadtest import document
from loadtest.plan import Plan, Stage
from runtime.errors import ConfigurationError


def plan_of(stage: dict[str, Any]) -> Plan:
    return document.check(Plan, {"stages": [stage], "mix": [{"function": "f"}]}, "plan")


def stage_of(stage: dict[str, Any]) -> Stage:
    return plan_of(stage).stages[0]


@pytest.mark.parametrize(
    ("stage", "length"),
    [
        ({"kind": "closed", "connections": 2, "seconds": 3}, 3),
        ({"kind": "closed", "connections": 2, "seconds": 3, "think": 0.1, "requests": 9}, 3),
        ({"kind": "constant", "rate": 0.5, "seconds": 4}, 4),
        ({"kind": "poisson", "rate": "1e3", "seconds": 4}, 4),
        ({"kind": "step", "rates": [1, 0, 2], "each": 5, "poisson": True}, 15),
        ({"kind": "ramp", "from": 0, "to": 9, "seconds": 6}, 6),
        ({"kind": "ramp", "from": 9, "to": 0, "seconds": 6, "poisson": True}, 6),
        ({"kind": "burst", "size": 5, "every": 2, "seconds": 7, "rate": 1}, 7),
        ({"kind": "replay", "trace": "t.ndjson", "speed": 2}, None),
        ({"kind": "replay", "trace": "t.ndjson", "seconds": 8}, 8),
    ],
)
def test_every_stage_tells_its_length_and_can_be_written_again(
    stage: dict[str, Any], length: float | None
) -> None:
    plan = plan_of(stage)
    assert plan.stages[0].length == plan.length == length
    assert Plan.model_validate(plan.filled()) == plan


def test_what_is_not_said_has_a_default() -> None:
    closed = stage_of({"kind": "closed", "connections": 2, "seconds": 3})
    assert closed.model_dump() == {
        "kind": "closed",
        "connections": 2,
        "seconds": 3,
        "think": 0,
        "requests": None,
    }
    burst = stage_of({"kind": "burst", "size": 5, "every": 2, "seconds": 7})
    assert burst.model_dump()["rate"] == 0


KINDS = "a stage is of one kind: write kind: closed, constant, poisson, step, ramp, burst or replay"
CLOSED = {"kind": "closed", "connections": 2, "seconds": 3}
CONSTANT = {"kind": "constant", "rate": 2, "seconds": 3}
STEP = {"kind": "step", "rates": [1], "each": 3}
BURST = {"kind": "burst", "size": 5, "every": 2, "seconds": 7}


@pytest.mark.parametrize(
    ("stage", "told"),
    [
        ({"rate": 3}, f": {KINDS}"),
        ({"kind": "steady", "rate": 3}, f": {KINDS}"),
        ({"kind": 3}, f": {KINDS}"),
        ({"kind": "constant", "rate": 3}, ".seconds: is missing: write seconds: 60"),
        ({**CONSTANT, "connections": 3}, ".connections: is no field here"),
        ({**CONSTANT, "rate": 0}, ".rate: write more than 0, not 0"),
        ({**CONSTANT, "rate": 1e9}, ".rate: write at most 100,000, not 1000000000.0"),
        ({**CONSTANT, "seconds": 31_536_000}, ".seconds: write at most 86,400, not 31536000"),
        ({**CONSTANT, "seconds": float("inf")}, ".seconds: write a finite number, not inf"),
        ({**CONSTANT, "seconds": float("nan")}, ".seconds: write a finite number, not nan"),
        ({**CLOSED, "connections": 0}, ".connections: write at least 1, not 0"),
        ({**CLOSED, "connections": 10_001}, ".connections: write at most 10,000, not 10001"),
        ({**CLOSED, "think": -1}, ".think: write at least 0, not -1"),
        ({**CLOSED, "requests": 0}, ".requests: write at least 1, not 0"),
        ({**STEP, "rates": []}, ".rates: write at least 1"),
        ({**STEP, "rates": [1, -2]}, ".rates[1]: write at least 0, not -2"),
        ({**STEP, "rates": [0, 0]}, ": every rate is 0: write at least one that is more"),
        (
            {**STEP, "rates": [1] * 3, "each": 86_400},
            ": 3 rates of 86400 s last longer than a day (86400 s): write fewer, or a shorter each",
        ),
        ({"kind": "ramp", "from": 1, "seconds": 3}, ".to: is missing: write to: 20"),
        (
            {"kind": "ramp", "from": 0, "to": 0, "seconds": 3},
            ": goes from 0 to 0: write a rate above 0 for one of the two",
        ),
        ({**BURST, "size": 10**6}, ".size: write at most 100,000, not 1000000"),
        ({**BURST, "every": 0}, ".every: write more than 0, not 0"),
        ({"kind": "replay"}, ".trace: is missing: write trace: trace.ndjson"),
        ({"kind": "replay", "trace": ""}, ".trace: is empty: write it, not ''"),
        ({"kind": "replay", "trace": "t", "speed": 0}, ".speed: write more than 0, not 0"),
    ],
)
def test_what_is_no_stage_is_told_with_what_to_write(stage: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        stage_of(stage)
    assert str(caught.value).startswith(f"plan: stages[0]{told}")
