"""What a run found, for a terminal."""

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from loadtest import quantity
from loadtest.quantity import NONE
from loadtest.suite.report import findings
from loadtest.suite.results import Results
from loadtest.suite.summary import Comparison, Summary, Timing, summarize


def terminal(results: Results) -> RenderableType:
    """Warnings, a row for each case and size, and what is to be said of starts and failures."""
    summary = summarize(results)
    said = [findings.parity(summary), *results.notes]
    said += [*findings.missing(summary), *findings.coldness(summary)]
    failed = findings.failures(summary)
    return Group(
        *(Text(warning, style="bold yellow") for warning in findings.warnings(summary)),
        Text(findings.opening(summary)),
        _table(summary),
        *(Padding(Text(f"· {line}"), (0, 0, 0, 1)) for line in said if line),
        *(Padding(Text(f"· {line}", style="red"), (0, 0, 0, 1)) for line in failed),
    )


def _table(summary: Summary) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("case", overflow="fold")
    table.add_column("size", justify="right")
    headings = ["CPU", "of ceiling"]
    if summary.has_gpu:
        headings += [summary.label("gpu"), "of ceiling", "speedup", "with transfers"]
    for heading in headings:
        table.add_column(heading, justify="right", overflow="fold")
    for case in summary.cases:
        for place, one in enumerate(case.sizes):
            name = Text("" if place else case.name, style="bold")
            table.add_row(name, quantity.given(one.size), *_cells(one, summary))
        table.add_section()
    return table


def _cells(one: Comparison, summary: Summary) -> list[Text]:
    cells = [*_timing(one.cpu)]
    if not summary.has_gpu:
        return cells
    cells += _timing(one.gpu)
    if one.speedup is None or one.with_transfers is None:
        return [*cells, Text("none", style="dim"), Text(NONE)]
    low, high = one.speedup.low, one.speedup.high
    beside = f" ({quantity.number(low)} to {quantity.number(high)})" if low and high else ""
    speedup = Text(f"{quantity.times(one.speedup.median)}{beside}", style="bold")
    return [*cells, speedup, Text(quantity.times(one.with_transfers.median))]


def _timing(timing: Timing | None) -> list[Text]:
    if timing is None or timing.seconds is None:
        failed = timing is not None and timing.cell.failures
        return [Text("failed", style="red") if failed else Text(NONE), Text(NONE)]
    spread = timing.seconds.spread
    beside = "" if spread is None else f" ± {quantity.share(spread) if spread < 1 else '> 100 %'}"
    share = quantity.share(timing.share)
    return [Text(f"{quantity.duration(timing.seconds.median)}{beside}"), Text(share)]
