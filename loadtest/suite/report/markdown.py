"""`BENCHMARK_REPORT.md`: what a run found, in sentences first and then in tables."""

import shlex
from functools import partial

from loadtest import markdown, quantity
from loadtest.quantity import NONE
from loadtest.suite import interval
from loadtest.suite.report import findings
from loadtest.suite.report.case import section
from loadtest.suite.report.spreadsheet import meanings
from loadtest.suite.results import JOB_RESULTS, Check, Parity
from loadtest.suite.summary import Summary

PICTURE = "performance_comparison.png"
SHEET = "performance_comparison.csv"


def page(summary: Summary, *, picture: bool = True) -> str:
    """The whole report; `picture` tells whether there is a figure beside it to show."""
    parts = [
        f"# Benchmark: {'CPU and GPU' if summary.has_gpu else 'CPU only'}",
        *(f"> **{markdown.plain(warning)}**" for warning in findings.warnings(summary)),
        markdown.plain(findings.opening(summary)),
        *_found(summary),
        *([f"![Seconds, speedups and shares of ceilings]({PICTURE})"] if picture else []),
        *_where(summary),
        *_how(summary),
        *(part for case in summary.cases for part in section(case, summary)),
        *_crossovers(summary),
        *_ceilings(summary),
        *_starts(summary),
        *_parities(summary),
        *_failures(summary),
        *_again(summary),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _found(summary: Summary) -> list[str]:
    lines = [
        f"**{markdown.plain(case.name)}**: {markdown.plain(findings.finding(case, summary))}"
        for case in summary.cases
    ]
    more = [
        findings.parity(summary),
        " ".join(findings.coldness(summary)),
        _failed(summary),
    ]
    return ["## What was found", markdown.bullets(lines), *(markdown.plain(line) for line in more)]


def _failed(summary: Summary) -> str:
    failed = findings.failures(summary)
    if not failed:
        return ""
    return f"Calls failed at {quantity.counted(len(failed), 'size')}; they are listed below."


def _where(summary: Summary) -> list[str]:
    results = summary.results
    machine = [
        *results.machine,
        ("load average", f"{results.load_before} before, {results.load_after} after"),
        ("began", results.began_at),
        ("whole run", quantity.duration(results.seconds)),
        ("plan", results.plan),
        ("seed of the order", str(results.seed)),
    ]
    devices = []
    for device in results.devices:
        name = f"{device.name}, simulated: it computed on the CPU" if device.simulated else ""
        devices.append((summary.label(device.kind), name or device.name))
        if device.threads:
            devices.append((f"{summary.label(device.kind)}: threads", str(device.threads)))
        devices += [
            (f"{summary.label(device.kind)}: {fact}", value) for fact, value in device.facts
        ]
    notes = markdown.bullets(map(markdown.paragraph, results.notes))
    return [
        "## Where",
        notes,
        markdown.texts(("device", ""), devices),
        markdown.texts(("", ""), machine),
    ]


def _how(summary: Summary) -> list[str]:
    results = summary.results
    confidence = quantity.share(results.confidence)
    precision = quantity.share(results.precision)
    return [
        "## How it was measured",
        f"""\
Each case ran at each size in a warm replica, on each device, in a random order over all of them.
The first calls are not counted. Calls were repeated until the {confidence} interval of the median
was within ± {precision}, or until the plan's limits. A number is a median; in
brackets stand its {confidence} interval and how many calls it is of. *Seconds* are of one piece of
work on the device, its end waited for; transfers between host and GPU are timed apart. A *speedup*
is CPU seconds over GPU seconds, and is given only where both devices gave the same result; *with
transfers*, the copies in and out are added to the GPU's seconds. With too few calls for an interval
(5 or less at 95 %), the ratio stands alone. `docs/benchmark-method.md` says how every number is
made.""",
    ]


def _crossovers(summary: Summary) -> list[str]:
    if not summary.has_gpu:
        return []
    rows = []
    for case in summary.cases:
        for what, found in (
            ("the work itself", case.crossover),
            ("with transfers", case.crossover_with_transfers),
        ):
            if found:
                rows.append((case.name, what, found.words, found.detail))
    gpu = summary.label("gpu")
    return [
        "## From which size the GPU wins",
        "Between two measured sizes the ratio is taken as a straight line on logarithmic axes.",
        markdown.texts(("case", "counted", f"the {gpu} wins", "read off"), rows),
    ]


def _ceilings(summary: Summary) -> list[str]:
    if not summary.tops:
        return []
    rows = [
        (
            summary.label(top.ceiling.device),
            top.ceiling.name,
            interval.beside(top.rate, partial(quantity.amount, unit=top.ceiling.unit), "time"),
            top.ceiling.detail,
        )
        for top in summary.tops
    ]
    return [
        "## Ceilings",
        "What each device was seen to do at most, in this run; shares above are of these medians."
        " A share above 100 % is of work that fits into a cache, where a ceiling's does not.",
        markdown.texts(("device", "ceiling", "measured", "by"), rows),
    ]


def _starts(summary: Summary) -> list[str]:
    if not summary.starts:
        return []
    rows = [
        [
            f"{markdown.plain(start.case)}, {quantity.given(start.size)}",
            summary.label(start.device),
            quantity.duration(start.start),
            quantity.duration(start.first),
            quantity.duration(start.warm),
            quantity.duration(start.extra),
            quantity.number(start.worth),
            str(start.n),
        ]
        for start in summary.starts
    ]
    head = ["case, size", "device", "start", "first call", "warm call", "costs", "calls", "starts"]
    return [
        "## Cold starts",
        "From the fork of a replica to its readiness, and its first call, whole; beside it the"
        " median of warm calls with the same parameters. A cold start *costs* start and first call"
        " less a warm one, and is worth as many warm *calls*. First calls are in no table above.",
        markdown.table(head, rows),
    ]


def _parities(summary: Summary) -> list[str]:
    if not summary.has_gpu:
        return []
    rows = []
    for parity in summary.results.parities:
        rows += [_checked(parity, check) for check in parity.checks] or [
            (parity.case, quantity.given(parity.size), NONE, NONE, NONE, NONE, _verdict(parity))
        ]
    said = [
        "## Whether the results agree",
        findings.parity(summary),
        "A rule says how far apart a field of the two results may be.",
    ]
    head = ("case", "size", "field", "CPU", summary.label("gpu"), "rule", "")
    return [*said, markdown.texts(head, rows)] if rows else said[:2]


def _checked(parity: Parity, check: Check) -> tuple[str, ...]:
    return (
        parity.case,
        quantity.given(parity.size),
        check.field,
        quantity.exact(check.cpu),
        quantity.exact(check.gpu),
        check.rule,
        "holds" if check.holds else "DIFFERS",
    )


def _verdict(parity: Parity) -> str:
    if parity.holds is None:
        return f"not compared: {parity.reason}"
    return "holds" if parity.holds else f"DIFFERS: {parity.reason}"


def _failures(summary: Summary) -> list[str]:
    failed = findings.failures(summary)
    if not failed:
        return ["## Failures", "No call failed."]
    told = "Medians are of the calls that succeeded."
    return ["## Failures", told, markdown.bullets(map(markdown.paragraph, failed))]


def _again(summary: Summary) -> list[str]:
    results = summary.results
    quick = " --quick" if results.quick else ""
    columns = [[f"`{name}`", meaning] for name, meaning in meanings()]
    return [
        "## Again",
        f"""\
```sh
lumbre bench --plan {shlex.quote(results.plan)} --seed {results.seed}{quick}
lumbre report .              # these files again, from {JOB_RESULTS} alone
lumbre report compare A B    # what changed between two runs, beyond noise
```""",
        f"Every call is in `{JOB_RESULTS}`; `{SHEET}` has a row for each case and size:",
        markdown.table(("column", "says"), columns, ()),
    ]
