"""What a run found, in sentences: the same ones on the screen, in Markdown and in the paper.

Plain text; each report marks it up and escapes it in its own way.
"""

from collections import defaultdict

from loadtest import quantity
from loadtest.suite import interval
from loadtest.suite.summary import Case, Comparison, Start, Summary, Timing
from runtime.model import DEVICES

BUSY = 0.25  # of the CPU's threads; more load than this before a run disturbs it


def warnings(summary: Summary) -> list[str]:
    """What must be read before any number; a good run on a GPU has none of it."""
    results = summary.results
    told = []
    if summary.simulated:
        told.append(
            "The GPU is simulated: it computed on the CPU. Its times, and every speedup here, are"
            " those of the simulation and say nothing about a GPU."
        )
    if not summary.has_gpu:
        told.append("CPU only: no GPU here. So there are no GPU times and no speedups.")
    if results.interrupted:
        told.append(
            f"The run ended early: {results.interrupted}. What follows was measured before that."
        )
    if results.quick:
        told.append(
            "A quick look: few and short repetitions. These are not numbers to quote; leave out"
            " --quick for those."
        )
    busy = _busy(summary)
    return [*told, busy] if busy else told


def _busy(summary: Summary) -> str:
    cpu = summary.device("cpu")
    try:
        load = float(summary.results.load_before.split(",")[0])
    except ValueError:  # a system without load averages says so in words
        return ""
    if cpu is None or not cpu.threads or load <= BUSY * cpu.threads:
        return ""
    return (
        f"The machine was busy before the run began: a load of {load:.2f} beside"
        f" {quantity.counted(cpu.threads, 'thread')}. Its times are those of a shared machine."
    )


def opening(summary: Summary) -> str:
    """What ran, where, and for how long."""
    results = summary.results
    cases = quantity.counted(len(summary.cases), "case")
    sizes = quantity.counted(len(summary.comparisons), "size")
    real = [device for device in results.devices if not device.simulated]
    where = " and ".join(
        device.name
        + (f" with {quantity.counted(device.threads, 'thread')}" if device.threads else "")
        for device in real
    )
    beside = ", and on a simulated GPU" if summary.simulated else ""
    return (
        f"{cases} at {sizes} in all, {quantity.counted(summary.calls, 'warm call')} in random order"
        f" in {quantity.duration(results.seconds)}, on {where}{beside}."
    )


def finding(case: Case, summary: Summary) -> str:
    """What a case came to at its largest compared size, without its name."""
    best = case.best
    if best is None:
        return _alone(case, summary)
    assert best.speedup and best.with_transfers and best.gpu
    gpu = summary.label("gpu")
    return (
        f"at {case.axis} = {quantity.given(best.size)} the {gpu} is"
        f" {quantity.times(best.speedup.median)} as fast as the CPU"
        f" ({interval.within(best.speedup, quantity.number)}),"
        f" {quantity.times(best.with_transfers.median)} with transfers in and out."
        f"{_shares(best, gpu)} {_wins(case, gpu)}{_largest(case, best)}"
    )


def _shares(best: Comparison, gpu: str) -> str:
    """Of what: how much of its own ceiling each device reached, and what it was given."""
    given = f" ({best.differing}.)" if best.differing else ""
    told = [
        f"the {label} reached {quantity.share(timing.share)} of its measured ceiling"
        f" ({timing.cell.ceiling})"
        for label, timing in ((gpu, best.gpu), ("CPU", best.cpu))
        if timing and timing.share is not None
    ]
    return f"{given} There {', and '.join(told)}." if told else given


def _alone(case: Case, summary: Summary) -> str:
    """A case without any speedup: its times, and why there is none."""
    largest = case.sizes[-1]
    told = [
        f"{interval.beside(timing.seconds, quantity.duration)} on the"
        f" {summary.label(timing.cell.device)}{_of_ceiling(timing)}"
        for timing in largest.timings
        if timing.seconds
    ]
    at = f"at {case.axis} = {quantity.given(largest.size)}"
    why = f" No speedup: {largest.why}." if summary.has_gpu else ""
    return f"{at}, {' and '.join(told) or 'no call succeeded'}.{why}"


def _of_ceiling(timing: Timing) -> str:
    if timing.share is None:
        return ""
    return (
        f", at {quantity.share(timing.share)} of the {timing.cell.device.upper()}'s measured"
        f" ceiling ({timing.cell.ceiling})"
    )


def _wins(case: Case, gpu: str) -> str:
    assert case.crossover and case.crossover_with_transfers
    alone, whole = case.crossover.words, case.crossover_with_transfers.words
    if alone == whole:
        return f"The {gpu} wins {alone}, with and without transfers."
    return f"The {gpu} wins {alone}; with transfers, {whole}."


def _largest(case: Case, best: Comparison) -> str:
    largest = case.sizes[-1]
    if largest is best:
        return ""
    return f" No speedup at {case.axis} = {quantity.given(largest.size)}: {largest.why}."


def parity(summary: Summary) -> str:
    """Whether both devices gave the same results; nothing where there is no GPU."""
    if not summary.has_gpu:
        return ""
    verdicts = [one.parity.holds if one.parity else None for one in summary.comparisons]
    same, differ, unknown = (verdicts.count(verdict) for verdict in (True, False, None))
    if not same + differ:
        return "No results were compared, so there is no speedup."
    told = f"Results of CPU and GPU were compared at {quantity.counted(same + differ, 'size')}: "
    told += f"at {differ:,} they differ, and no speedup is given." if differ else "all agree."
    if unknown:
        told += f" At {quantity.counted(unknown, 'size')} they were not compared."
    return told


def missing(summary: Summary) -> list[str]:
    """Where there is no speedup, and why; nothing where there is no GPU at all."""
    if not summary.has_gpu:
        return []
    sizes: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for one in summary.comparisons:
        if one.why:
            sizes[one.case, one.axis, one.why].append(quantity.given(one.size))
    return [
        f"no speedup of {case} at {axis} = {', '.join(at)}: {why}"
        for (case, axis, why), at in sizes.items()
    ]


def coldness(summary: Summary) -> list[str]:
    """What the first caller pays on each device, at most: `a cold GPU start costs 480 ms …`."""
    told = []
    for device in DEVICES:
        starts = [start for start in summary.starts if start.device == device]
        if starts:
            told.append(_dearest(max(starts, key=lambda start: start.extra), summary))
    return told


def _dearest(start: Start, summary: Summary) -> str:
    label = summary.label(start.device)
    if start.worth is None or start.extra <= 0:
        return f"A cold {label} start of {start.case} costs nothing that could be measured."
    return (
        f"A cold {label} start of {start.case} costs {quantity.duration(start.extra)}, worth"
        f" {quantity.number(start.worth)} warm calls of size {quantity.given(start.size)}."
    )


def failures(summary: Summary) -> list[str]:
    """Every case and size with calls that failed."""
    return [
        f"{one.case} at {one.axis} = {quantity.given(one.size)}: {failure}"
        for one in summary.comparisons
        for failure in one.failures
    ]
