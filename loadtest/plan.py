"""What a load test is to do, as people write it in YAML: stages of load, and a mix of requests."""

import random
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from loadtest import document, slo
from loadtest.document import Section
from loadtest.share import Share as Share
from loadtest.stage import Burst as Burst
from loadtest.stage import Closed as Closed
from loadtest.stage import Connections
from loadtest.stage import Constant as Constant
from loadtest.stage import OpenStage as OpenStage
from loadtest.stage import Poisson as Poisson
from loadtest.stage import Ramp as Ramp
from loadtest.stage import Replay as Replay
from loadtest.stage import Stage as Stage
from loadtest.stage import Step as Step
from runtime.errors import ConfigurationError

MAX_TIMEOUT = 3600  # seconds; the longest that the histogram of latencies tells apart
MAX_RETRIES = 1000


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
        users = 10 if connections is None else connections
        stage = {"kind": "closed", "connections": users, "seconds": seconds}
        bound = {}
    value = {"name": function, "seed": seed, "stages": [stage], "mix": [share], **bound}
    return document.check(Plan, value, "load test")
