"""What the workers of a bus tell gateways of their replicas, and what a gateway knows by that.

A worker tells every few seconds, and no more than a message should hold: the latest segments of
each replica.  A gateway puts them behind those it has heard before.
"""

import time
from collections.abc import Iterable
from dataclasses import asdict, fields, replace
from typing import Any

import orjson

from runtime.lifeline import MAX_SEGMENTS, REMEMBERED, Doing, ReplicaLife, Segment

MAX_REPLICAS = 200  # of one worker: the latest, those that are alive before those that ended
MAX_TOLD = 40  # segments of one replica; more than there can be between two announcements
MAX_TOLD_IN_ALL = 4000  # segments
LEAST_TOLD = 8  # segments of one replica, of however many

Lives = dict[str, ReplicaLife]

_LETTERS: dict[Doing, str] = {"starting": "s", "ready": "r", "busy": "b", "draining": "d"}
_FIELDS = frozenset(field.name for field in fields(ReplicaLife)) - {"segments"}
_STATES: dict[str, Doing] = {letter: state for state, letter in _LETTERS.items()}


def told(lives: Iterable[ReplicaLife]) -> bytes:
    """Replicas as a worker announces them: JSON, with segments as letters and microseconds."""
    latest = sorted(lives, key=lambda life: (life.ended_at is None, life.spawned_at), reverse=True)
    latest = latest[:MAX_REPLICAS]
    most = max(LEAST_TOLD, min(MAX_TOLD, MAX_TOLD_IN_ALL // max(1, len(latest))))
    return orjson.dumps([said_of(life, most) for life in latest])


def heard(body: bytes) -> list[ReplicaLife]:
    """What a worker announced; ValueError, TypeError or KeyError where that is none."""
    return [life_of(said) for said in orjson.loads(body)]


def said_of(life: ReplicaLife, most: int) -> dict[str, Any]:
    """A replica as JSON can hold it, with so many of its latest segments."""
    said = asdict(replace(life, segments=()))
    said["segments"] = [
        [_LETTERS[s.state], round((s.start - life.spawned_at) * 1_000_000)]
        for s in life.segments[-most:]
    ]
    return said


def life_of(said: dict[str, Any]) -> ReplicaLife:
    """What `said_of` gave, to the microsecond; takes it apart.

    What a newer worker says besides is left out: a rollout has workers of two versions.
    """
    marks = said.pop("segments")
    starts = [said["spawned_at"] + after / 1_000_000 for _, after in marks]
    ends = [*starts[1:], said["ended_at"]]
    segments = tuple(
        Segment(_STATES[letter], start, end)
        for (letter, _), start, end in zip(marks, starts, ends, strict=False)
    )
    known = {name: value for name, value in said.items() if name in _FIELDS}
    return ReplicaLife(**known, segments=segments)


class Roster:
    """The replicas of all workers, by what these announced, and of those that went away lately."""

    def __init__(self) -> None:
        self._workers: dict[str, Lives] = {}
        self._gone: dict[str, tuple[float, Lives]] = {}  # since when, in monotonic seconds

    def heard(self, worker: str, body: bytes) -> None:
        """A worker tells of its replicas; raises what `heard` does."""
        lives = heard(body)
        _, before = self._gone.pop(worker, (0.0, self._workers.get(worker, {})))
        self._workers[worker] = {life.name: _joined(before.get(life.name), life) for life in lives}

    def left(self, worker: str, why: str) -> None:
        """A worker is gone, and with it those of its replicas that had not ended; why, in words."""
        lives = self._workers.pop(worker, {})
        if lives:
            now = time.time()
            ended = {name: _ended(life, now, why) for name, life in lives.items()}
            self._gone[worker] = (time.monotonic(), ended)

    def lives(self) -> list[ReplicaLife]:
        """Those that are alive, and those that ended in the last seconds."""
        before = time.monotonic() - REMEMBERED
        self._gone = {worker: kept for worker, kept in self._gone.items() if kept[0] >= before}
        told = [*self._workers.values(), *(lives for _, lives in self._gone.values())]
        return [life for lives in told for life in lives.values()]


def _joined(earlier: ReplicaLife | None, life: ReplicaLife) -> ReplicaLife:
    """A life with the segments that were heard of before and are not told any more."""
    if earlier is None or earlier.spawned_at != life.spawned_at or not life.segments:
        return life
    first = life.segments[0]
    kept = [segment for segment in earlier.segments if segment.start < first.start]
    if kept and kept[-1].state == first.state:
        first = replace(first, start=kept.pop().start)
    elif kept:
        kept[-1] = replace(kept[-1], end=first.start)
    return replace(life, segments=tuple([*kept, first, *life.segments[1:]][-MAX_SEGMENTS:]))


def _ended(life: ReplicaLife, now: float, why: str) -> ReplicaLife:
    if life.ended_at is not None:
        return life
    segments = life.segments
    if segments:
        segments = (*segments[:-1], replace(segments[-1], end=now))
    return replace(life, state="ended", ended_at=now, ending=why, memory=0, segments=segments)
