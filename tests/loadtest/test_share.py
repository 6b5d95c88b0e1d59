"""What a share of a mix may say, and what is refused of it."""

from datetime import date
from typing import Any

import pytest

from loadtest import document
from loadtest.share import Choice, DeviceChoice, LogUniform, Share, Uniform
from runtime.errors import ConfigurationError


def share_of(**fields: Any) -> Share:
    return document.check(Share, {"function": "f", **fields}, "share")


def test_a_value_is_drawn_or_stands_as_it_is() -> None:
    given = {
        "a": {"choice": [1, "x", None], "weights": [1, 2, 3]},
        "b": {"uniform": [1, 2]},
        "c": {"uniform": [1, 2.5]},
        "d": {"log_uniform": [1, "1e3"]},
        "e": [1, 2],
        "f": {"width": 3},
        "g": None,
    }
    found = share_of(parameters=given).parameters
    assert found == {
        "a": Choice(choice=(1, "x", None), weights=(1, 2, 3)),
        "b": Uniform(uniform=(1, 2)),
        "c": Uniform(uniform=(1, 2.5)),
        "d": LogUniform(log_uniform=(1, 1000.0)),
        "e": [1, 2],
        "f": {"width": 3},
        "g": None,
    }
    assert isinstance(found["b"].uniform[0], int)


def test_what_is_not_said_has_a_default() -> None:
    assert share_of().model_dump() == {
        "function": "f",
        "device": None,
        "weight": 1,
        "parameters": {},
        "wait": True,
        "body": None,
        "file": None,
    }


@pytest.mark.parametrize("device", ["auto", "cpu", "gpu", None])
def test_a_device_is_one(device: str | None) -> None:
    assert share_of(device=device).device == device


def test_a_device_is_one_of_several() -> None:
    found = share_of(device={"choice": ["cpu", "gpu"], "weights": [1, 0]}).device
    assert found == DeviceChoice(choice=("cpu", "gpu"), weights=(1, 0))


@pytest.mark.parametrize(
    "fields",
    [
        {"device": {"choice": ["cpu", "auto"]}, "weight": 2, "wait": False},
        {"parameters": {"a": {"choice": [[1], {"x": 2}]}, "b": {"uniform": [1, 2]}, "c": 1.5}},
        {"body": "cat.png", "parameters": {"n": {"log_uniform": [0.1, 3]}}},
        {"file": {"a": "x.npy", "b": "y.npy"}},
    ],
)
def test_a_share_can_be_written_again(fields: dict[str, Any]) -> None:
    share = share_of(**fields)
    assert Share.model_validate(share.model_dump(mode="json")) == share


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"function": "a/b"}, "function: 'a/b' is no function's name: write the one `lumbre func"),
        ({"function": ""}, "function: '' is no function's name"),
        ({"function": 5}, "function: write text, not 5"),
        ({"weight": 0}, "weight: write more than 0, not 0"),
        ({"weight": float("inf")}, "weight: write a finite number, not inf"),
        ({"device": "tpu"}, "device: write 'auto', 'cpu' or 'gpu', not 'tpu'"),
        ({"device": {"choice": []}}, "device.choice: write at least 1"),
        ({"device": {"choice": ["tpu"]}}, "device.choice[0]: write 'auto', 'cpu' or 'gpu', not"),
        (
            {"device": {"choice": ["cpu"], "weights": [0]}},
            "device: every weight is 0: write at least one that is more",
        ),
        ({"device": {"uniform": [1, 2]}}, "device.uniform: is no field here: write one of choice"),
        ({"parameters": {"n": {"choice": []}}}, "parameters.n.choice: write at least 1"),
        ({"parameters": {"n": {"choice": 5}}}, "parameters.n.choice: write a list, not 5"),
        (
            {"parameters": {"n": {"choice": [1, 2], "weights": [1]}}},
            "parameters.n: has 2 values and 1 weights: write a weight for each value",
        ),
        (
            {"parameters": {"n": {"choice": [1], "weights": [-1]}}},
            "parameters.n.weights[0]: write at least 0, not -1",
        ),
        (
            {"parameters": {"n": {"choice": [1], "wieghts": [1]}}},
            "parameters.n.wieghts: is no field here: did you mean weights?",
        ),
        ({"parameters": {"n": {"uniform": [1]}}}, "parameters.n.uniform[1]: is missing: write it"),
        ({"parameters": {"n": 2**64}}, "parameters.n: cannot be sent as JSON (Integer exceeds 64"),
        ({"parameters": {"n": float("nan")}}, "parameters.n: cannot be sent as JSON (Out of range"),
        ({"parameters": {"n": [date(2026, 11, 23)]}}, "parameters.n: cannot be sent as JSON (Obj"),
        ({"parameters": {"n": {"choice": [1, b"x"]}}}, "parameters.n.choice[1]: cannot be sent as"),
        ({"parameters": {"n": {"a": {1: 2}}}}, "parameters.n: cannot be sent as JSON (Dict key"),
        ({"parameters": {"n": {"uniform": [1, 2, 3]}}}, "parameters.n.uniform: write at most 2"),
        (
            {"parameters": {"n": {"uniform": [1, "x"]}}},
            "parameters.n.uniform[1]: write a number, not 'x'",
        ),
        (
            {"parameters": {"n": {"log_uniform": [1, float("inf")]}}},
            "parameters.n.log_uniform[1]: write a number from -9.22337e+18 to 9.22337e+18, not inf",
        ),
        (
            {"parameters": {"n": {"uniform": [False, 1]}}},
            "parameters.n.uniform[0]: write a number from -9.22337e+18 to 9.22337e+18, not False",
        ),
        (
            {"parameters": {"n": {"uniform": [2, 1]}}},
            "parameters.n: goes from 2 down to 1: write the smaller one first",
        ),
        (
            {"parameters": {"n": {"log_uniform": [0, 1]}}},
            "parameters.n: begins at or below 0, which has no logarithm: write more than 0",
        ),
        (
            {"parameters": {"device": "gpu"}},
            "device is no parameter: write it beside function, not in parameters",
        ),
        ({"body": "a", "file": {"a": "b"}}, "has body and file: write body for one bytes"),
        (
            {"parameters": {"a": 1}, "file": {"a": "b"}},
            "a is in parameters and in file: remove one of the two",
        ),
    ],
)
def test_what_is_no_share_is_told_with_what_to_write(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        share_of(**fields)
    text = str(caught.value)
    assert text.startswith(f"share: {told}") and "\n" not in text
