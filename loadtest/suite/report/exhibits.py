"""The tables of the paper, each filled from a run; nothing where there is nothing to fill in."""

from collections import Counter
from collections.abc import Sequence

from loadtest import quantity
from loadtest.quantity import NONE
from loadtest.suite import interval
from loadtest.suite.report import latex
from loadtest.suite.summary import Case, Comparison, Summary, Timing

ROWS = 40  # of one table; more would leave its page
Rows = list[Sequence[str]]


def _ragged(centimetres: float) -> str:
    """A column of a width, in which long names break."""
    return rf">{{\raggedright\arraybackslash}}p{{{centimetres}cm}}"


def setup(summary: Summary) -> str:
    """Machine, devices, plan: what the numbers are of."""
    results = summary.results
    rows: Rows = []
    for device in results.devices:
        label = summary.label(device.kind)
        rows.append((label, device.name))
        if device.threads:
            rows.append((f"{label}: threads", str(device.threads)))
        rows += [(f"{label}: {name}", value) for name, value in device.facts]
    rows.append(())
    rows += results.machine
    rows += [
        ("load average", f"{results.load_before} before, {results.load_after} after"),
        ("plan", results.plan),
        ("seed", str(results.seed)),
    ]
    columns = f"@{{}}{_ragged(2.5)}{_ragged(5.6)}@{{}}"
    return latex.table("tab:setup", "Experimental setup", columns, ("What", "Value"), rows)


def times(summary: Summary) -> str:
    """Seconds, transfers and speedups of every case and size, over as many tables as it takes."""
    tables = []
    for place, cases in enumerate(_portions(summary.cases)):
        label = "tab:times" if place == 0 else f"tab:times-{place + 1}"
        more = "" if place == 0 else " (continued)"
        rows: Rows = []
        for case in cases:
            rows += [()] if rows else []  # a rule between cases
            rows += [_times(one, summary) for one in case.sizes]
        head: Sequence[str]
        if summary.has_gpu:
            gpu = summary.label("gpu")
            head = ("Case", "Size", "CPU", gpu, "In", "Out", "Speedup", "With transfers")
            columns = r"@{}lrrrrrrr@{}"
            caption = f"Median times and speedups of the {gpu} over the CPU{more}"
        else:
            head = ("Case", "Size", "CPU", "Interval", "Whole call")
            columns, caption = "@{}lrrrr@{}", f"Median times on the CPU{more}"
        tables.append(latex.table(label, caption, columns, head, rows, wide=True))
    return "\n\n".join(tables)


def _portions(cases: Sequence[Case]) -> list[list[Case]]:
    portions: list[list[Case]] = [[]]
    for case in cases:
        if portions[-1] and sum(len(c.sizes) for c in [*portions[-1], case]) > ROWS:
            portions.append([])
        portions[-1].append(case)
    return portions


def _times(one: Comparison, summary: Summary) -> Sequence[str]:
    name = (one.case, quantity.given(one.size), _median(one.cpu))
    if not summary.has_gpu:
        seconds = one.cpu.seconds if one.cpu else None
        within = interval.within(seconds, quantity.duration) if seconds else NONE
        return (*name, within, quantity.duration(one.cpu.call if one.cpu else None))
    speedup = interval.faster(one.speedup) if one.speedup else f"none: {one.short}"
    return (
        *name,
        _median(one.gpu),
        quantity.duration(one.gpu.transfer_in if one.gpu else None),
        quantity.duration(one.gpu.transfer_out if one.gpu else None),
        speedup,
        quantity.times(one.with_transfers.median) if one.with_transfers else NONE,
    )


def ceilings(summary: Summary) -> str:
    """What each device was seen to do at most."""
    if not summary.tops:
        return ""
    rows: Rows = [
        (
            summary.label(top.ceiling.device),
            top.ceiling.name,
            quantity.amount(top.rate.median, top.ceiling.unit),
            str(top.rate.n),
        )
        for top in summary.tops
    ]
    head = ("Device", "Ceiling", "Rate", "Repetitions")
    return latex.table("tab:ceilings", "Measured ceilings", "@{}llrr@{}", head, rows)


def rates(summary: Summary) -> str:
    """Rates of work at each case's largest size, and the shares of the ceilings."""
    rows: Rows = []
    for case in summary.cases:
        one = case.sizes[-1]
        for timing in one.timings:
            if timing.rate is None:
                continue
            rate = quantity.amount(timing.rate, f"{timing.cell.unit}/s")
            share = quantity.share(timing.share)
            label = summary.label(timing.cell.device)
            rows.append((case.name, label, rate, share, timing.cell.ceiling or NONE))
    if not rows:
        return ""
    head = ("Case", "Device", "Rate", "Share", "Of ceiling")
    caption = "Rates of work at the largest size, as shares of measured ceilings"
    return latex.table(
        "tab:rates", caption, f"@{{}}{_ragged(2.0)}{_ragged(1.6)}rr{_ragged(1.6)}@{{}}", head, rows
    )


def crossovers(summary: Summary) -> str:
    """From which size the GPU wins."""
    if not summary.has_gpu:
        return ""
    rows: Rows = [
        (case.name, case.crossover.words, case.crossover_with_transfers.words)
        for case in summary.cases
        if case.crossover and case.crossover_with_transfers
    ]
    head = ("Case", "The work itself", "With transfers")
    caption = f"Sizes at which the {summary.label('gpu')} wins"
    return latex.table(
        "tab:crossover",
        caption,
        f"@{{}}{_ragged(2.2)}{_ragged(2.8)}{_ragged(2.8)}@{{}}",
        head,
        rows,
    )


def starts(summary: Summary) -> str:
    """What a first caller waits for."""
    if not summary.starts:
        return ""
    rows: Rows = [
        (
            start.case,
            summary.label(start.device),
            quantity.duration(start.start),
            quantity.duration(start.first),
            quantity.duration(start.warm),
            quantity.number(start.worth),
        )
        for start in summary.starts
    ]
    head = ("Case", "Device", "Start", "First", "Warm", "Worth")
    caption = (
        "Cold starts: start, first call, warm call, and how many warm calls a cold start is worth"
    )
    return latex.table(
        "tab:starts", caption, f"@{{}}{_ragged(2.0)}{_ragged(1.6)}rrrr@{{}}", head, rows
    )


def parity(summary: Summary) -> str:
    """The tolerances that results were held to, and at how many sizes they held."""
    if not summary.has_gpu:
        return ""
    found: dict[tuple[str, str, str], list[bool]] = {}
    for parity in summary.results.parities:
        for check in parity.checks:
            found.setdefault((parity.case, check.field, check.rule), []).append(check.holds)
    rows: Rows = [
        (case, field, rule, f"{sum(held)} of {len(held)}")
        for (case, field, rule), held in found.items()
    ]
    rows += _unchecked(summary)
    if not rows:
        return ""
    head = ("Case", "Field", "Tolerance", "Agree")
    columns = f"@{{}}{_ragged(2.2)}{_ragged(1.6)}{_ragged(2.8)}r@{{}}"
    caption = "Agreement of results: at how many sizes each field was within its tolerance"
    return latex.table("tab:parity", caption, columns, head, rows)


def _unchecked(summary: Summary) -> list[Sequence[str]]:
    """Cases whose results were not compared, and why."""
    sizes = Counter(
        (parity.case, parity.reason) for parity in summary.results.parities if parity.holds is None
    )
    return [
        (case, NONE, f"not compared: {reason}", f"{number} not")
        for (case, reason), number in sizes.items()
    ]


def _median(timing: Timing | None) -> str:
    if timing is None:
        return NONE
    if timing.seconds is None:
        return "failed" if timing.cell.failures else "none"
    return quantity.duration(timing.seconds.median)
