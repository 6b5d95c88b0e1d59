"""The stages of a plan: how much load, in which shape, and for how long.

All but the closed one are open loop: a request is due at its time, whatever becomes of those
before it.  Bounds are there so that a slip of the finger asks for no year and no 10⁹ requests/s.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from loadtest.document import Section

MAX_SECONDS = 86_400  # of one stage: a day
MAX_RATE = 100_000  # requests a second
MAX_CONNECTIONS = 10_000
MAX_BURST = 100_000  # requests at once
MAX_SPEED = 1000  # times as fast as it was recorded

Seconds = Annotated[float, Field(gt=0, le=MAX_SECONDS, examples=[60])]
Rate = Annotated[float, Field(ge=0, le=MAX_RATE, examples=[20])]  # requests a second
Connections = Annotated[int, Field(ge=1, le=MAX_CONNECTIONS, examples=[16])]


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
