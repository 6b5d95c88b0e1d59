"""Which processes a deployment consists of."""

from dataclasses import dataclass
from enum import StrEnum


class Layout(StrEnum):
    """Who does what."""

    RECORDER = "recorder"  # gateways, workers and a recorder
    INSIDE = "inside"  # gateways that record, and workers
    EMBEDDED = "embedded"  # one node, which needs no broker


class Store(StrEnum):
    """Where the ledger is."""

    SQLITE = "sqlite"
    POSTGRES = "postgres"


@dataclass(frozen=True, slots=True)
class Shape:
    """A deployment as it is asked for."""

    layout: Layout = Layout.RECORDER
    ledger: Store = Store.POSTGRES
    gateways: int = 2
    workers: int = 3

    @property
    def embedded(self) -> bool:
        return self.layout is Layout.EMBEDDED

    def __str__(self) -> str:
        if self.embedded:
            return f"one node, {self.ledger}"
        recorder = "a recorder" if self.layout is Layout.RECORDER else "no recorder"
        return f"{self.gateways} gateways, {self.workers} workers, {recorder}, {self.ledger}"
