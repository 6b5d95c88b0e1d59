"""What a run of the benchmark found, as a page shows it: the numbers of its own reports.

Made once from the results, since intervals of speedups are bootstraps, and kept beside them.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from loadtest.suite.results import Parity
    from loadtest.suite.summary import Case, Comparison, Summary, Timing
    from runtime.estimate import Estimate
    from runtime.model import Device

KEPT = "view.json"
FORMAT = 1  # of what is kept; another one is made again
MOST_BARS = 14  # of the chart, which is no higher; its table has all
PAPER = "BENCHMARK_REPORT.md"


def report(folder: Path) -> dict[str, Any]:
    """The report of a run that has results; reads a file, or computes for a second.

    UnreadableResults where they are not those of this version.
    """
    kept = folder / KEPT
    try:
        found: dict[str, Any] = orjson.loads(kept.read_bytes())
        if found.get("format") == FORMAT:
            return found
    except (FileNotFoundError, orjson.JSONDecodeError):
        pass  # not made yet, or broken off while it was written
    made = _made(folder)
    beside = folder / f".{KEPT}"
    beside.write_bytes(orjson.dumps(made))
    beside.replace(kept)
    return made


def markdown(folder: Path) -> str:
    """The run's own report in Markdown; empty where it has none."""
    try:
        return (folder / PAPER).read_text()
    except FileNotFoundError:
        return ""


def _made(folder: Path) -> dict[str, Any]:
    # Imported here: a gateway where nobody measures anything does without.
    from loadtest import quantity
    from loadtest.suite.report import findings
    from loadtest.suite.results import read
    from loadtest.suite.summary import summarize

    results = read(folder)
    summary = summarize(results)
    return {
        "format": FORMAT,
        "began_at": results.began_at,
        "seconds": results.seconds,
        "quick": results.quick,
        "seed": results.seed,
        "interrupted": results.interrupted,
        "confidence": results.confidence,
        "has_gpu": summary.has_gpu,
        "simulated": summary.simulated,
        "opening": findings.opening(summary),
        "warnings": findings.warnings(summary),
        "findings": [
            {"case": case.name, "text": findings.finding(case, summary)} for case in summary.cases
        ],
        "parity": findings.parity(summary),
        "cold": findings.coldness(summary),
        "missing": findings.missing(summary),
        "failures": findings.failures(summary),
        "notes": list(results.notes),
        "headline": _headline(summary),
        "speedups": speedups(summary),
        "cases": [_case(case, summary) for case in summary.cases],
        "ceilings": [
            {
                "device": top.ceiling.device,
                "name": top.ceiling.name,
                "unit": top.ceiling.unit,
                "detail": top.ceiling.detail,
                "text": quantity.amount(top.rate.median, top.ceiling.unit),
                **_estimate(top.rate),
            }
            for top in summary.tops
        ],
        "starts": [
            {
                "case": start.case,
                "device": start.device,
                "size": start.size,
                "start": start.start,
                "first": start.first,
                "warm": start.warm,
                "extra": start.extra,
                "worth": start.worth,
                "n": start.n,
            }
            for start in summary.starts
        ],
        "parities": [_parity(parity) for parity in results.parities] if summary.has_gpu else [],
        "machine": _machine(summary),
    }


def _headline(summary: "Summary") -> dict[str, Any] | None:
    """The largest speedup, to tell one run from another; None where there is none."""
    found = [case.best for case in summary.cases if case.best]
    if not found:
        return None
    most = max(found, key=lambda one: one.speedup.median if one.speedup else 0.0)
    assert most.speedup
    return {"case": most.case, "axis": most.axis, "size": most.size} | _estimate(most.speedup)


def speedups(summary: "Summary") -> dict[str, Any]:
    """The chart of what a GPU was worth: a bar a case, with its interval."""
    title = "Speedup: GPU over CPU"
    if not summary.has_gpu:
        return {
            "title": title,
            "caption": "The run had no GPU, so there is nothing to compare.",
            "empty": "CPU only: a speedup needs a GPU",
        }
    bars = [one for case in summary.cases if (one := case.best)]
    if not bars:
        return {
            "title": title,
            "caption": "No size has results of both devices that agree.",
            "empty": "No speedup: see below why",
        }
    mark = " (simulated)" if summary.simulated else ""
    return {
        "kind": "bars",
        "title": title + mark,
        "caption": _told(bars, summary),
        "data": {"unit": "ratio", "reference": 1, "items": [_bar(one) for one in bars[:MOST_BARS]]},
        "table": {
            "columns": ["case", "size", "speedup", "from", "to", "calls", "with transfers"],
            "rows": [_numbers(one) for one in bars],
        },
    }


def _bar(one: "Comparison") -> dict[str, Any]:
    from loadtest import quantity

    found = one.speedup
    assert found
    return {
        "name": one.case,
        "value": found.median,
        "low": found.low,
        "high": found.high,
        "note": f"{one.axis} = {quantity.given(one.size)}, {quantity.counted(found.n, 'call')}",
        "faded": found.low is None,
        "tone": "gpu",
    }


def _numbers(one: "Comparison") -> list[str]:
    from loadtest import quantity

    found, whole = one.speedup, one.with_transfers
    assert found and whole
    return [
        one.case,
        f"{one.axis} = {quantity.given(one.size)}",
        quantity.times(found.median),
        quantity.number(found.low),
        quantity.number(found.high),
        str(found.n),
        quantity.times(whole.median),
    ]


def _told(bars: list["Comparison"], summary: "Summary") -> str:
    """The chart as a sentence."""
    from loadtest import quantity

    most = max(bars, key=lambda one: one.speedup.median if one.speedup else 0.0)
    assert most.speedup
    of = "The simulated GPU, which computed on the CPU," if summary.simulated else "The GPU"
    return (
        f"{of} was {quantity.times(most.speedup.median)} as fast as the CPU in {most.case}, at"
        f" {most.axis} = {quantity.given(most.size)}. Bars are ratios of median seconds at the"
        f" largest size that has one; whiskers are {quantity.share(summary.results.confidence)}"
        " intervals; pale bars have too few calls for one."
        + (f" The first {MOST_BARS} of {len(bars)} cases are shown." * (len(bars) > MOST_BARS))
    )


def _case(case: "Case", summary: "Summary") -> dict[str, Any]:
    return {
        "name": case.name,
        "function": case.function,
        "axis": case.axis,
        "differing": case.differing,
        "rows": [_row(one) for one in case.sizes],
        "chart": _lines(case, summary),
    }


def _row(one: "Comparison") -> dict[str, Any]:
    return {
        "size": one.size,
        "cpu": _timing(one.cpu),
        "gpu": _timing(one.gpu),
        "speedup": _estimate(one.speedup) if one.speedup else None,
        "with_transfers": _estimate(one.with_transfers) if one.with_transfers else None,
        "why": one.why,
        "short": one.short,
        "parity": one.parity.holds if one.parity else None,
    }


def _timing(timing: "Timing | None") -> dict[str, Any] | None:
    if timing is None:
        return None
    found = _estimate(timing.seconds) if timing.seconds else {"median": None, "n": 0}
    return found | {
        "transfer_in": timing.transfer_in,
        "transfer_out": timing.transfer_out,
        "call": timing.call,
        "share": timing.share,
        "ceiling": timing.cell.ceiling,
        "failures": len(timing.cell.failures),
        "stopped": timing.cell.stopped,
    }


def _lines(case: "Case", summary: "Summary") -> dict[str, Any] | None:
    """Median seconds over the size; None where there is one size only."""
    devices: list[Device] = ["cpu", "gpu"] if summary.has_gpu else ["cpu"]
    series = []
    for device in devices:
        timings = [(one.size, one.cpu if device == "cpu" else one.gpu) for one in case.sizes]
        points = [(size, t.seconds.median) for size, t in timings if t and t.seconds]
        name = summary.label(device)
        if points:
            x, y = [p[0] for p in points], [p[1] for p in points]
            series.append({"name": name, "x": x, "y": y, "tone": device})
    if not series or len(case.sizes) < 2:
        return None
    return {
        "kind": "lines",
        "title": f"{case.name}: seconds over {case.axis}",
        "caption": _crossed(case, summary.label("gpu")),
        "data": {"xname": case.axis, "series": series, "unit": "seconds", "log": True},
    }


def _crossed(case: "Case", gpu: str) -> str:
    """Where the GPU wins, as a sentence."""
    if case.crossover is None:
        return "Medians of one piece of work."
    if not any(one.speedup for one in case.sizes):
        return f"At which sizes the {gpu} wins is not known: none was compared."
    return f"The {gpu} wins {case.crossover.words}."


def _parity(parity: "Parity") -> dict[str, Any]:
    return {
        "case": parity.case,
        "size": parity.size,
        "holds": parity.holds,
        "reason": parity.reason,
        "checks": [
            {"field": c.field, "cpu": c.cpu, "gpu": c.gpu, "rule": c.rule, "holds": c.holds}
            for c in parity.checks
        ],
    }


def _machine(summary: "Summary") -> list[dict[str, str]]:
    """Devices, versions and load: names and values."""
    results = summary.results
    facts: list[tuple[str, str]] = []
    for device in results.devices:
        label = summary.label(device.kind)
        facts.append((label, device.name + (", really the CPU" if device.simulated else "")))
        if device.threads:
            facts.append((f"{label}: threads", str(device.threads)))
        facts += [(f"{label}: {name}", value) for name, value in device.facts]
    facts += results.machine
    facts.append(("load average", f"{results.load_before} before, {results.load_after} after"))
    facts += [("plan", results.plan), ("seed of the order", str(results.seed))]
    return [{"name": name, "value": value} for name, value in facts]


def _estimate(found: "Estimate") -> dict[str, Any]:
    return {"median": found.median, "low": found.low, "high": found.high, "n": found.n}
