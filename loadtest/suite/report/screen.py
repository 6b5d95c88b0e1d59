"""What a run found, for a terminal of 80 columns or more."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.text import Text

from loadtest import quantity
from loadtest.line import line
from loadtest.quantity import NONE
from loadtest.suite.report import findings
from loadtest.suite.results import Results
from loadtest.suite.summary import Case, Comparison, Summary, Timing, summarize
from runtime.estimate import Estimate

WIDE = 100  # columns from which on the intervals of the times have room
LEAST = 0.001  # a share of a ceiling below which it does not matter how little it is
GAP = Text("  ")
Row = list[Text]


def terminal(results: Results) -> RenderableType:
    """Warnings, a row for each case and size, and what is to be said of starts and failures."""
    summary = summarize(results)
    said = [findings.parity(summary), *results.notes]
    said += [*findings.missing(summary), *findings.coldness(summary)]
    return Group(
        *(Text(line(warning), style="bold yellow") for warning in findings.warnings(summary)),
        Text(line(findings.opening(summary))),
        *([Times(summary)] if summary.cases else []),
        *(_point(told) for told in said if told),
        *(_point(told, "red") for told in findings.failures(summary)),
    )


def _point(told: str, style: str = "") -> RenderableType:
    return Padding(Text(f"· {line(told)}", style=style), (0, 0, 0, 1))


@dataclass(frozen=True, slots=True)
class Times:
    """Times, shares of ceilings and speedups; what has no room is in the report."""

    summary: Summary

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.max_width >= WIDE or not self.summary.has_gpu
        heads = [head.split("\n") for head in _heads(self.summary, wide)]
        above, below = (
            [Text(part, style="bold") for part in parts] for parts in zip(*heads, strict=True)
        )
        cases = [(case, list(_rows(case, self.summary, wide))) for case in self.summary.cases]
        rows = [above, below, *(row for _, found in cases for row in found)]
        columns = [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]
        yield ""
        yield _aligned(above, columns)
        yield _aligned(below, columns)
        for case, found in cases:
            yield Text(line(case.name), "bold").append(f", by {line(case.axis)}", "not bold dim")
            yield from (_aligned(row, columns) for row in found)
        yield ""


def _heads(summary: Summary, wide: bool) -> Iterator[str]:
    """The headings of the columns, each in two lines."""
    yield "\nsize"
    devices = ["CPU"]
    if summary.has_gpu:
        devices.append("GPU\n(simulated)" if summary.simulated else "GPU")
    for device in devices:
        yield device if "\n" in device else f"\n{device}"
        if wide:
            yield "\n±"
        yield "of\nceiling"
    if summary.has_gpu:
        yield from ("\nspeedup", "\n±", "with\ntransfers")


def _rows(case: Case, summary: Summary, wide: bool) -> Iterator[Row]:
    for one in case.sizes:
        row = [Text(quantity.given(one.size)), *_timing(one.cpu, wide)]
        if summary.has_gpu:
            row += [*_timing(one.gpu, wide), *_speedup(one)]
        yield row


def _timing(timing: Timing | None, wide: bool) -> Iterator[Text]:
    found = None if timing is None else timing.seconds
    if found is None:
        failed = timing is not None and timing.cell.failures
        yield Text("failed", style="red") if failed else Text(NONE)
    else:
        yield Text(quantity.duration(found.median))
    if wide:
        yield Text(_spread(found), style="dim")
    yield Text(_share(timing))


def _speedup(one: Comparison) -> Iterator[Text]:
    if one.speedup is None or one.with_transfers is None:
        yield from (Text("none", style="dim"), Text(NONE, style="dim"), Text(NONE))
        return
    yield Text(quantity.times(one.speedup.median), style="bold")
    yield Text(_spread(one.speedup), style="dim")
    yield Text(quantity.times(one.with_transfers.median))


def _spread(found: Estimate | None) -> str:
    """The larger half of an interval, as a share of its median."""
    if found is None or found.spread is None:
        return NONE
    return quantity.share(found.spread, 2) if found.spread < 1 else "> 100 %"


def _share(timing: Timing | None) -> str:
    share = None if timing is None else timing.share
    return "< 0.1 %" if share is not None and 0 < share < LEAST else quantity.share(share)


def _aligned(cells: Row, columns: list[int]) -> Text:
    """A line with each cell at the right of its column."""
    for cell, width in zip(cells, columns, strict=True):
        cell.pad_left(width - cell.cell_len)
    return GAP.join(cells)
