"""Runs as a table on the screen, as JSON, and as a table of docs/reliability.md."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from loadtest.chaos.campaign import Outcome

BEGIN, END = "<!-- runs: written by make chaos -->", "<!-- end of runs -->"
COLUMNS = (
    *("seed", "layout", "accepted", "completed", "retried", "dead", "cancelled"),
    *("lost", "recorded twice", "wrong", "ran again", "faults", "seconds"),
)


def row(outcome: Outcome) -> dict[str, Any]:
    """What one run has shown, by column."""
    verdict = outcome.verdict
    return {
        "seed": outcome.campaign.seed,
        "layout": outcome.campaign.shape.layout.value,
        "accepted": verdict.accepted,
        "completed": verdict.completed,
        "retried": verdict.retried,
        "dead": verdict.statuses.get("dead", 0),
        "cancelled": verdict.statuses.get("cancelled", 0),
        "lost": verdict.lost,
        "recorded twice": verdict.twice,
        "wrong": verdict.wrong,
        "ran again": verdict.ran_again,
        "faults": sum(outcome.faults.values()),
        "seconds": round(outcome.seconds),
    }


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Everything there is to say of a run."""
    campaign = outcome.campaign
    return {
        "holds": outcome.verdict.holds,
        **{name.replace(" ", "_"): value for name, value in row(outcome).items()},
        "faults": outcome.faults,
        "refusals": outcome.refusals,
        "statuses": outcome.verdict.statuses,
        "unrecorded": outcome.verdict.unrecorded,
        "late": outcome.verdict.late,
        "problems": outcome.verdict.problems,
        "campaign": asdict(campaign) | {"seconds": campaign.seconds},
    }


def summary(outcome: Outcome) -> Table:
    """One run for a terminal, a line for each thing it has shown."""
    shown = Table(box=None, show_header=False)
    for name, value in row(outcome).items():
        shown.add_row(name, f"{value}")
    for name, counts in (("broken", outcome.faults), ("refused or lost", outcome.refusals)):
        if counts:
            shown.add_row(name, ", ".join(f"{each} {count}" for each, count in counts.items()))
    shown.add_row("verdict", "it held" if outcome.verdict.holds else "it did not hold")
    return shown


def table(outcomes: Sequence[Outcome]) -> Table:
    """Runs for a terminal."""
    shown = Table(box=box.SIMPLE_HEAD)
    for column in COLUMNS:
        shown.add_column(column, justify="right")
    for outcome in outcomes:
        style = None if outcome.verdict.holds else "red"
        shown.add_row(*map(_text, row(outcome).values()), style=style)
    return shown


def markdown(outcomes: Sequence[Outcome], machine: str) -> str:
    """Runs for documentation."""
    head = [f"| {' | '.join(COLUMNS)} |", f"|{' ---: |' * len(COLUMNS)}"]
    lines = [f"| {' | '.join(map(_text, row(outcome).values()))} |" for outcome in outcomes]
    shapes = "; ".join(sorted({f"{outcome.campaign.shape}" for outcome in outcomes}))
    kinds = sorted({kind for outcome in outcomes for kind in outcome.faults})
    each = [f"{kind} {sum(outcome.faults.get(kind, 0) for outcome in outcomes)}" for kind in kinds]
    return "\n".join(
        [f"{shapes}; {machine}.", "", *head, *lines, "", f"Faults: {', '.join(each)}."]
    )


def write(page: Path, outcomes: Sequence[Outcome], machine: str) -> None:
    """Put runs into a page, between its two marks, in place of those that are there."""
    text = page.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page} has no place for runs, between {BEGIN!r} and {END!r}")
    page.write_text(f"{before}{BEGIN}\n\n{markdown(outcomes, machine)}\n\n{END}{after}")


def _text(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value}"
