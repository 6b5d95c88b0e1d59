"""What a load test is to do, as people write it in YAML: stages of load, and a mix of requests.

Bounds are there so that a slip of the finger asks for no year and no 10⁹ requests a second.
"""

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from loadtest import document, slo
from loadtest.document import Section
from runtime.errors import ConfigurationError

MAX_SECONDS = 86_400  # of one stage: a day
MAX_RATE = 100_000  # requests a second
MAX_CONNECTIONS = 10_000
MAX_BURST = 100_000  # requests at once
MAX_TIMEOUT = 3600  # seconds; the longest that the histogram of latencies tells apart
MAX_RETRIES = 1000
MAX_SPEED = 1000  # times as fast as it was recorded

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")  # of a function
Seconds = Annotated[float, Field(gt=0, le=MAX_SECONDS, examples=[60])]
Rate = Annotated[float, Field(ge=0, le=MAX_RATE, examples=[20])]  # requests a second
Connections = Annotated[int, Field(ge=1, le=MAX_CONNECTIONS, examples=[16])]
Devices = Literal["auto", "cpu", "gpu"]
Number = int | float
Weight = Annotated[float, Field(ge=0, le=1e9)]


# ── stages ────────────────────────────────────────────────────────────────────────────────────


class Closed(Section):
    """Each connection sends when its answer has come: the server sets the pace."""

    kind: Literal["closed"] = "closed"
    connections: Connections
    seconds: Seconds
    think: float = Field(0, ge=0, le=MAX_SECONDS)  # seconds from an answer to the next request
    requests: int | None = Field(None, ge=1)  # the stage ends after as many, if that is sooner

    @property
    def length(self) -> float | None:
        return self.seconds


class Constant(Section):
    """Requests evenly spaced."""

    kind: Literal["constant"] = "constant"
    rate: Annotated[Rate, Field(gt=0)]
    seconds: Seconds

    @property
    def length(self) -> float | None:
        return self.seconds


class Poisson(Section):
    """Requests of many callers that know nothing of each other: a Poisson process."""

    kind: Literal["poisson"] = "poisson"
    rate: Annotated[Rate, Field(gt=0)]
    seconds: Seconds

    @property
    def length(self) -> float | None:
        return self.seconds


class Step(Section):
    """One rate after the other, each for as long; 0 is a pause."""

    kind: Literal["step"] = "step"
    rates: tuple[Rate, ...] = Field(min_length=1, max_length=10_000, examples=["[10, 20, 40]"])
    each: Seconds
    poisson: bool = False

    @model_validator(mode="after")
    def _sends(self) -> Self:
        if not any(self.rates):
            raise ValueError("every rate is 0: write at least one that is more")
        if len(self.rates) * self.each > MAX_SECONDS:
            raise ValueError(
                f"{len(self.rates)} rates of {self.each:g} s last longer than a day"
                f" ({MAX_SECONDS} s): write fewer, or a shorter each"
            )
        return self

    @property
    def length(self) -> float | None:
        return len(self.rates) * self.each


class Ramp(Section):
    """A rate that rises or falls evenly."""

    kind: Literal["ramp"] = "ramp"
    begin: Rate = Field(alias="from")
    end: Rate = Field(alias="to")
    seconds: Seconds
    poisson: bool = False

    @model_validator(mode="after")
    def _sends(self) -> Self:
        if self.begin == self.end == 0:
            raise ValueError("goes from 0 to 0: write a rate above 0 for one of the two")
        return self

    @property
    def length(self) -> float | None:
        return self.seconds


class Burst(Section):
    """Many requests at the same instant, again and again, over an even background."""

    kind: Literal["burst"] = "burst"
    size: int = Field(ge=1, le=MAX_BURST, examples=[50])
    every: Seconds
    seconds: Seconds
    rate: Rate = 0.0  # of the background

    @property
    def length(self) -> float | None:
        return self.seconds


class Replay(Section):
    """What was recorded, at the times it was recorded at."""

    kind: Literal["replay"] = "replay"
    trace: str = Field(min_length=1, examples=["trace.ndjson"])  # a path, relative to the plan
    speed: float = Field(1.0, gt=0, le=MAX_SPEED)
    seconds: Seconds | None = None  # cut after as many seconds of the load test's own time

    @property
    def length(self) -> float | None:
        """At most so many seconds; None where only the trace knows."""
        return self.seconds


KINDS = ("closed", "constant", "poisson", "step", "ramp", "burst", "replay")


def _kind(value: Any) -> str | None:
    kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    return f"@{kind}" if isinstance(kind, str) else None


OpenStage = Constant | Poisson | Step | Ramp | Burst | Replay
Stage = Annotated[
    Annotated[Closed, Tag("@closed")]
    | Annotated[Constant, Tag("@constant")]
    | Annotated[Poisson, Tag("@poisson")]
    | Annotated[Step, Tag("@step")]
    | Annotated[Ramp, Tag("@ramp")]
    | Annotated[Burst, Tag("@burst")]
    | Annotated[Replay, Tag("@replay")],
    Discriminator(
        _kind,
        custom_error_type="kind",
        custom_error_message=f"a stage is of one kind: write kind: {', '.join(KINDS[:-1])} or"
        f" {KINDS[-1]}",
    ),
]


# ── mix ───────────────────────────────────────────────────────────────────────────────────────


class Choice(Section):
    """One of several values, each as likely as the others, or as its weight says."""

    choice: tuple[Any, ...] = Field(min_length=1, max_length=10_000)
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


def _check_ends(low: Number, high: Number) -> None:
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
    | Annotated[Any, Tag("@literal")],
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
    def _sendable(self) -> Self:
        if self.body is not None and self.file:
            raise ValueError("has body and file: write body for one bytes parameter, file for more")
        if "device" in self.parameters:
            raise ValueError("device is no parameter: write it beside function, not in parameters")
        if twice := sorted(self.parameters.keys() & (self.file or {}).keys()):
            raise ValueError(f"{twice[0]} is in parameters and in file: remove one of the two")
        return self


# ── plan ──────────────────────────────────────────────────────────────────────────────────────


def _check_slo(text: str) -> str:
    try:
        slo.parse(text)
    except ConfigurationError as error:
        raise ValueError(str(error)) from error
    return text


class Plan(Section):
    """A whole load test: its stages run one after the other, all with the same mix."""

    name: str = ""
    seed: int = Field(1, ge=0, lt=2**63)
    stages: tuple[Stage, ...] = Field(min_length=1, max_length=1000, examples=["[{kind: closed}]"])
    mix: tuple[Share, ...] = Field((), max_length=1000)
    connections: Connections = 512  # most that may be open at once in open-loop stages
    timeout: float = Field(60, gt=0, le=MAX_TIMEOUT)  # seconds until an answer is given up
    retries: int = Field(
        3, ge=0, le=MAX_RETRIES
    )  # times that a 429 is waited out; 0: it is counted
    slo: Annotated[str, AfterValidator(_check_slo)] | None = None  # as `loadtest.slo` reads it

    @model_validator(mode="after")
    def _mixed(self) -> Self:
        if not self.mix and not all(isinstance(stage, Replay) for stage in self.stages):
            raise ValueError(
                "has no mix, and not every stage is a replay: write mix: [{function: NAME}]"
            )
        return self

    @property
    def length(self) -> float | None:
        """Seconds of all stages together; None where only a trace knows."""
        lengths = [stage.length for stage in self.stages]
        known = [length for length in lengths if length is not None]
        return sum(known) if len(known) == len(lengths) else None

    def filled(self) -> dict[str, Any]:
        """The plan with its defaults filled in, as it could be written; made of JSON's types."""
        return self.model_dump(mode="json", by_alias=True)

    def rng(self, purpose: str) -> random.Random:
        """Random numbers of this plan's seed; those of different purposes do not depend on each
        other, so that another mix leaves the times of arrival what they are."""
        return random.Random(f"{self.seed}/{purpose}")


def read_plan(path: Path) -> Plan:
    """The plan in a YAML file; ConfigurationError names the file, line, field, fault and remedy.

    A plan without a name is called as its file.
    """
    plan = document.read(path, Plan)
    return plan if plan.name else plan.model_copy(update={"name": path.stem})


def simple(
    function: str,
    *,
    device: str | None = None,
    parameters: dict[str, Any] | None = None,
    rate: float | None = None,
    connections: int | None = None,
    seconds: float = 10.0,
    seed: int = 1,
) -> Plan:
    """The plan of one function under one load, as the command line names it.

    With a rate it is sent evenly at that many a second, on at most `connections`; without one,
    that many connections (10) send as fast as they are answered.
    """
    share = {"function": function, "device": device, "parameters": parameters or {}}
    if rate is not None:
        stage = {"kind": "constant", "rate": rate, "seconds": seconds}
        bound = {} if connections is None else {"connections": connections}
    else:
        stage = {"kind": "closed", "connections": connections or 10, "seconds": seconds}
        bound = {}
    value = {"name": function, "seed": seed, "stages": [stage], "mix": [share], **bound}
    return document.check(Plan, value, "load test")
