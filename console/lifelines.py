"""What replicas did, as a chart: a row for each, a bar for each time at which it did one thing."""

from collections.abc import Iterable, Sequence
from typing import Any

from console import numbers
from runtime.lifeline import ReplicaLife

MOST_ROWS = 60
LEAST_DRAWN = 1 / 150  # of the time that is shown: what is shorter could not be seen
STATES = ("starting", "ready", "busy", "draining")


def lifelines(lives: Sequence[ReplicaLife], start: float, now: float) -> dict[str, Any]:
    """A chart of these replicas, the newest first, from `start` to `now` (unix seconds)."""
    shown = lives[:MOST_ROWS]
    return {
        "kind": "lifelines",
        "title": "What each replica did",
        "caption": _caption(lives, start, now),
        "data": {
            "start": round(start * 1000),
            "end": round(now * 1000),
            "rows": [_row(life, start, now) for life in shown],
        },
        "table": {
            "columns": [
                "Replica",
                "Device",
                "Lived",
                *map(str.capitalize, STATES),
                "Served",
                "End",
            ],
            "rows": [_numbers(life, start, now) for life in shown],
        },
    }


def spans(life: ReplicaLife, start: float, now: float) -> Iterable[tuple[str, float, float]]:
    """State, begin and end of what a replica did between two instants."""
    for segment in life.segments:
        end = segment.end if segment.end is not None else life.ended_at
        begin, end = max(segment.start, start), min(now if end is None else end, now)
        if end > begin:
            yield segment.state, begin, end


def _row(life: ReplicaLife, start: float, now: float) -> dict[str, Any]:
    """A row; a life too short to be seen is drawn longer than it was."""
    drawn = list(spans(life, start, now))
    least = (now - start) * LEAST_DRAWN
    if drawn and drawn[-1][2] - drawn[0][1] < least:
        state, begin, _ = drawn[-1]
        drawn[-1] = (state, begin, drawn[0][1] + least)
    return {
        "name": life.name,
        "tone": life.device,
        "segments": [
            {"state": state, "start": round(begin * 1000), "end": round(end * 1000)}
            for state, begin, end in drawn
        ],
    }


def _times(lives: Iterable[ReplicaLife], start: float, now: float) -> dict[str, float]:
    """Seconds in each state, of all of them together."""
    times = dict.fromkeys(STATES, 0.0)
    for life in lives:
        for state, begin, end in spans(life, start, now):
            times[state] += end - begin
    return times


def _numbers(life: ReplicaLife, start: float, now: float) -> list[str]:
    times = _times([life], start, now)
    lived = max(0.0, (life.ended_at or now) - life.spawned_at)
    device = f"{life.device.upper()}{', simulated' if life.simulated else ''}"
    spent = [numbers.seconds(times[state]) if times[state] else numbers.DASH for state in STATES]
    ending = life.ending or ("ended" if life.ended_at else numbers.DASH)
    return [life.name, device, numbers.seconds(lived), *spent, numbers.count(life.served), ending]


def _caption(lives: Sequence[ReplicaLife], start: float, now: float) -> str:
    if not lives:
        return "No replica lived in this time."
    ended = sum(life.ended_at is not None for life in lives)
    text = f"{_some(len(lives), 'replica')} lived in the last {numbers.seconds(round(now - start))}"
    text += f": {len(lives) - ended:,} still {'does' if len(lives) - ended == 1 else 'do'}"
    text += f", {ended:,} ended." if ended else "."
    times = _times(lives, start, now)
    if able := times["ready"] + times["busy"]:
        text += f" Together they were busy for {numbers.percent(times['busy'] / able)} of the time"
        text += " in which they could be."
    if len(lives) > MOST_ROWS:
        text += f" The newest {MOST_ROWS} are drawn; {len(lives) - MOST_ROWS:,} more are not."
    return text


def _some(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
