"""What a run of the suite measured, before anything is computed from it: `job_results.json`.

Every report is made from this alone, so that it can be made again, elsewhere and later.  Seconds,
bytes and FLOP everywhere; instants are RFC 3339 in UTC.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from loadtest import kept
from runtime.model import Device

FORMAT = 1
JOB_RESULTS = "job_results.json"
Facts = list[tuple[str, str]]  # names and values


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What computed."""

    kind: Device
    name: str  # "AMD EPYC" or "NVIDIA H200"
    simulated: bool  # a GPU pool that really computed on the CPU
    threads: int | None  # torch's, on a CPU
    facts: Facts  # memory, driver, clocks, BLAS, compute capability …


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The most that a device was seen to do of one kind of work, by a large plain torch call.

    Names: `matmul float32`, `matmul tf32`, `matmul bfloat16`, `matmul float16`, `copy` (within the
    device's memory, bytes read plus bytes written), `transfer_in`, `transfer_out` (pinned).
    """

    device: Device
    name: str
    unit: Literal["FLOP/s", "B/s"]
    rates: tuple[float, ...]  # of each repetition; the median counts
    detail: str  # what was done: "8192 × 8192 product, 10 repetitions after 3 discarded"


@dataclass(frozen=True, slots=True)
class Sample:
    """One warm call."""

    order: int  # its place in the random order of the whole run
    seconds: float  # of one piece of work on the device, transfers left out
    transfer_in: float  # 0 where nothing is copied
    transfer_out: float
    run: float  # the whole call in the replica, its inputs' making included


@dataclass(frozen=True, slots=True)
class Cold:
    """A replica's start and first call, as the autoscaler starts one: forked from a warm zygote."""

    function: str
    case: str
    device: Device
    size: float
    order: int
    start: float  # from the fork until it was ready: device, threads, setup
    first: float  # its first call, whole
    warm: float  # the median of warm calls with the same parameters, whole; to compare


@dataclass(frozen=True, slots=True)
class Cell:
    """One case at one size on one device: all its warm calls."""

    case: str  # "matmul bfloat16"
    function: str
    device: Device
    axis: str  # the parameter that is the size: "n"
    size: float
    parameters: dict[str, Any]  # all that were given
    work: float | None  # FLOP or bytes of one piece of work
    unit: Literal["FLOP", "B"] | None
    ceiling: str | None  # the name of the ceiling its rate is held against
    samples: tuple[Sample, ...]
    failures: tuple[str, ...]  # why calls failed, one for each that did
    stopped: str  # why no more were made: "± 3 % after 12", "time", "failures", "interrupted"


@dataclass(frozen=True, slots=True)
class Check:
    """One field of the results of both devices, side by side."""

    field: str
    cpu: float | None
    gpu: float | None
    rule: str  # in words: "|cpu − gpu| ≤ 1e-4 × n ** 1.5", "each ≤ 1e-5"
    holds: bool


@dataclass(frozen=True, slots=True)
class Parity:
    """Whether CPU and GPU gave the same result; None where it could not be or was not checked."""

    case: str
    size: float
    holds: bool | None
    checks: tuple[Check, ...]
    reason: str  # what to say beside it: "no GPU here", "the plan names no field to compare"


@dataclass(frozen=True, slots=True)
class Results:
    """A whole run."""

    began_at: str
    seconds: float  # the whole run took
    quick: bool
    seed: int  # of the order
    plan: str  # where it was read from
    confidence: float  # of the interval that repetition aims at
    precision: float  # half its width, as a share of the median, that was enough
    machine: Facts
    load_before: str  # load averages over 1, 5 and 15 minutes
    load_after: str
    devices: tuple[DeviceFacts, ...]
    ceilings: tuple[Ceiling, ...]
    cells: tuple[Cell, ...]
    colds: tuple[Cold, ...]
    parities: tuple[Parity, ...]
    notes: tuple[str, ...] = ()  # what a reader must know: "no GPU here: …"
    interrupted: str | None = None  # why it ended before its end
    format: int = field(default=FORMAT)


RESULTS = TypeAdapter(Results)


def dumps(results: Results) -> bytes:
    """As JSON, indented."""
    return kept.dumps(RESULTS, results)


def read(path: Path) -> Results:
    """Results from a file, or from the one in a folder; UnreadableResults says what is wrong."""
    file = path / JOB_RESULTS if path.is_dir() else path
    return kept.read(RESULTS, file, FORMAT, "lumbre bench")
