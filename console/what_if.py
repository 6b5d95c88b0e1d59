"""What if: the last hour or day of a function, played again under another policy.

The recorded invocations come to a simulation (`autoscaler.replay`) in a process of its own, so the
gateway goes on as fast as before; one at a time, of a bounded number of invocations.
"""

import asyncio
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from autoscaler.keda import DEFAULT_MOST
from autoscaler.replay import POINTS, Question, ask
from autoscaler.scene import Engine
from autoscaler.sweep import scaling_of
from console import numbers
from console.page import View
from console.policy import span
from console.shared import Shared
from console.sources import Sources
from runtime.errors import ConfigurationError, LumbreError, Overloaded, Unavailable
from runtime.function import FunctionSpec, Scaling
from runtime.lifeline import ReplicaLife
from runtime.model import Device, PoolState
from runtime.replicas import MOST as MOST_LIVES

MOST = 100_000  # invocations that are played: the latest
LEAST = 3600.0  # seconds that are looked back at least
PATIENCE = 30.0  # seconds that a simulation may take …
QUEUE = 3  # … and how many may wait for their turn
LEAD = 0.03  # of the time since the first invocation: how much of it is shown before that
FRESH = 60.0  # seconds for which an answer is given out again
SOURCE = str(Path(__file__).parent.parent)
FIELDS = {  # of the form → of Scaling
    "target": "target",
    "cooldown": "cooldown",
    "min": "min_replicas",
    "max": "max_replicas",
}
LABELS = {
    "target": "Target, messages",
    "cooldown": "Cooldown, s",
    "min": "Min replicas",
    "max": "Max replicas",
}


class WhatIf:
    """Answers questions about other policies."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._answers = Shared[dict[str, Any]](FRESH)
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def view(
        self,
        spec: FunctionSpec,
        device: Device,
        asked: Mapping[str, str],
        seconds: float,
    ) -> View | None:
        """The form, with an answer where something was asked; None where nothing was recorded."""
        seconds = max(LEAST, seconds)
        now = time.time()
        try:
            ran = await self._sources.ledger.runs.arrived(spec.name, device, now - seconds, 1)
        except LumbreError:
            return None
        if not ran:
            return None
        pool = self._sources.fleet.pools(spec).get(device)
        scaling = spec.scaling[device]
        most = pool.most if pool else scaling.max_replicas or DEFAULT_MOST
        own = _values(scaling, most)
        given = {name: asked[name].strip() for name in FIELDS if asked.get(name, "").strip()}
        view: View = {
            "fields": [
                {"name": name, "label": LABELS[name], "value": given.get(name, own[name])}
                for name in FIELDS
            ],
            "span": "24 hours" if seconds > LEAST else "hour",
            "fault": None,
            "found": None,
        }
        if not given:
            return view
        try:
            other = _other(scaling, given)
            key = (spec.name, device, seconds, *map(_key, (scaling, other)), most)
            found = await self._answers.get(
                key, lambda: self._answer(spec, device, other, most, pool, now - seconds, now)
            )
            view["found"] = _told(found, _changes(own, _values(other, most)), device)
        except LumbreError as error:
            view["fault"] = str(error)
        return view

    async def _answer(
        self,
        spec: FunctionSpec,
        device: Device,
        other: Scaling,
        most: int,
        pool: PoolState | None,
        since: float,
        now: float,
    ) -> dict[str, Any]:
        calls = await self._sources.ledger.runs.arrived(spec.name, device, since, MOST)
        if calls:  # what came before these is not looked at, and before the first was nothing
            first = calls[-1].at
            since = first if len(calls) == MOST else max(since, first - LEAD * (now - first))
        lives = await self._sources.history.replicas(since)
        own = [each for each in lives if (each.function, each.device) == (spec.name, device)]
        engine: Engine = "local" if pool is not None and pool.decisions else "cluster"
        question = Question(
            function=spec.name,
            device=device,
            since=since,
            until=now,
            calls=[(call.at, call.timings, call.cold) for call in calls],
            starts=[each.ready_at - each.spawned_at for each in own if each.ready_at is not None],
            ready=sum(each.spawned_at <= since for each in own),
            engine=engine,
            most=most,
            scaling=asdict(spec.scaling[device]),
            other=asdict(other),
        )
        found = await self._played(question)
        if len(lives) < MOST_LIVES:
            found["lives"] = _of_lives(own, since, now)
        cut = len(calls) == MOST
        return {**found, "since": since, "until": now, "engine": engine, "cut": cut}

    async def _played(self, question: Question) -> dict[str, Any]:
        """The answer of the process that plays it; Overloaded where too many wait already."""
        if self._waiting >= QUEUE:
            raise Overloaded("other simulations wait for their turn: ask again in a moment", 10)
        self._waiting += 1
        try:
            async with self._turn:
                told = await _run(ask(question))
        finally:
            self._waiting -= 1
        if error := told.get("error"):
            raise ConfigurationError(error)
        return told


async def _run(question: bytes) -> dict[str, Any]:
    path = os.pathsep.join([SOURCE, *filter(None, [os.environ.get("PYTHONPATH")])])
    own = {k: v for k, v in os.environ.items() if not k.startswith("LUMBRE_")}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "autoscaler.replay"),
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        env=own | {"PYTHONPATH": path},
    )
    try:
        out, said = await asyncio.wait_for(process.communicate(question), PATIENCE)
    except TimeoutError:
        text = f"it was not simulated within {PATIENCE:.0f} s: ask for a shorter time"
        raise Unavailable(text, 60) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        last = said.decode(errors="replace").strip().rpartition("\n")[2]
        raise Unavailable(f"the simulation failed ({last}): ask again", 10)
    told: dict[str, Any] = orjson.loads(out)
    return told


# ── what is asked ─────────────────────────────────────────────────────────────────────────────


def _values(scaling: Scaling, most: int) -> dict[str, str]:
    """A policy as the form has it."""
    values = {name: getattr(scaling, field) for name, field in FIELDS.items()}
    values["max"] = scaling.max_replicas or most
    return {name: f"{value:g}" for name, value in values.items()}


def _other(scaling: Scaling, given: Mapping[str, str]) -> Scaling:
    """The policy that is asked about; ConfigurationError for what is no number, or cannot be."""
    knobs = {}
    for name, text in given.items():
        try:
            knobs[FIELDS[name]] = float(text)
        except ValueError:
            raise ConfigurationError(f"{name}={text}: write a number") from None
    return scaling_of(knobs, scaling)


def _key(scaling: Scaling) -> bytes:
    return orjson.dumps(asdict(scaling))


def _changes(own: Mapping[str, str], other: Mapping[str, str]) -> str:
    """What differs, in words: target 2 and cooldown 30 s."""
    told = [
        f"{name} {span(float(other[name])) if name == 'cooldown' else other[name]}"
        for name in FIELDS
        if own[name] != other[name]
    ]
    return " and ".join([", ".join(told[:-1]), told[-1]] if told[1:] else told)


# ── what was recorded ─────────────────────────────────────────────────────────────────────────


def _of_lives(lives: Sequence[ReplicaLife], since: float, until: float) -> dict[str, Any]:
    """Replicas over a stretch of time: their seconds, the most at once, and the most by part."""
    spans = [(max(since, life.spawned_at), min(until, life.ended_at or until)) for life in lives]
    steps = sorted(step for start, end in spans for step in ((start, 1), (end, -1)) if end > start)
    points, count, place = [], 0, 0
    for number in range(POINTS):
        end = since + (until - since) * (number + 1) / POINTS
        most = count
        while place < len(steps) and steps[place][0] < end:
            count += steps[place][1]
            most = max(most, count)
            place += 1
        points.append(most)
    seconds = sum(max(0.0, end - start) for start, end in spans)
    return {"seconds": seconds, "most": max(points), "points": points}


# ── what is told ──────────────────────────────────────────────────────────────────────────────


def _told(found: Mapping[str, Any], changes: str, device: Device) -> View:
    """An answer as the page shows it."""
    recorded, before, after = found["recorded"], found["as_it_is"], found["changed"]
    lives = found.get("lives")
    rows = [
        _times(name, label, recorded, before, after)
        for name, label in (("p50", "Half took up to"), ("p95", "95 % took up to"), ("p99", "99 %"))
    ]
    rows.append(
        ["Cold", *(numbers.percent(each["cold_share"]) for each in (recorded, before, after))]
    )
    hours = [None if lives is None else lives["seconds"]]
    hours += [each["replica_seconds"]["total"] for each in (before, after)]
    rows.append(["Replica-hours", *(_hours(each) for each in hours)])
    most = [None if lives is None else lives["most"]]
    most += [each["replicas"]["most"] for each in (before, after)]
    rows.append(["Replicas at most", *(numbers.count(each) for each in most)])
    return {
        "changes": changes,
        "columns": ["", "Recorded", "Simulated as it is", "With the change"],
        "rows": rows,
        "chart": _chart(found, changes, device),
        "assumed": _assumed(found),
    }


def _times(name: str, label: str, *of: Mapping[str, Any]) -> list[str]:
    return [label, *(numbers.seconds(each["total"][name]) for each in of)]


def _hours(seconds: float | None) -> str:
    return numbers.DASH if seconds is None else numbers.significant(seconds / 3600)


def _chart(found: Mapping[str, Any], changes: str, device: Device) -> dict[str, Any]:
    before, after, lives = found["as_it_is"], found["changed"], found.get("lives")
    width = (found["until"] - found["since"]) / POINTS
    series = [
        _line("simulated as it is", "start", _replicas(before), faint=True),
        _line("simulated with the change", device, _replicas(after)),
    ]
    if lives is not None:
        series.insert(0, _line("recorded", "queue", lives["points"]))
    p95 = [numbers.seconds(each["total"]["p95"]) for each in (before, after)]
    hours = [_hours(each["replica_seconds"]["total"]) for each in (before, after)]
    return {
        "kind": "steps",
        "title": "Replicas, had it been so",
        "caption": f"With {changes or 'nothing changed'}, 95 % would have taken up to {p95[1]}"
        f" instead of {p95[0]}, for {hours[1]} replica-hours instead of {hours[0]}, by simulation.",
        "data": {
            "points": [round((found["since"] + i * width) * 1000) for i in range(POINTS)],
            "panels": [{"name": "Replicas", "unit": "count", "series": series}],
            "marks": [],
        },
    }


def _line(name: str, tone: str, values: Sequence[float], faint: bool = False) -> dict[str, Any]:
    line = {"name": name, "tone": tone, "values": list(values), "shape": "step"}
    return line | {"faint": True} if faint else line


def _replicas(summary: Mapping[str, Any]) -> list[float]:
    """There by part of the time that was recorded; what came after its end is not drawn."""
    states = ("starting", "idle", "busy", "draining")
    return [sum(point[name] for name in states) for point in summary["timeline"]]


def _assumed(found: Mapping[str, Any]) -> list[str]:
    count = found["recorded"]["invocations"]
    told = [
        f"The same {count:,} invocations come at the same times, and each runs as long as it did,"
        " whatever runs beside it."
    ]
    if found["cut"]:
        told.append(f"Only the latest {MOST:,} are looked at.")
    if found["recorded"]["left_out"]:
        left = found["recorded"]["left_out"]
        told.append(f"{left:,} whose times are not known are left out.")
    if found["start"] is not None:
        told.append(
            f"A replica takes {numbers.seconds(found['start'])} to start in the mean, as recorded."
        )
    if found["engine"] == "cluster":
        told.append(
            "KEDA decides, looking at statistics that are up to 5 s old; how long a pod waits for"
            " its node and its image is not in it."
        )
    told.append("Other functions that want the same GPU are not in it.")
    return told
