"""Which of several ways to call the CPU is its fastest, so that a GPU is not compared with less."""

import statistics
from dataclasses import dataclass

from loadtest import quantity
from loadtest.suite.caller import Caller
from loadtest.suite.case import Case
from loadtest.suite.plan import Effort, Values
from loadtest.suite.trial import Trial

TRIED = 3  # samples of each way


@dataclass(frozen=True, slots=True)
class Choice:
    """What the CPU is called with, and why."""

    given: Values
    note: str


async def fastest(case: Case, caller: Caller, effort: Effort) -> Choice:
    """Try each way a few times at a middle size, and take the one with the least seconds."""
    size = case.sizes[len(case.sizes) // 2]
    few = effort.model_copy(update={"discard": 1, "least": TRIED, "most": TRIED})
    took: list[tuple[float, int]] = []
    for number, given in enumerate(case.given["cpu"]):
        trial = Trial(
            "cpu",
            size,
            case.parameters(given, size),
            seconds=case.seconds,
            fields=(),
            timeout=case.timeout,
            effort=few,
            place=lambda: 0,
        )
        while trial.stopped is None:
            await caller.call(trial)
        if trial.samples:
            took.append((statistics.median(s.seconds for s in trial.samples), number))
    best = min(took)[1] if took else 0
    return Choice(case.given["cpu"][best], _note(case, size, sorted(took), best))


def _note(case: Case, size: float, took: list[tuple[float, int]], best: int) -> str:
    ways = case.given["cpu"]
    names = {k for way in ways for k in way if any(other.get(k) != way[k] for other in ways)}
    said = [", ".join(f"{k}={way[k]}" for k in sorted(names & way.keys())) for way in ways]
    told = "; ".join(f"{said[number]}: {quantity.duration(seconds)}" for seconds, number in took)
    where = f"{case.axis} = {quantity.given(size)}"
    if not took:
        return f"{case.name}: the CPU is called with {said[best]}: no way worked at {where}"
    return f"{case.name}: the CPU is called with {said[best]}, its fastest at {where} ({told})"
