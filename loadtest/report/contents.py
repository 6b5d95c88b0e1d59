"""What is in a report of a load test, and in which order."""

import shlex
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import orjson
import yaml

from loadtest.faults import EXPLANATIONS
from loadtest.line import line
from loadtest.outcome import Facts, Outcome
from loadtest.quantity import count, counted, duration, rate, share
from loadtest.report import table
from loadtest.report.block import Block, Code, Paragraph, Plot, Points, Report, Section, Terms, Tone
from loadtest.report.step import steps
from loadtest.report.summary import Summary

CLOSED = "closed"  # the kind of a stage in which answers set the pace
PLAN_FILE = "plan.yaml"

OPEN_LOOP = (
    "Every request has a time at which it was due, and its latency runs from then to the last byte"
    " of its answer, whether or not it could be sent then. So a server that stalls is charged with"
    " every request that it kept waiting: there is no coordinated omission."
)
CLOSED_LOOP = (
    "It was a closed loop: each connection sends its next request when the answer before it has"
    " come. A server that stalls is then sent less, so that requests which callers of their own"
    " would have sent meanwhile are neither sent nor measured. Read the latencies as those of"
    " exactly so many callers who wait for each other, and not as those at a given rate: an"
    " open-loop stage (constant, poisson, …) measures that."
)
BOTH_LOOPS = (
    "Its closed-loop stages are different: there, each connection sends its next request when the"
    " answer before it has come, so that a server that stalls is sent less, and the waiting that"
    " other callers would have met is not measured. Where both kinds are in one plan, percentiles"
    " mix the two."
)
COUNTED = (
    "Latencies are counted in HdrHistograms (1 µs to 1 hour, 3 significant digits); percentiles are"
    " of all requests of a row, never averages of percentiles. Those of a second are of what"
    " succeeded in it."
)
PHASES = (
    "Phases are what the node says of each answer (Server-Timing): queue, until a replica took it;"
    " start, of that the wait for a replica to start; run, in the replica. Further phases are the"
    " function's own, within its run. The rest of a latency is network, gateway, and the wait in"
    " the generator for a connection or after a 429."
)
NO_GPU = (
    "The GPU was {simulated}: those replicas computed on the CPU. What is labelled so shows how"
    " Lumbre handles GPU functions, and says nothing of a GPU's speed."
)


def contents(summary: Summary) -> Report:
    """The whole report."""
    sections = (
        ("Verdict", _verdict(summary)),
        ("Latency", _latency(summary)),
        ("Where the time went", _where(summary)),
        ("Throughput", _throughput(summary)),
        ("Faults", _faults(summary)),
        ("Scaling", _scaling(summary)),
        ("Cold starts", _colds(summary)),
        ("How it was measured", _method(summary)),
        ("Where it was measured", _places(summary)),
        ("The plan, and how to repeat it", _repeat(summary)),
    )
    title = f"Load test of {line(summary.outcome.url)}"
    made = tuple(Section(name, blocks) for name, found in sections if (blocks := tuple(found)))
    return Report(title, tuple(_lead(summary)), tuple(_figures(summary)), made)


def _lead(summary: Summary) -> Iterator[Paragraph]:
    if summary.interrupted:
        yield Paragraph(summary.interrupted, "warning")
    yield Paragraph(summary.headline)
    if summary.simulated:
        yield Paragraph(NO_GPU.format(simulated=summary.simulated), "warning")


def _figures(summary: Summary) -> Iterator[tuple[str, str]]:
    every = summary.invocations
    yield "throughput", rate(summary.throughput)
    yield "p50", duration(summary.overall.at(50))
    yield "p99", duration(summary.overall.at(99))
    yield "errors", share((every - summary.answered) / every if every else None)


def _verdict(summary: Summary) -> Iterator[Block]:
    asked = summary.outcome.objectives
    met: Tone = "good" if all(each.met for each in asked) else "bad"
    yield Paragraph(summary.objectives, met if asked else "plain")
    if found := table.objectives(summary):
        yield found
    yield Paragraph(summary.generator, "warning" if summary.bottleneck else "plain")
    audit = summary.outcome.audit
    yield Paragraph(summary.audit, "plain" if audit is None or audit.get("holds") else "bad")
    if summary.outcome.notes:
        yield Paragraph("Notes:")
        yield Points(tuple(line(note) for note in summary.outcome.notes))


def _latency(summary: Summary) -> Iterator[Block]:
    if not summary.answered:
        yield Paragraph("Nothing succeeded, so that there is no latency to draw.")
    else:
        yield Plot("latency", _latency_words(summary))
        yield Plot("histogram", _histogram_words(summary))
    if found := table.latencies(summary):
        yield found


def _latency_words(summary: Summary) -> str:
    drawn = steps(summary.outcome.series)
    width = drawn[0].end - drawn[0].begin if drawn else 1
    told = "" if width == 1 else f" A point is the longest of {width} seconds."
    return (
        "Latency of what succeeded in each second: median, p95 and p99; a gap where nothing did."
        f" Crosses mark seconds with faults.{told}"
    )


def _histogram_words(summary: Summary) -> str:
    told = [
        f"{device}: {_three(latencies.percentile)}"
        for device, latencies in summary.latencies.items()
    ]
    return f"How the latencies of what succeeded spread. {'; '.join(told)}."


def _three(percentile: Any) -> str:
    return ", ".join(f"p{percent} {duration(percentile(percent))}" for percent in (50, 95, 99))


def _where(summary: Summary) -> Iterator[Block]:
    if any(table.parts(row) for row in summary.good):
        yield Plot("where", "What the mean latency of each function and device consists of.")
        if found := table.where(summary):
            yield found


def _throughput(summary: Summary) -> Iterator[Block]:
    if not summary.outcome.series:
        return
    told = [f"{count(summary.answered)} succeeded"]
    told += [f"{counted(sum(summary.failed.values()), 'fault')}"] if summary.failed else []
    told += [f"{count(summary.outcome.throttled)} were 429"] if summary.outcome.throttled else []
    words = f"Answers a second by how they ended, and what was due. In all: {', '.join(told)}."
    yield Plot("throughput", words)
    if summary.throttled:
        yield Paragraph(summary.throttled)


def _faults(summary: Summary) -> Iterator[Block]:
    if not summary.failed and not summary.outcome.faults:
        yield Paragraph("Nothing failed.")
        return
    if found := table.faults(summary):
        yield found
    names = dict.fromkeys([*(each.name for each in summary.outcome.faults), *summary.failed])
    known = tuple((name, EXPLANATIONS[name]) for name in names if name in EXPLANATIONS)
    if known:
        yield Terms(known)


def _scaling(summary: Summary) -> Iterator[Block]:
    outcome = summary.outcome
    if not outcome.observed and not outcome.decided:
        yield Paragraph("The node's queues and replicas were not observed.")
        return
    if outcome.observed:
        most = max(each.ready + each.unacknowledged for each in outcome.observed)
        words = (
            f"Backlog of each queue (the longest was {most:,}), and below its replicas: filled are"
            " busy ones, the line is all that are ready, the dots add those that start."
            " Triangles are decisions of the autoscaler, up and down."
        )
        yield Plot("replicas", words)
    if found := table.decisions(summary):
        yield found
    else:
        yield Paragraph("The autoscaler changed nothing.")


def _colds(summary: Summary) -> Iterator[Block]:
    if not summary.outcome.colds:
        yield Paragraph("No answer had to wait for its replica to start.")
        return
    words = (
        "Cold starts: the mean wait for the replica and the rest of the latency; a dot for each."
    )
    yield Plot("colds", words)
    if found := table.colds(summary):
        yield found


def _method(summary: Summary) -> Iterator[Block]:
    kinds = _kinds(summary.outcome.plan)
    if CLOSED not in kinds:
        yield Paragraph(OPEN_LOOP)
    elif set(kinds) == {CLOSED}:
        yield Paragraph(CLOSED_LOOP, "warning")
    else:
        yield Paragraph(OPEN_LOOP)
        yield Paragraph(BOTH_LOOPS, "warning")
    yield Paragraph(COUNTED)
    yield Paragraph(PHASES)


def _kinds(plan: dict[str, Any]) -> list[str]:
    stages = plan.get("stages")
    found = stages if isinstance(stages, list | tuple) else ()
    return [str(stage["kind"]) for stage in found if isinstance(stage, dict) and "kind" in stage]


def _places(summary: Summary) -> Iterator[Block]:
    outcome = summary.outcome
    began: Facts = [
        ("began", outcome.began_at),
        ("took", duration(outcome.seconds)),
        ("URL", outcome.url),
        ("seed", f"{outcome.seed}"),
    ]
    places = (
        ("This load test", began),
        ("The machine that the generator ran on", outcome.machine),
        ("The node, as it says", outcome.node),
    )
    for caption, found in places:
        if shown := table.facts(caption, found):
            yield shown


def _repeat(summary: Summary) -> Iterator[Block]:
    outcome = summary.outcome
    if outcome.plan:
        yield Paragraph(f"Write this to {PLAN_FILE}:")
        yield Code(_yaml(outcome.plan), "yaml")
        yield Paragraph("and give it to the same node:")
    else:
        yield Paragraph("With the plan that it had:")
    yield Code(shlex.join(_command(outcome)), "sh")


def _command(outcome: Outcome) -> list[str]:
    words = ["lumbre", "loadtest", "--plan", PLAN_FILE, "--url", line(outcome.url)]
    words += ["--seed", f"{outcome.seed}"]
    if not _is_loopback(outcome.url):
        words.append("--allow-remote")
    if outcome.objectives and not outcome.plan.get("slo"):
        words += ["--slo", ",".join(line(each.text) for each in outcome.objectives)]
    return words


def _is_loopback(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # no URL, or a name and no address
        return False


def _yaml(plan: dict[str, Any]) -> str:
    """A plan as its file would have it; through JSON, since a plan in memory may hold tuples."""
    value = orjson.loads(orjson.dumps(plan, default=str))
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=90).rstrip("\n")
