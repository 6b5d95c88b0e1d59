"""`performance_comparison.csv`: a row for each case and size, and every column's meaning."""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass

from loadtest.suite.results import Parity
from loadtest.suite.summary import Comparison, Summary, Timing
from runtime.estimate import Estimate
from runtime.model import DEVICES, Device

Value = str | float | int | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, with the unit in it, what it says, and how it is found."""

    name: str
    meaning: str
    value: Callable[[Comparison], Value]


def sheet(summary: Summary) -> str:
    """The whole file.  A field is empty where there is nothing to say; numbers are unrounded."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*(column.name for column in COLUMNS), "simulated"])
    mark = "yes" if summary.simulated else "no"
    for one in summary.comparisons:
        writer.writerow([*(column.value(one) for column in COLUMNS), mark])
    return out.getvalue()


def meanings() -> list[tuple[str, str]]:
    """Every column's name and what it says, in order."""
    return [
        *((column.name, column.meaning) for column in COLUMNS),
        ("simulated", "`yes` where the GPU computed on the CPU: its numbers are of no GPU"),
    ]


def _case() -> list[Column]:
    return [
        Column("case", "the case's name in the plan", lambda one: one.case),
        Column("function", "the function that was called", lambda one: _any(one).cell.function),
        Column("axis", "the parameter that is the size", lambda one: one.axis),
        Column("size", "its value", lambda one: _whole(one.size)),
        Column(
            "work", "FLOP or bytes of one piece of work", lambda one: _whole(_any(one).cell.work)
        ),
    ]


def _device(device: Device) -> list[Column]:
    def column(name: str, meaning: str, read: Callable[[Timing], Value]) -> Column:
        def value(one: Comparison) -> Value:
            timing = one.cpu if device == "cpu" else one.gpu
            return None if timing is None else read(timing)

        return Column(f"{device}_{name}", meaning, value)

    def seconds(timing: Timing) -> tuple[Value, Value, Value]:
        return _three(timing.seconds)

    return [
        column(
            "calls", f"warm calls on the {device.upper()} that succeeded", lambda t: len(t.samples)
        ),
        column("failures", "calls that failed", lambda t: len(t.cell.failures)),
        column(
            "seconds_median",
            "of one piece of work, transfers left out",
            lambda t: seconds(t)[0],
        ),
        column("seconds_low", "lower end of its interval", lambda t: seconds(t)[1]),
        column("seconds_high", "upper end of its interval", lambda t: seconds(t)[2]),
        column(
            "call_seconds_median",
            "of the whole call in the replica: making the input, every repetition, transfers",
            lambda t: t.call,
        ),
        column("rate", "`work` over the median seconds, in `unit`", lambda t: t.rate),
        column(
            "of_ceiling",
            "that rate over the device's own measured ceiling (1 is all of it)",
            lambda t: t.share,
        ),
        column("ceiling", "the name of that ceiling", lambda t: t.cell.ceiling),
    ]


def _compared() -> list[Column]:
    return [
        Column("unit", "of both rates: `FLOP/s` or `B/s`", _unit),
        Column(
            "transfer_in_seconds",
            "median, host to GPU",
            lambda one: one.gpu.transfer_in if one.gpu else None,
        ),
        Column(
            "transfer_out_seconds",
            "median, GPU to host",
            lambda one: one.gpu.transfer_out if one.gpu else None,
        ),
        *_three_columns(
            "speedup",
            "median CPU seconds over median GPU seconds, transfers left out",
            lambda one: one.speedup,
        ),
        *_three_columns(
            "speedup_with_transfers",
            "median CPU seconds over the median of GPU seconds plus transfers in and out",
            lambda one: one.with_transfers,
        ),
        Column(
            "given_apart",
            "parameters that the plan gives the devices apart, such as a format that only one has",
            lambda one: one.differing,
        ),
        Column("why_no_speedup", "in words; empty where there is one", lambda one: one.why),
        Column(
            "parity",
            "whether both devices gave the same result: `holds`, `fails`, `unchecked`",
            lambda one: _parity(one.parity),
        ),
    ]


def _three_columns(
    name: str, meaning: str, read: Callable[[Comparison], Estimate | None]
) -> list[Column]:
    return [
        Column(name, meaning, lambda one: _three(read(one))[0]),
        Column(f"{name}_low", "lower end of its interval", lambda one: _three(read(one))[1]),
        Column(f"{name}_high", "upper end of its interval", lambda one: _three(read(one))[2]),
    ]


def _three(found: Estimate | None) -> tuple[Value, Value, Value]:
    return (found.median, found.low, found.high) if found else (None, None, None)


def _any(one: Comparison) -> Timing:
    """Either device's timing: a comparison has at least one."""
    return one.timings[0]


def _unit(one: Comparison) -> Value:
    unit = _any(one).cell.unit
    return f"{unit}/s" if unit else None


def _parity(parity: Parity | None) -> str:
    if parity is None or parity.holds is None:
        return "unchecked"
    return "holds" if parity.holds else "fails"


def _whole(value: float | None) -> Value:
    return int(value) if value is not None and value == int(value) else value


COLUMNS: tuple[Column, ...] = (
    *_case(),
    *(column for device in DEVICES for column in _device(device)),
    *_compared(),
)
