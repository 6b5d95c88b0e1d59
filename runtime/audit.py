"""Whether every accepted invocation is accounted for."""

from collections import Counter
from dataclasses import dataclass

from runtime.model import TERMINAL, Status


@dataclass(frozen=True, slots=True)
class Audit:
    """What two witnesses say: the ledger's rows, and the tally kept beside them."""

    accepted: int  # by the tally
    by_status: dict[Status, int]  # rows
    purged: int  # of what was accepted, rows that retention took out
    ignored: int  # terminal outcomes that came when there was one already
    problems: tuple[str, ...]  # sentences; empty when all is well

    @property
    def holds(self) -> bool:
        """accepted = succeeded + failed + timed_out + cancelled + dead + queued + running.

        What was purged counts by the status that it had.
        """
        return not self.problems


def audit(rows: Counter[str], tally: Counter[str]) -> Audit:
    """Compare rows by status with a tally of `accepted`, `ignored` and terminal statuses.

    Rows taken out on purpose are in the tally as `purged.{status}`, and count as held.
    """
    purged = {status: tally[f"purged.{status}"] for status in Status}
    problems = [
        f"{count} rows have the status {name!r}, which does not exist"
        for name, count in rows.items()
        if name not in set(Status)
    ]
    held = rows.total() + sum(purged.values())
    if held != tally["accepted"]:
        problems.append(f"{tally['accepted']} invocations were accepted, and {held} are held")
    problems += [
        f"{tally[status]} outcomes {status} were written, and {rows[status] + gone} are held"
        for status, gone in purged.items()
        if status in TERMINAL and tally[status] != rows[status] + gone
    ]
    return Audit(
        accepted=tally["accepted"],
        by_status={status: rows[status] for status in Status},
        purged=sum(purged.values()),
        ignored=tally["ignored"],
        problems=tuple(problems),
    )
