"""What a load test shows when it is over: the few lines and tables that a terminal has room for."""

from collections.abc import Iterator
from typing import Literal

from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from loadtest.faults import EXPLANATIONS, NO_FAULTS
from loadtest.line import line
from loadtest.outcome import Outcome
from loadtest.quantity import count
from loadtest.report import table
from loadtest.report.block import Table
from loadtest.report.summary import Summary

KEPT = ("function", "device", "status", "n", "p50", "p95", "p99", "max")  # columns
GOOD, BAD, WARNING = "green", "red", "yellow"


def terminal(outcome: Outcome) -> RenderableType:
    """The summary of a load test, for rich to print."""
    return Group(*_parts(Summary(outcome)))


def _parts(summary: Summary) -> Iterator[RenderableType]:
    if summary.interrupted:
        yield Text(summary.interrupted, WARNING)
    yield Text(summary.headline, "bold")
    if found := table.latencies(summary):
        yield from (Text(""), _grid(found))
    if faults := list(_faults(summary)):
        yield from (Text(""), *faults)
    yield Text("")
    yield from _verdicts(summary)


def _verdicts(summary: Summary) -> Iterator[RenderableType]:
    if summary.throttled:
        yield Text(summary.throttled)
    asked = summary.outcome.objectives
    yield Text(summary.objectives, _tone(all(each.met for each in asked)) if asked else "")
    if asked and all(each.met for each in asked):
        told = [f"{line(each.text)} was {line(each.measured)}" for each in asked]
        yield Text(f"  {'; '.join(told)}", "dim")
    yield Text(summary.generator, WARNING if summary.bottleneck else "")
    audit = summary.outcome.audit
    yield Text(summary.audit, "" if audit is None else _tone(bool(audit.get("holds"))))
    if summary.simulated:
        yield Text(f"The GPU was {summary.simulated}: it computed on the CPU.", WARNING)
    for note in summary.outcome.notes:
        yield Text(f"Note: {line(note)}")


def _faults(summary: Summary) -> Iterator[RenderableType]:
    """A line for each kind, what it means, and the first one that was met."""
    for each in summary.outcome.faults:
        style = WARNING if each.name in NO_FAULTS else BAD
        text = Text(f"{count(each.count)} {line(each.name)}", style)
        text.append(f" ({line(each.function)})", "default")
        if each.name in EXPLANATIONS:
            text.append(f": {EXPLANATIONS[each.name]}", "default")
        yield text
        where = f" ({line(each.invocation)})" if each.invocation else ""
        yield Text(f"  first at {each.first_at:.1f} s: {line(each.example)}{where}", "dim")


def _grid(found: Table) -> Grid:
    columns = [index for index, name in enumerate(found.head) if name in KEPT]
    grid = Grid(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    for index in columns:
        side: Literal["left", "right"] = "left" if found.is_text(index) else "right"
        grid.add_column(found.head[index], justify=side, overflow="fold", no_wrap=index > 0)
    for row in found.rows:
        grid.add_row(*(Text(row[index]) for index in columns))
    return grid


def _tone(good: bool) -> str:
    return GOOD if good else BAD
