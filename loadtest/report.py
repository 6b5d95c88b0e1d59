"""A benchmark's rows as a table on the screen and as a page of documentation."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table

from loadtest.row import Row

METHOD = """\
Each budget is a ratio, or a time that a person waits, and is measured beside what it is compared
with, in one run and on one machine: both servers are up at once and take turns, round after round,
and the median of the rounds' ratios counts, since the speed of a shared machine changes more
within minutes than the servers differ. A number is given as its median, with the least and the
most in brackets and how many there were. Client, gateway and replicas share the cores. These are
measurements and not tests: nothing fails when one is missed, and it is said here by how much. Why
is in [Where the time of a no-op goes](architecture.md#the-hot-path).

The echo is a bare Starlette application on uvicorn (uvloop, httptools, no access log, otherwise
uvicorn's defaults) that parses a JSON request and gives it back as a `JSONResponse`
(`loadtest/echo.py`). `lumbre up` runs with its defaults and the functions of `loadtest/functions`;
a no-op goes through its queue to a replica in another process and into the ledger. Load comes from
a closed loop in a process of its own (`loadtest/closed.py`), which checks the status and the body
of every answer and tells its own CPU time; an error makes a row void.
"""


@dataclass(frozen=True, slots=True)
class Report:
    """All that is known of one run."""

    rows: Sequence[Row]
    machine: Sequence[tuple[str, str]]
    load_before: str
    load_after: str
    seconds: float  # the whole run took
    quick: bool

    def markdown(self) -> str:
        """The page `docs/benchmarks.md`."""
        machine = [
            *self.machine,
            ("load average", f"{self.load_before} before, {self.load_after} after"),
            ("whole run", f"{self.seconds:.0f} s"),
        ]
        summary = [(row.what, row.budget, row.measured, row.verdict) for row in self.rows]
        parts = [
            "# Benchmarks: one machine, embedded",
            *([QUICK] if self.quick else []),
            "Written by `make bench`; run it to have your own machine's numbers here.",
            _table(("what", "budget", "measured", "met?"), summary),
            "## How",
            METHOD.strip(),
            "## Each row",
            "\n".join(f"- **{row.what}.** {row.detail}" for row in self.rows),
            "## Where",
            _table(("", ""), machine),
        ]
        return "\n\n".join(parts) + "\n"

    def table(self) -> Table:
        """What was measured, for a terminal."""
        table = Table(box=box.SIMPLE_HEAD, title="quick: few repetitions" if self.quick else None)
        for heading in ("what", "budget", "measured"):
            table.add_column(heading, overflow="fold")
        table.add_column("met?", overflow="fold")
        for row in self.rows:
            style = "green" if row.met else "red"
            verdict = f"[{style}]{row.verdict}[/]" if row.checks or row.faults else row.verdict
            table.add_row(row.what, row.budget, row.measured, verdict)
        return table


QUICK = """\
**A quick look: few and short repetitions, and a shorter queue. These are not numbers to quote.**"""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
