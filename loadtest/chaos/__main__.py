"""`make chaos`: one run after the other, each with a seed of its own, into docs/reliability.md."""

import argparse
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from loadtest.chaos.campaign import Campaign, Outcome
from loadtest.chaos.errors import ChaosError
from loadtest.chaos.folder import besiege
from loadtest.chaos.report import table, write
from loadtest.chaos.shape import Layout, Shape, Store
from loadtest.ending import ending_on_sigterm

PAGE = Path("docs/reliability.md")


def main(line: Sequence[str] | None = None) -> int:
    """Run every seed; 0 when each run held."""
    parser = argparse.ArgumentParser("python -m loadtest.chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="how many, from --first on")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--count", type=int, default=20_000, help="invocations of each run")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--layout", type=Layout, choices=list(Layout), help="default: in turns")
    parser.add_argument("--ledger", type=Store, default=Store.POSTGRES, choices=list(Store))
    parser.add_argument("--page", type=Path, help="where the table is to go")
    given = parser.parse_args(line)
    console = Console(stderr=True)
    outcomes: list[Outcome] = []
    with ending_on_sigterm():
        for seed in range(given.first, given.first + given.seeds):
            layout = given.layout or (Layout.RECORDER, Layout.INSIDE)[seed % 2]
            shape = Shape(layout, given.ledger, workers=given.workers)
            try:
                outcome = besiege(Campaign(seed, given.count, shape), Teller(console))
            except ChaosError as error:
                console.print(f"seed {seed}: {error}", style="red", highlight=False, markup=False)
                return 1
            outcomes.append(outcome)
            for problem in outcome.verdict.problems:
                console.print(problem, style="red", highlight=False, markup=False)
    Console(width=160).print(table(outcomes))
    if given.page:
        write(given.page, outcomes, machine())
        console.print(f"written to {given.page}", highlight=False)
    return 0 if all(outcome.verdict.holds for outcome in outcomes) else 1


def machine() -> str:
    """Where and when this was."""
    day = time.strftime("%Y-%m-%d", time.gmtime())
    return f"{day}, {os.cpu_count()} cores, Python {platform.python_version()}"


class Teller:
    """Says what happens, and how many seconds into the run."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()

    def __call__(self, what: str) -> None:
        at = time.monotonic() - self._began
        self._console.print(f"{at:6.1f}  {what}", highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
