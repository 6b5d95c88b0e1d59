"""What a load test measured: everything its reports are made from, and its JSON.

Seconds and instants (RFC 3339, UTC) everywhere; `at` is seconds since the load began.  Latencies
are HdrHistograms (1 µs to 1 hour, 3 significant digits) in that library's own compressed form.
"""

import math
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BeforeValidator, TypeAdapter

from loadtest import kept

FORMAT = 1
Facts = list[tuple[str, str]]  # names and values

# JSON has no nan, and what is nan is null there.
Real = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]

TOTAL = "total"  # the phase that is the whole latency, from the intended send to the last byte


@dataclass(frozen=True, slots=True)
class Group:
    """The requests of one function that ended alike.

    `status`: `succeeded`, `accepted` (202), or a fault's name (`loadtest.faults`).  `device`: the
    one that ran it, as the answer says; for what had no such answer, the one that was asked for.
    """

    function: str
    device: str
    simulated: bool
    status: str
    count: int
    phases: dict[str, str]  # phase (`total`, `queue`, `start`, `run`, …) → encoded histogram


@dataclass(frozen=True, slots=True)
class Second:
    """One second of the load.  Counts belong to the second in which something happened."""

    at: int
    intended: int  # requests that were due
    sent: int
    succeeded: int
    faults: int  # answered with a failure, or not answered
    throttled: int  # 429s; what is sent again later counts once more
    waiting: int  # sent and unanswered at its end
    held: int  # due and not sent at its end: no connection was free, or a 429 said to wait
    p50: float | None  # latency of what succeeded in this second, by device `cpu` and `gpu` below
    p95: float | None
    p99: float | None
    slowest: float | None
    by_device: dict[str, Real]  # median latency of each device
    cpu: Real  # share of one core that the generator used
    late: Real  # seconds that the latest request left behind its time, by the generator's fault


@dataclass(frozen=True, slots=True)
class Observed:
    """What GET /functions said of one function on one device."""

    at: float
    function: str
    device: str
    ready: int
    unacknowledged: int
    dead: int
    starting: int
    idle: int  # replicas that are ready and have nothing
    busy: int
    draining: int


@dataclass(frozen=True, slots=True)
class Decided:
    """One decision of the autoscaler, from GET /decisions."""

    at: float
    function: str
    device: str
    before: int
    after: int
    backlog: float
    reason: str


@dataclass(frozen=True, slots=True)
class ColdStart:
    """An answer that had to wait for its replica to start (its phase `start`)."""

    at: float
    function: str
    device: str
    start: Real
    total: Real


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of what went wrong."""

    name: str  # of the taxonomy: "refused", "timed_out", …
    function: str
    count: int
    first_at: float
    example: str  # what was said of the first one, in a line
    invocation: str | None  # its id, where the node gave one


@dataclass(frozen=True, slots=True)
class Generator:
    """Whether the numbers are the server's, or the load generator's own limits."""

    connections: int  # most that were open at once
    cpu: Real  # share of one core, over the whole load
    late_p99: Real  # seconds that requests left behind their time, by the generator's fault
    saturated: int  # seconds in which the generator, not the server, was the bottleneck
    reasons: tuple[str, ...]  # in words, with numbers; empty: it was not the bottleneck


@dataclass(frozen=True, slots=True)
class Objective:
    """One part of an SLO, and how it came out."""

    text: str  # as it was asked: "p99=200ms"
    measured: str  # "183 ms"; "none" where nothing was answered
    met: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """A whole load test."""

    plan: dict[str, Any]  # as it was read, defaults filled in
    url: str
    seed: int
    began_at: str
    seconds: float  # of load, the wait for the last answers included
    interrupted: str | None  # why it ended before its end, in a sentence
    machine: Facts
    node: Facts  # what the node says of itself: version, functions, devices, simulated
    groups: tuple[Group, ...]
    series: tuple[Second, ...]
    observed: tuple[Observed, ...]
    decided: tuple[Decided, ...]
    colds: tuple[ColdStart, ...]
    faults: tuple[Fault, ...]
    generator: Generator
    throttled: int  # 429s in all
    unanswered: int  # requests whose outcome nobody knows when the load test ended
    objectives: tuple[Objective, ...]
    audit: dict[str, Any] | None  # GET /audit at the end; None where it could not be asked
    notes: tuple[str, ...] = ()  # what a reader must know: "the node was not observed: …"
    format: int = field(default=FORMAT)


OUTCOME = TypeAdapter(Outcome)


def dumps(outcome: Outcome) -> bytes:
    """As JSON, indented."""
    return kept.dumps(OUTCOME, outcome)
