"""What moves through Lumbre: messages, invocations, payloads, outcomes.

These are plain records without behaviour.  `Invocation` is the one that changes, in the one
place that owns it (`runtime.invocations`); the others are made once and handed on.
"""

import os
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

Device = Literal["cpu", "gpu"]
DEVICES: tuple[Device, ...] = ("cpu", "gpu")

INLINE_LIMIT = 256 * 1024  # bytes; larger inputs and results travel by reference, as blobs
JSON = "application/json"


class Status(StrEnum):
    """Where an invocation is; the first terminal status written wins."""

    QUEUED = "queued"  # accepted, waiting for a replica or for its next attempt
    RUNNING = "running"  # a replica has it
    SUCCEEDED = "succeeded"  # the function returned
    FAILED = "failed"  # the function raised, or its result cannot be sent
    TIMED_OUT = "timed_out"  # an attempt ran longer than the function's timeout
    CANCELLED = "cancelled"  # somebody asked for it to stop
    DEAD = "dead"  # its replicas died on every attempt


TERMINAL = frozenset(
    {Status.SUCCEEDED, Status.FAILED, Status.TIMED_OUT, Status.CANCELLED, Status.DEAD}
)


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes with a name and a media type: inline (`data`), in the blob store (`key`), or both."""

    name: str
    media_type: str
    size: int
    data: bytes | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Payload:
    """An invocation's input: its parameters as a JSON object, and its bytes parameters.

    `parameters` is None where the JSON is over INLINE_LIMIT and lies in the blob store at `key`.
    """

    parameters: bytes | None = b"{}"
    parts: tuple[Part, ...] = ()
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """What a row of the ledger needs and the rest of a message does not say."""

    requested_device: str
    version: str


@dataclass(slots=True)
class Message:
    """What a queue carries: enough to run one invocation, and nothing of its outcome."""

    id: str
    function: str
    device: Device
    payload: Payload
    created_at: float  # unix seconds, when the invocation was accepted
    attempt: int = 1  # the number of the delivery, counted by us and not by the broker
    priority: int = 0  # higher goes first
    traceparent: str | None = None  # W3C; None stands for one derived from the id
    unrecorded: "Unrecorded | None" = None  # set where the ledger has no row of it yet
    reply_to: str | None = None  # where somebody waits for the outcome; a wake-up, not the record
    callback: str | None = None  # the invocation's, for whoever records its outcome elsewhere


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an invocation did not succeed: `type` is an exception's name or one of ours."""

    type: str
    message: str
    traceback: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Outcome:
    """How one attempt ended, as the worker tells it."""

    status: Status
    result: Part | None = None
    error: Failure | None = None
    blobs: tuple[Part, ...] = ()
    run: float = 0.0  # seconds in the replica, by its own clock
    phases: dict[str, float] | None = None  # seconds, from context.timer
    log: str | None = None  # captured standard output and error


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that did not give the final outcome: its replica died, or it is tried again."""

    invocation: str
    attempt: int
    replica: str | None
    device: Device
    started_at: float | None  # unix seconds
    finished_at: float | None
    error: Failure | None


@dataclass(slots=True)
class Invocation:
    """One call, from acceptance to a terminal status."""

    message: Message
    requested_device: str
    version: str
    status: Status = Status.QUEUED
    started_at: float | None = None
    finished_at: float | None = None
    timings: dict[str, float] | None = None  # seconds: queue, start, run and the function's phases
    cold: bool = False
    replica: str | None = None
    error: Failure | None = None
    result: Part | None = None
    blobs: tuple[Part, ...] = ()
    log: str | None = None
    idempotency_key: str | None = None
    fingerprint: str | None = None  # of function, device and input, for idempotent creation
    replayed_from: str | None = None
    published: bool = True  # its message is in its queue, or went through it
    callback: str | None = None  # URL that the outcome is POSTed to
    batch: str | None = None  # id of the batch it came in
    batch_index: int | None = None  # its place there, from 0

    @property
    def id(self) -> str:
        return self.message.id

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def traceparent(self) -> str:
        """The W3C traceparent of this invocation's own span."""
        return self.message.traceparent or derived_traceparent(self.message.id)


@dataclass(frozen=True, slots=True)
class Depth:
    """How full a queue is; `backlog` is what scaling looks at."""

    ready: int = 0
    unacknowledged: int = 0
    dead: int = 0

    @property
    def backlog(self) -> int:
        return self.ready + self.unacknowledged


@dataclass(frozen=True, slots=True)
class ReplicaCounts:
    """Replicas of one function on one device, by state."""

    starting: int = 0
    ready: int = 0
    busy: int = 0
    draining: int = 0

    @property
    def running(self) -> int:
        """Those that count for scaling: everything that is not on its way out."""
        return self.starting + self.ready + self.busy


@dataclass(frozen=True, slots=True)
class PoolState:
    """The replicas of one function on one device, as others than their worker see them."""

    replicas: ReplicaCounts
    most: int  # replicas there may be
    gpu_slots: int = 0  # of the worker's machine
    trouble: str | None = None  # why replicas do not start, in words
    starved: bool = False  # it wants a GPU slot, and all are taken
    cold_starts: int = 0
    simulated: bool = False  # its GPU is a CPU
    decisions: dict[str, int] = field(default_factory=dict)  # of the autoscaler, by direction
    in_hand: int = 0  # deliveries that its worker has taken and not settled

    def __add__(self, other: "PoolState") -> "PoolState":
        """Both together, where several workers serve one queue."""
        ours, theirs = self.replicas, other.replicas
        names = self.decisions.keys() | other.decisions.keys()
        return PoolState(
            replicas=ReplicaCounts(
                ours.starting + theirs.starting,
                ours.ready + theirs.ready,
                ours.busy + theirs.busy,
                ours.draining + theirs.draining,
            ),
            most=self.most + other.most,
            gpu_slots=self.gpu_slots + other.gpu_slots,
            trouble=self.trouble or other.trouble,
            starved=self.starved and other.starved,
            cold_starts=self.cold_starts + other.cold_starts,
            simulated=self.simulated or other.simulated,
            decisions={n: self.decisions.get(n, 0) + other.decisions.get(n, 0) for n in names},
            in_hand=self.in_hand + other.in_hand,
        )


def queue_name(function: str, device: Device) -> str:
    return f"{function}.{device}"


_last_ms = 0
_sequence = 0
_random: list[int] = []


def new_id() -> str:
    """Make an invocation id: 32 hex digits of a UUIDv7 (RFC 9562 §5.7), rising within a process.

    The 12 bits `rand_a` are a counter within the millisecond (method 1 of §6.2), so that ids sort
    in the order they were made and the ledger's index grows at one end.
    """
    global _last_ms, _sequence, _random
    now = time.time_ns() // 1_000_000
    if now > _last_ms:
        _last_ms, _sequence = now, 0
    else:
        _sequence += 1
        if _sequence > 0xFFF:
            _last_ms, _sequence = _last_ms + 1, 0
    if not _random:
        _random = [*memoryview(os.urandom(4096)).cast("Q")]  # one system call for 512 ids
    variant = _random.pop() & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
    return f"{_last_ms:012x}7{_sequence:03x}{variant:016x}"


def derived_traceparent(invocation: str) -> str:
    """A traceparent for an invocation that came without one; its trace id is the invocation id."""
    return f"00-{invocation}-{invocation[16:]}-01"
