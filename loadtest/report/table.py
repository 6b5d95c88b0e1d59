"""The tables of a report, each made from a Summary; None where there is nothing to put in it."""

from collections.abc import Iterable
from statistics import median

from loadtest.latencies import SCALE, SHORTEST
from loadtest.line import line
from loadtest.outcome import TOTAL, ColdStart, Decided, Facts
from loadtest.quantity import NONE, count, duration, given, percentile, rate, share
from loadtest.report.block import Table
from loadtest.report.spread import Spread
from loadtest.report.summary import Row, Summary, phases

SHOWN = (50.0, 90.0, 95.0, 99.0, 99.9)  # percentiles
MOST = 200  # decisions that a table shows
WITHIN_RUN = ("queue", "start", "run")  # what a latency consists of; other phases lie in the run
REST = "the rest"
LEAST = SHORTEST / SCALE  # seconds; what is shorter counts as this


def objectives(summary: Summary) -> Table | None:
    """The SLO, part by part."""
    rows = [
        (line(each.text), line(each.measured), "met" if each.met else "missed")
        for each in summary.outcome.objectives
    ]
    head = ("objective", "measured", "verdict")
    caption = "SLO: what was asked and what was measured"
    return Table(caption, head, tuple(rows), texts=frozenset({1, 2})) if rows else None


def latencies(summary: Summary) -> Table | None:
    """Latency of each function, device and status; of all that succeeded, after those."""
    seconds, good = summary.outcome.seconds, summary.good
    rows = [_latency(row, seconds) for row in good]
    if len(good) > 1:
        names = ("all", "", ", ".join(dict.fromkeys(row.status for row in good)))
        told = (count(summary.answered), rate(summary.throughput), *_spread(summary.overall))
        rows.append((*names, *told))
    rows += [_latency(row, seconds) for row in summary.rows if row not in good]
    head = ("function", "device", "status", "n", "rate", *_spread_head())
    caption = "Latency from the intended send to the last byte"
    return Table(caption, head, tuple(rows), names=3) if rows else None


def where(summary: Summary) -> Table | None:
    """What the latency of good answers consists of, phase by phase."""
    rows = [cells for row in summary.good for cells in _phases(row)]
    head = ("function", "device", "phase", "n", "share", *_spread_head())
    caption = (
        "Phases of what succeeded; “run: …” are the function's own, within its run, and share is of"
        " the sum of the latencies"
    )
    return Table(caption, head, tuple(rows), names=3) if rows else None


def parts(row: Row) -> list[tuple[str, float]]:
    """What the mean latency consists of: phases that add up to it, and the rest, in seconds.

    The rest is what no phase of the answer tells: network, gateway, and waiting in the generator
    for a connection or after a 429.
    """
    n = row.total.count
    found = [(p, row.phases[p].sum / n) for p in WITHIN_RUN if n and p in row.phases]
    if not found:
        return []
    rest = max(0.0, (row.total.mean or 0.0) - sum(seconds for _, seconds in found))
    return [*found, (REST, rest)]


def colds(summary: Summary) -> Table | None:
    """Cold starts of each function and device."""
    rows = []
    for (function, device), each in grouped(summary.outcome.colds).items():
        starts, totals = [cold.start for cold in each], [cold.total for cold in each]
        rows.append(
            (
                line(function),
                line(summary.device(device)),
                count(len(each)),
                duration(median(starts)),
                duration(max(starts)),
                duration(median(totals)),
                duration(max(totals)),
            )
        )
    head = ("function", "device", "n", "start p50", "start max", "latency p50", "latency max")
    caption = "Answers that had to wait for their replica to start"
    return Table(caption, head, tuple(rows), names=2) if rows else None


def decisions(summary: Summary) -> Table | None:
    """Decisions that changed the number of replicas, and their reasons."""
    changes = changed(summary.outcome.decided)
    rows = [
        (
            f"{each.at:,.2f} s",
            line(each.function),
            line(summary.device(each.device)),
            f"{each.before} → {each.after}",
            given(each.backlog),
            line(each.reason),
        )
        for each in changes[:MOST]
    ]
    more = f" (the first {MOST} of {len(changes):,}; the others are in load_test.json)"
    caption = "Decisions of the autoscaler" + (more if len(changes) > MOST else "")
    head = ("at", "function", "device", "replicas", "backlog", "reason")
    texts = frozenset({1, 2, 3, 5})
    return Table(caption, head, tuple(rows), names=0, texts=texts) if rows else None


def faults(summary: Summary) -> Table | None:
    """What went wrong, by function, with an example of each."""
    every = summary.invocations
    rows = [
        (
            line(each.name),
            line(each.function),
            count(each.count),
            share(_over(each.count, every)),
            f"{each.first_at:,.2f} s",
            line(each.example),
            line(each.invocation or NONE),
        )
        for each in summary.outcome.faults
    ]
    head = ("fault", "function", "n", "share", "first at", "example", "invocation")
    caption = "Faults; share is of all invocations"
    return Table(caption, head, tuple(rows), names=2, texts=frozenset({5, 6})) if rows else None


def facts(caption: str, found: Facts) -> Table | None:
    """Names and values."""
    rows = tuple((line(name), line(value)) for name, value in found)
    return Table(caption, ("what", "value"), rows, texts=frozenset({1})) if rows else None


def changed(decided: Iterable[Decided]) -> list[Decided]:
    """Decisions that changed something, in the order of time."""
    return sorted((each for each in decided if each.before != each.after), key=lambda d: d.at)


def grouped(colds: Iterable[ColdStart]) -> dict[tuple[str, str], list[ColdStart]]:
    """Cold starts by function and device."""
    found: dict[tuple[str, str], list[ColdStart]] = {}
    for each in sorted(colds, key=lambda c: (c.function, c.device)):
        found.setdefault((each.function, each.device), []).append(each)
    return found


def _latency(row: Row, seconds: float) -> tuple[str, ...]:
    names = (line(row.function), line(row.device), line(row.status))
    return (*names, count(row.count), rate(_over(row.count, seconds)), *_spread(row.total))


def _phases(row: Row) -> list[tuple[str, ...]]:
    if len(row.phases) < 2:
        return []
    found = []
    rest = dict(parts(row)).get(REST)
    for name in phases([row]):
        each = row.phases[name]
        own = name not in (TOTAL, *WITHIN_RUN)
        part = _over(each.sum, row.total.sum)
        shown = f"run: {line(name)}" if own else line(name)
        found.append(
            (
                line(row.function),
                line(row.device),
                shown,
                count(each.count),
                share(part),
                *_spread(each),
            )
        )
    if rest is not None:
        part, gaps = _over(rest, row.total.mean or 0.0), [NONE] * (len(SHOWN) + 1)
        found.append(
            (line(row.function), line(row.device), REST, NONE, share(part), duration(rest), *gaps)
        )
    return found


def _spread(found: Spread) -> tuple[str, ...]:
    every = (found.mean, *map(found.at, SHOWN), found.longest)
    return tuple("≤ 1 µs" if each == LEAST else duration(each) for each in every)


def _spread_head() -> tuple[str, ...]:
    return ("mean", *map(percentile, SHOWN), "max")


def _over(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None
