"""A benchmark as a command: rows that are measured one by one, told, and put on the page."""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from loadtest.budgets import page
from loadtest.budgets.pace import Pace
from loadtest.budgets.report import Report
from loadtest.budgets.row import Row
from loadtest.budgets.server import BenchmarkError, scratch
from loadtest.fingerprint import Facts, fingerprint, load_average

PAGE = Path("docs/benchmarks.md")


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What is measured, and how it is told."""

    module: str  # that is run
    section: str  # of the page
    method: str  # in words
    full: Pace
    quick: Pace
    rows: Callable[[Pace, Facts], Iterator[Row]]  # measures; adds what it learns of its servers

    def run(self, pace: Pace, console: Console) -> Report:
        """Measure everything, and tell each row as it comes."""
        with scratch() as folder:
            machine = fingerprint(folder)
        before, began = load_average(), time.monotonic()
        measured = []
        for row in self.rows(pace, machine):
            console.print(
                f"{row.what}: {row.measured} – {row.verdict}", highlight=False, soft_wrap=True
            )
            measured.append(row)
        seconds = time.monotonic() - began
        quick = pace is self.quick
        return Report(measured, machine, before, load_average(), seconds, quick, self.method)

    def main(self, line: Sequence[str] | None, description: str | None) -> int:
        """Run the benchmark; 0 when it could be measured, whatever it measured."""
        parser = argparse.ArgumentParser(f"python -m {self.module}", description=description)
        parser.add_argument(
            "--quick", action="store_true", help="a minute; written only with --out"
        )
        out = f"the page whose section is written; {PAGE} if not --quick"
        parser.add_argument("--out", type=Path, help=out)
        given = parser.parse_args(line)
        where: Path | None = given.out or (None if given.quick else PAGE)
        progress = Console(stderr=True)
        # So that what was started is ended.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        try:
            report = self.run(self.quick if given.quick else self.full, progress)
        except BenchmarkError as error:
            progress.print(f"[red]the benchmark stopped:[/] {error}", highlight=False)
            return 1
        Console().print(report.table())
        if where:
            page.put(where, self.section, report.markdown())
            progress.print(f"written to {where}", highlight=False)
        return 0
