"""What comes of a comparison: ratios within a round, each beside one of the others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from loadtest.budgets.contestant import Round, Turn
from loadtest.budgets.row import Check, Row, Sample, figure

MISSING = "not measured beside {name}: {why}"


@dataclass(frozen=True, slots=True)
class Budget:
    """A ratio to one of the others that is to be kept."""

    beside: str
    limit: float
    ratio: Callable[[Turn, Turn], float]  # ours to theirs, within one round
    unit: str
    at_least: bool

    def sample(self, rounds: Sequence[Round], ours: str) -> Sample:
        return Sample.of(self.ratio(one[ours], one[self.beside]) for one in rounds)


def times_the_rate(beside: str, least: float) -> Budget:
    """At least so many times the other's requests a second."""
    return Budget(beside, least, _rates, f"× {beside}", at_least=True)


def part_of_the_p50(beside: str, most: float) -> Budget:
    """At most such a part of the other's median latency."""
    return Budget(beside, most, _p50s, f"× {beside}'s p50", at_least=False)


def compared(
    what: str,
    ours: str,
    rounds: Sequence[Round],
    budgets: Sequence[Budget],
    absent: Mapping[str, str],
) -> Row:
    """The row of one contestant; `absent` are those that could not take part, and why."""
    there = [budget for budget in budgets if budget.beside not in absent]
    samples = [(budget, budget.sample(rounds, ours)) for budget in there]
    missing = {b.beside: absent[b.beside] for b in budgets if b.beside in absent}
    names = dict.fromkeys([ours, *(budget.beside for budget in there)])
    errors = [fault for one in rounds for name in names if (fault := _fault(name, one[name]))]
    return Row(
        what=what,
        measured="; ".join(sample.text(budget.unit) for budget, sample in samples) or "nothing",
        checks=tuple(
            Check(sample.median, budget.limit, budget.unit, budget.at_least)
            for budget, sample in samples
        ),
        detail=". ".join(_told(name, [one[name] for one in rounds]) for name in names) + ".",
        faults=(*errors, *(MISSING.format(name=n, why=why) for n, why in missing.items())),
    )


def _rates(ours: Turn, theirs: Turn) -> float:
    return ours.measured.rate / max(1.0, theirs.measured.rate)


def _p50s(ours: Turn, theirs: Turn) -> float:
    return ours.measured.p50 / theirs.measured.p50


def _told(name: str, turns: Sequence[Turn]) -> str:
    """Medians of one contestant in words."""
    rate = Sample.of(turn.measured.rate for turn in turns).median
    p50 = Sample.of(1e3 * turn.measured.p50 for turn in turns).median
    p99 = Sample.of(1e3 * turn.measured.p99 for turn in turns).median
    spent = {who: Sample.of(1e6 * turn.cpu[who] for turn in turns).median for who in turns[0].cpu}
    spent["generator"] = Sample.of(1e6 * turn.measured.cpu for turn in turns).median
    cpu = ", ".join(f"{who} {figure(value)}" for who, value in spent.items())
    return (
        f"{name}: {figure(rate)} requests/s, p50 {figure(p50)} ms, p99 {figure(p99)} ms;"
        f" µs of CPU a request: {cpu}"
    )


def _fault(name: str, turn: Turn) -> str:
    if not turn.measured.errors:
        return ""
    what = ", ".join(f"{count} × {fault}" for fault, count in turn.measured.faults.items())
    return f"{turn.measured.errors} errors from {name}: {what}"
