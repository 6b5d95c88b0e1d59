"""What the console shows and acts on: the parts of the gateway's process that it is given."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.access import Access
    from runtime.admission import Admission
    from runtime.answers import Answers
    from runtime.blobs import Blobs
    from runtime.catalog import Catalog
    from runtime.clearance import Clearance
    from runtime.fleet import Fleet
    from runtime.history import History
    from runtime.invocations import Invocations
    from runtime.latest_audit import LatestAudit
    from runtime.ledger import Ledger
    from runtime.letters import Letters
    from runtime.reports import Reports
    from runtime.settings import Settings
    from runtime.speedup import Speedups
    from runtime.telemetry import Metrics


@dataclass(frozen=True, slots=True)
class Sources:
    """The parts of one gateway."""

    settings: "Settings"
    catalog: "Catalog"
    admission: "Admission"
    fleet: "Fleet"
    invocations: "Invocations"
    ledger: "Ledger"
    blobs: "Blobs"
    letters: "Letters"
    clearance: "Clearance"
    latest_audit: "LatestAudit"
    answers: "Answers"
    reports: "Reports"
    metrics: "Metrics"
    history: "History"
    speedups: "Speedups"
    access: "Access"
