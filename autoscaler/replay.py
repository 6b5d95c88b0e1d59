"""Play what was recorded under the policy there was, and under another: in a process of its own.

`python -m autoscaler.replay` reads a `Question` as JSON from standard input and writes the answer
as JSON to standard output, so that whoever asks has its processor for itself meanwhile.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson

from autoscaler.durations import Durations
from autoscaler.scene import STATISTICS, Engine, Scene
from autoscaler.simulate import simulate
from autoscaler.summary import recorded, summary
from autoscaler.sweep import policy_for
from autoscaler.trace import Call, call_of, trace_of
from runtime.errors import ConfigurationError
from runtime.function import Scaling

NICE = 10  # how much others go before it
POINTS = 120  # of a timeline


@dataclass(frozen=True, slots=True)
class Question:
    """A stretch of time as it was recorded, and two policies; instants are unix seconds."""

    function: str
    device: str
    since: float
    until: float
    calls: Sequence[tuple[float, str | None, bool]]  # accepted at, timings as JSON, cold
    starts: Sequence[float]  # seconds that replicas took to be ready; none: what cold ones waited
    ready: int  # replicas that were there at the beginning
    engine: Engine
    most: int  # replicas where the scaling does not say
    scaling: dict[str, Any]  # as it is
    other: dict[str, Any]  # as it could be


def ask(question: Question) -> bytes:
    """A question as its process takes it."""
    return orjson.dumps(asdict(question))


def answer(question: Question) -> dict[str, Any]:
    """What was recorded, and both simulations; ConfigurationError where nothing ran to an end."""
    told = [_call(*call) for call in question.calls]
    trace = trace_of(question.function, question.device, told)
    starts = trace.starts
    if question.starts:
        starts = Durations.of(question.starts)
    scene = Scene(
        policy=policy_for(question.engine, Scaling(**question.scaling), question.most),
        arrivals=[max(0.0, call.at - question.since) for call in trace.calls],
        runs=trace.runs,
        engine=question.engine,
        start=starts or Durations(),
        until=question.until - question.since,
        statistics=0.0 if question.engine == "local" else STATISTICS,
    )
    return {
        "recorded": recorded(trace),
        "start": None if starts is None else starts.mean,
        "as_it_is": _played(scene, question, question.scaling),
        "changed": _played(scene, question, question.other),
    }


def _played(scene: Scene, question: Question, scaling: dict[str, Any]) -> dict[str, Any]:
    policy = policy_for(question.engine, Scaling(**scaling), question.most)
    ready = max(min(question.ready, policy.max_replicas), policy.min_replicas)
    found = simulate(replace(scene, policy=policy, ready=ready))
    return summary(found, 1.0, POINTS, question.until - question.since)


def _call(at: float, timings: str | None, cold: bool) -> Call | None:
    return call_of(at, orjson.loads(timings) if timings else None, cold)


def main() -> None:
    """Answer one question."""
    os.nice(NICE)
    given = orjson.loads(sys.stdin.buffer.read())
    try:
        told = answer(Question(**given))
    except ConfigurationError as error:
        told = {"error": str(error)}
    sys.stdout.buffer.write(orjson.dumps(told))


if __name__ == "__main__":
    main()
