"""A load test in the lines that a terminal shows at its end."""

from collections.abc import Iterable, Iterator

from rich.console import Group as Lines
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from loadtest.faults import EXPLANATIONS, NO_FAULTS
from loadtest.latencies import Latencies
from loadtest.outcome import TOTAL, Group, Outcome
from loadtest.slo import duration

PERCENTS = (50, 95, 99)


def summary(outcome: Outcome) -> RenderableType:
    """Throughput, latencies, faults and verdicts; the reports have the rest."""
    return Lines(
        _headline(outcome),
        _groups(outcome.groups),
        *(Text(line, style) for line, style in _lines(outcome)),
    )


def _headline(outcome: Outcome) -> Text:
    good = sum(group.count for group in outcome.groups if group.status in ("succeeded", "accepted"))
    asked = sum(group.count for group in outcome.groups) + outcome.unanswered
    rate = good / outcome.seconds if outcome.seconds > 0 else 0.0
    text = Text(f"{good:,} of {asked:,} requests succeeded in {outcome.seconds:,.1f} s", "bold")
    return text.append(f", {rate:,.4g} a second", "bold")


def _groups(groups: Iterable[Group]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("function", "device", "status"):
        table.add_column(name, no_wrap=True)
    for name in ("count", *(f"p{percent}" for percent in PERCENTS), "max"):
        table.add_column(name, no_wrap=True, justify="right")
    for group in groups:
        latencies = Latencies.decode(group.phases[TOTAL])
        device = f"{group.device} (simulated)" if group.simulated else group.device
        values = [duration(latencies.percentile(percent)) for percent in (*PERCENTS, 100)]
        style = "" if group.status in NO_FAULTS else "red"
        cells = (group.function, device, group.status, f"{group.count:,}", *values)
        table.add_row(*(Text(cell, style) for cell in cells))
    return table


def _lines(outcome: Outcome) -> Iterator[tuple[str, str]]:
    """Sentences, and how each is to look."""
    for fault in outcome.faults:
        first = f"first after {fault.first_at:,.1f} s: {fault.example}"
        told = f"{fault.count:,} {fault.name} ({fault.function}): {EXPLANATIONS[fault.name]}"
        yield f"{told} {first}", "yellow" if fault.name in NO_FAULTS else "red"
    if outcome.throttled:
        yield f"{outcome.throttled:,} answers were 429s, and were waited out as they said", "yellow"
    if outcome.colds:
        longest = max(cold.start for cold in outcome.colds)
        yield f"{len(outcome.colds):,} cold starts, the longest {duration(longest)}", ""
    if outcome.interrupted:
        yield f"it ended before its end: {outcome.interrupted}", "red"
    for note in outcome.notes:
        yield note, "dim"
    for reason in outcome.generator.reasons:
        yield f"the load generator was the bottleneck: {reason}", "yellow"
    for goal in outcome.objectives:
        told = "met" if goal.met else "not met"
        yield f"{told}: {goal.text} (measured: {goal.measured})", "green" if goal.met else "red"
