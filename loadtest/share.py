"""The shares of a plan's mix: which function is sent what, and how often."""

import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from loadtest.document import Section

LARGEST = 2.0**63  # that a drawn number may be; JSON's integers end about there
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")  # of a function
Devices = Literal["auto", "cpu", "gpu"]
Weight = Annotated[float, Field(ge=0, le=1e9)]


def _number(value: Any) -> int | float:
    """An int stays one; text such as 1e3, which YAML does not take for a number, is a float."""
    try:
        number = value if isinstance(value, int) else float(value)
    except (TypeError, ValueError):
        raise ValueError(f"write a number, not {value!r}") from None
    if isinstance(value, bool) or not -LARGEST <= number <= LARGEST:
        raise ValueError(f"write a number from -{LARGEST:g} to {LARGEST:g}, not {value!r}")
    return number


def _sendable(value: Any) -> Any:
    """A value that JSON has; YAML has more: dates, bytes, sets, and numbers of any size."""
    try:
        json.dumps(value, allow_nan=False)  # refuses nan, which orjson makes null
        orjson.dumps(value)  # refuses integers of more than 64 bits
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"cannot be sent as JSON ({error}): write a date, say, in quotes"
        ) from None
    return value


Number = Annotated[int | float, BeforeValidator(_number)]


class Choice(Section):
    """One of several values, each as likely as the others, or as its weight says."""

    choice: tuple[Annotated[Any, AfterValidator(_sendable)], ...] = Field(
        min_length=1, max_length=10_000
    )
    weights: tuple[Weight, ...] | None = None

    @model_validator(mode="after")
    def _weighed(self) -> Self:
        _check_weights(len(self.choice), self.weights)
        return self


class Uniform(Section):
    """A number between two, both included, each as likely; whole where both ends are."""

    uniform: tuple[Number, Number]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _check_ends(*self.uniform)
        return self


class LogUniform(Section):
    """A number between two, both included, each order of magnitude as likely; whole as above."""

    log_uniform: tuple[Number, Number]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _check_ends(*self.log_uniform)
        if self.log_uniform[0] <= 0:
            raise ValueError("begins at or below 0, which has no logarithm: write more than 0")
        return self


def _check_weights(values: int, weights: Sequence[float] | None) -> None:
    if weights is None:
        return
    if len(weights) != values:
        raise ValueError(
            f"has {values} values and {len(weights)} weights: write a weight for each value"
        )
    if not any(weights):
        raise ValueError("every weight is 0: write at least one that is more")


def _check_ends(low: float, high: float) -> None:
    if low > high:
        raise ValueError(f"goes from {low} down to {high}: write the smaller one first")


def _check_function(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is no function's name: write the one `lumbre functions` shows, of lower-case"
            " letters, digits and _"
        )
    return name


def _drawn(value: Any) -> str:
    """How a parameter's value is come by: `@choice`, …, or `@literal`, which any other value is."""
    if isinstance(value, Choice | Uniform | LogUniform):
        return {Choice: "@choice", Uniform: "@uniform", LogUniform: "@log_uniform"}[type(value)]
    if isinstance(value, dict):
        for name in ("choice", "uniform", "log_uniform"):
            if name in value:
                return f"@{name}"
    return "@literal"


Draw = Choice | Uniform | LogUniform
Parameter = Annotated[
    Annotated[Choice, Tag("@choice")]
    | Annotated[Uniform, Tag("@uniform")]
    | Annotated[LogUniform, Tag("@log_uniform")]
    | Annotated[Any, AfterValidator(_sendable), Tag("@literal")],
    Discriminator(_drawn),
]


class DeviceChoice(Section):
    """One of several devices."""

    choice: tuple[Devices, ...] = Field(min_length=1, max_length=100)
    weights: tuple[Weight, ...] | None = None

    @model_validator(mode="after")
    def _weighed(self) -> Self:
        _check_weights(len(self.choice), self.weights)
        return self


def _device(value: Any) -> str:
    return "@choice" if isinstance(value, dict | DeviceChoice) else "@device"


Device = Annotated[
    Annotated[DeviceChoice, Tag("@choice")] | Annotated[Devices | None, Tag("@device")],
    Discriminator(_device),
]


class Share(Section):
    """A part of the mix: one function, and what it is sent.

    A value in `parameters` is sent as it stands, or drawn for each request: `{choice: […]}`,
    `{uniform: [a, b]}`, `{log_uniform: [a, b]}`.  (An object with such a key that is to be sent as
    it stands is written as the only value of a choice.)
    """

    function: Annotated[str, AfterValidator(_check_function)] = Field(examples=["matmul"])
    device: Device = None  # None: as `auto`, the node decides
    weight: float = Field(1.0, gt=0, le=1e9)
    parameters: dict[str, Parameter] = Field(default_factory=dict)
    wait: bool = True  # False: `Prefer: respond-async`; the answer is a 202
    body: str | None = Field(None, min_length=1)  # a path: the raw body of the one bytes parameter
    file: dict[str, str] | None = None  # parameter → path: multipart/form-data

    @model_validator(mode="after")
    def _of_one_kind(self) -> Self:
        if self.body is not None and self.file:
            raise ValueError("has body and file: write body for one bytes parameter, file for more")
        if "device" in self.parameters:
            raise ValueError("device is no parameter: write it beside function, not in parameters")
        if twice := sorted(self.parameters.keys() & (self.file or {}).keys()):
            raise ValueError(f"{twice[0]} is in parameters and in file: remove one of the two")
        return self
