"""Whether all that was answered is in the ledger."""

from collections.abc import Mapping

from loadtest.budgets.contestant import Contestant
from loadtest.budgets.row import Row
from loadtest.budgets.server import until

RECORD_LIMIT = 30.0  # seconds from the last answer until its row must be there
LOOK = 0.1


def recorded(ours: Mapping[str, Contestant]) -> Row:
    """Compare what each answered with what its ledger says, and have the ledger look at itself."""
    told, faults = [], []
    for name, contestant in ours.items():
        server, answered = contestant.server, contestant.answered

        def rows(at: Contestant = contestant) -> int:
            return int(at.server.get("/audit")["by_status"]["succeeded"])

        def complete(wanted: int = answered) -> bool:
            return rows() >= wanted

        until(f"{name} has a row for each answer", complete, RECORD_LIMIT, LOOK)
        audit = server.get("/audit")
        told.append(f"{name}: {answered:,} answered, {rows():,} rows succeeded")
        if not audit["holds"]:
            faults.append(f"{name}: the audit does not hold: {'; '.join(audit['problems'])}")
    return Row(
        what="records of what was answered",
        measured="; ".join(told),
        detail="Of everything answered up to here, warm-ups included, once the recorder has caught"
        " up; GET /audit holds where its counts, its rows and their histories agree.",
        faults=tuple(faults),
    )
