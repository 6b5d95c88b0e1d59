"""A benchmark's rows as a table on the screen and as a section of documentation."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table

from loadtest.budgets.row import Row


@dataclass(frozen=True, slots=True)
class Report:
    """All that is known of one run."""

    rows: Sequence[Row]
    machine: Sequence[tuple[str, str]]
    load_before: str
    load_after: str
    seconds: float  # the whole run took
    quick: bool
    method: str  # how it was measured, in words

    def markdown(self) -> str:
        """A section of `docs/benchmarks.md`, without its heading."""
        machine = [
            *self.machine,
            ("load average", f"{self.load_before} before, {self.load_after} after"),
            ("whole run", f"{self.seconds:.0f} s"),
        ]
        summary = [(row.what, row.budget, row.measured, row.verdict) for row in self.rows]
        parts = [
            *([QUICK] if self.quick else []),
            _table(("what", "budget", "measured", "met?"), summary),
            "### How",
            self.method.strip(),
            "### Each row",
            "\n".join(f"- **{row.what}.** {row.detail}" for row in self.rows),
            "### Where",
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
