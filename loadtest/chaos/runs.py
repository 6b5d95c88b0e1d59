"""Which runs of functions there were, by the line that each left in the trace."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Run:
    """One time that a replica began to run an invocation."""

    attempt: int
    at: float  # unix seconds


def runs_of(trace: Path) -> dict[str, list[Run]]:
    """The runs of every invocation that ran, by its id."""
    found: defaultdict[str, list[Run]] = defaultdict(list)
    for line in trace.read_text().splitlines():
        id, attempt, at = line.split()
        found[id].append(Run(int(attempt), float(at)))
    return dict(found)
