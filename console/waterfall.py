"""Where the time of an invocation went: parts that follow one another and add up to the whole.

accepted → queued → cold start → running → reported; an attempt that was lost stands where it was,
with the wait for the next one behind it.  Pure: a record in, parts out, and the time is given.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from console import numbers
from runtime.lifeline import ReplicaLife
from runtime.model import Attempt, Invocation, Status

Kind = Literal["queued", "lost", "cold", "running", "reported"]

_Piece = tuple[Kind, str, float, tuple["Phase", ...]]  # a part before its place is known

SLACK = 1e-3  # seconds that two ways to measure one thing may differ without anything being wrong
NAMED = 0.005  # of a part: less than that in no phase is not told
OURS = ("queue", "start", "run")  # timings that are not the function's own phases
_WORDS: dict[Kind, str] = {
    "queued": "waiting in the queue",
    "lost": "lost with attempts that died or were tried again",
    "cold": "a cold start",
    "running": "the function running",
    "reported": "reporting the outcome",
}


@dataclass(frozen=True, slots=True)
class Phase:
    """What some of a part was spent on, as the function or the replica told."""

    name: str
    seconds: float
    share: float  # of its part, 0 to 1; phases within one another add up to more


@dataclass(frozen=True, slots=True)
class Stretch:
    """One part of a waterfall."""

    kind: Kind
    name: str
    at: float  # seconds after the invocation was accepted
    seconds: float
    share: float  # of the whole, 0 to 1
    phases: tuple[Phase, ...] = ()


@dataclass(frozen=True, slots=True)
class Waterfall:
    """An invocation's time from acceptance to its end, or until now; also what its JSON says."""

    parts: tuple[Stretch, ...]
    seconds: float  # the whole, which is the sum of the parts
    over: bool
    sentence: str  # which part was the longest
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Ticking:
    """Goes from instant to instant; where clocks disagree, no time has passed."""

    at: float  # unix seconds
    behind: float = 0.0  # seconds: the most that a later instant was before an earlier one

    def until(self, instant: float) -> float:
        passed, self.at = instant - self.at, instant
        self.behind = max(self.behind, -passed)
        return max(0.0, passed)


def waterfall(
    invocation: Invocation,
    attempts: Sequence[Attempt] = (),
    *,
    now: float,
    life: ReplicaLife | None = None,
) -> Waterfall:
    """The waterfall of an invocation; `now` (unix seconds) counts for one that is not over.

    `attempts` are those that did not give the outcome, first to last.  With the `life` of its
    replica, the cold start is told apart, and told at all before the invocation is over.
    """
    ticking = _Ticking(invocation.message.created_at)
    parts: list[_Piece] = []
    for attempt in attempts:
        if attempt.started_at is not None and attempt.finished_at is not None:
            wait = ticking.until(attempt.started_at)
            parts.append(("queued", "queued again" if parts else "queued", wait, ()))
            lost = ticking.until(attempt.finished_at)
            parts.append(("lost", f"attempt {attempt.attempt}, lost", lost, ()))
    parts += _last(invocation, attempts, ticking, now, life, again=bool(parts))
    laid = _laid(parts)
    whole = math.fsum(part.seconds for part in laid)
    return Waterfall(
        parts=laid,
        seconds=whole,
        over=invocation.terminal,
        sentence=_sentence(laid, whole, over=invocation.terminal),
        notes=tuple(_notes(laid, ticking, invocation, attempts)),
    )


def _last(
    invocation: Invocation,
    attempts: Sequence[Attempt],
    ticking: _Ticking,
    now: float,
    life: ReplicaLife | None,
    *,
    again: bool,
) -> list[_Piece]:
    """The parts of the attempt that gives, or gave, the outcome."""
    queued = "queued again" if again else "queued"
    end = _end(invocation, now)
    started_at = _started(invocation, attempts)
    if started_at is None:
        return [("queued", queued, ticking.until(end), ())]
    waited = ticking.until(started_at)
    start = min(waited, _start(invocation, life))
    parts: list[_Piece] = [("queued", queued, waited - start, ())]
    if start:
        parts.append(("cold", "cold start", start, _start_phases(start, life)))
    name = f"running, attempt {invocation.message.attempt}" if again else "running"
    passed = ticking.until(end)
    timings = invocation.timings or {}
    told = timings.get("run") if invocation.terminal else None
    run = passed if told is None else told
    if run > passed + SLACK:  # a duration by one clock is worth more than a gap between two
        ticking.behind = max(ticking.behind, run - passed)
        passed = run
    run = min(run, passed)
    parts.append(("running", name, run, _phases(timings, run)))
    if told is not None:
        parts.append(("reported", "reported", passed - run, ()))
    return parts


def _end(invocation: Invocation, now: float) -> float:
    if not invocation.terminal:
        return now
    return invocation.finished_at or invocation.started_at or invocation.message.created_at


def _started(invocation: Invocation, attempts: Sequence[Attempt]) -> float | None:
    """When the last attempt began; a record that waits again still has its earlier start."""
    started_at = invocation.started_at
    if started_at is None or invocation.status is Status.QUEUED:
        return None
    ended = [attempt.finished_at for attempt in attempts if attempt.finished_at is not None]
    return None if ended and started_at < ended[-1] - SLACK else started_at


def _start(invocation: Invocation, life: ReplicaLife | None) -> float:
    """Seconds that it waited for its replica to start."""
    if invocation.timings is not None:
        return max(0.0, invocation.timings.get("start", 0.0))
    if not invocation.cold or life is None or life.ready_at is None:
        return 0.0
    return max(0.0, life.ready_at - max(life.spawned_at, invocation.message.created_at))


def _start_phases(start: float, life: ReplicaLife | None) -> tuple[Phase, ...]:
    """What a cold start was spent on: setting up comes last, and is measured by the replica."""
    if life is None or life.ready_at is None:
        return ()
    setup = min(start, max(0.0, life.setup))
    both = (("spawn and import", start - setup), ("setup", setup))
    return tuple(Phase(name, seconds, seconds / start) for name, seconds in both)


def _phases(timings: Mapping[str, float], run: float) -> tuple[Phase, ...]:
    """The function's own phases, and the rest of the run."""
    told = [(name, seconds) for name, seconds in timings.items() if name not in OURS]
    if not told or run <= 0:
        return ()
    rest = run - math.fsum(seconds for _, seconds in told)
    if rest > NAMED * run:
        told.append(("in no phase", rest))
    return tuple(Phase(name, seconds, seconds / run) for name, seconds in told)


def _laid(parts: Iterable[_Piece]) -> tuple[Stretch, ...]:
    """The parts one behind the other."""
    parts = tuple(parts)
    whole = math.fsum(seconds for _, _, seconds, _ in parts)
    at = 0.0
    laid = []
    for kind, name, seconds, phases in parts:
        share = seconds / whole if whole else 0.0
        laid.append(Stretch(kind, name, at, seconds, share, phases))
        at += seconds
    return tuple(laid)


def _sentence(parts: Sequence[Stretch], whole: float, *, over: bool) -> str:
    """Which kind of part was the longest, as a person would say it."""
    if not whole:
        return "It took no time that could be measured." if over else "It was accepted just now."
    shares: dict[Kind, float] = {}
    for part in parts:
        shares[part.kind] = shares.get(part.kind, 0.0) + part.share
    kind = max(shares, key=lambda kind: shares[kind])
    share = shares[kind]
    much = f"{share * 100:.0f} %" if share < 0.995 else "Nearly all" if share < 1 else "All"
    said = f"{much} of {numbers.seconds(whole)} was {_WORDS[kind]}"
    phases = [phase for part in parts if part.kind == kind for phase in part.phases]
    longest = max(phases, key=lambda phase: phase.share, default=None)
    if longest and longest.share > 0.5 and longest.name != "in no phase":
        said += f", mostly {longest.name} ({numbers.seconds(longest.seconds)})"
    return f"{said}." if over else f"So far: {said[0].lower()}{said[1:]}."


def _notes(
    parts: Sequence[Stretch],
    ticking: _Ticking,
    invocation: Invocation,
    attempts: Sequence[Attempt],
) -> Iterable[str]:
    if ticking.behind > SLACK:
        yield (
            f"The clocks of two machines disagree by {numbers.seconds(ticking.behind)} at least:"
            " what would be less than nothing is shown as 0."
        )
    if any(math.fsum(phase.share for phase in part.phases) > 1 + NAMED for part in parts):
        yield "Phases lie within one another: together they are longer than what they are part of."
    unknown = invocation.message.attempt - 1 - len(attempts)
    if unknown > 0:
        yield "An earlier attempt ended with its worker: its time counts as queued."
