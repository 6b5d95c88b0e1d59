"""A case's part of the report: its times and speedups, and its rates of work."""

from collections.abc import Sequence

from loadtest import markdown, quantity
from loadtest.quantity import NONE
from loadtest.suite import interval
from loadtest.suite.summary import Case, Comparison, Summary, Timing
from runtime.estimate import Estimate
from runtime.model import Device


def section(case: Case, summary: Summary) -> list[str]:
    """Its heading, what it was given, and its tables."""
    return [
        f"## {markdown.plain(case.name)}",
        f"Function `{case.function}`, size `{case.axis}`; also given:"
        f" {markdown.plain(_parameters(case)) or 'nothing'}."
        + (f" Given apart: {markdown.plain(case.differing)}." if case.differing else ""),
        _times(case, summary),
        _rates(case, summary),
    ]


def _parameters(case: Case) -> str:
    """What every call was given, beside the size."""
    every = [timing.cell.parameters for one in case.sizes for timing in one.timings]
    return ", ".join(
        f"{name} = {value}"
        for name, value in every[0].items()
        if name != case.axis and all(given.get(name) == value for given in every)
    )


def _times(case: Case, summary: Summary) -> str:
    if not summary.has_gpu:
        rows = [
            [_size(one), _seconds(one.cpu), _call(one.cpu), _stopped(one.cpu)] for one in case.sizes
        ]
        return markdown.table([case.axis, "CPU", "whole call", "repeated until"], rows)
    gpu = summary.label("gpu")
    head = [case.axis, "CPU", gpu, "in", "out", "speedup", "with transfers"]
    rows = [
        [
            _size(one),
            _seconds(one.cpu),
            _seconds(one.gpu),
            quantity.duration(one.gpu.transfer_in if one.gpu else None),
            quantity.duration(one.gpu.transfer_out if one.gpu else None),
            _speedup(one),
            interval.faster(one.with_transfers) if one.with_transfers else NONE,
        ]
        for one in case.sizes
    ]
    if summary.simulated:
        head[5], head[6] = "speedup (of a simulation)", "with transfers (of a simulation)"
    return markdown.table(head, rows)


def _rates(case: Case, summary: Summary) -> str:
    """Rates of work, and what they are of; nothing where the plan tells no work."""
    if not any(timing.rate for one in case.sizes for timing in one.timings):
        return ""
    devices: Sequence[Device] = ("cpu", "gpu") if summary.has_gpu else ("cpu",)
    head = [case.axis, "work"]
    for device in devices:
        top = case.ceiling(device)
        head += [summary.label(device), f"of its `{top}`" if top else "of its ceiling"]
        head += [f"whole call on the {summary.label(device)}"] if summary.has_gpu else []
    rows = []
    for one in case.sizes:
        cell = one.timings[0].cell
        row = [_size(one), quantity.amount(cell.work, cell.unit or "") if cell.work else NONE]
        for device in devices:
            timing = one.cpu if device == "cpu" else one.gpu
            row += [_rate(timing), _share(timing)]
            row += [_call(timing)] if summary.has_gpu else []
        rows.append(row)
    return markdown.table(head, rows)


def _size(one: Comparison) -> str:
    return quantity.given(one.size)


def _seconds(timing: Timing | None) -> str:
    if timing is None:
        return NONE
    if timing.seconds is None:
        return "failed" if timing.cell.failures else markdown.plain(timing.cell.stopped) or NONE
    failed = f", {len(timing.cell.failures)} failed" if timing.cell.failures else ""
    return _in_brackets(timing.seconds, failed)


def _in_brackets(found: Estimate, more: str) -> str:
    return f"{quantity.duration(found.median)} ({interval.within(found, quantity.duration)}{more})"


def _speedup(one: Comparison) -> str:
    if one.speedup is None:
        return f"not printed: {markdown.plain(one.short)}"
    within = interval.within(one.speedup, quantity.number)
    return f"**{quantity.times(one.speedup.median)}** ({within})"


def _rate(timing: Timing | None) -> str:
    if timing is None or timing.rate is None:
        return NONE
    return quantity.amount(timing.rate, f"{timing.cell.unit}/s")


def _share(timing: Timing | None) -> str:
    return NONE if timing is None else quantity.share(timing.share)


def _call(timing: Timing | None) -> str:
    return NONE if timing is None else quantity.duration(timing.call)


def _stopped(timing: Timing | None) -> str:
    return NONE if timing is None else markdown.plain(timing.cell.stopped)
