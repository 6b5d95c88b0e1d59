"""What a deployment has told its callers, so that it can be held to it."""

import math
from collections import Counter
from dataclasses import dataclass, field

from loadtest.chaos.order import Order


@dataclass(frozen=True, slots=True)
class Told:
    """How an invocation ended, as somebody was told."""

    status: str
    attempt: int
    result: str | None  # its digest


@dataclass(slots=True)
class Receipt:
    """One invocation that a deployment has taken on, or told the outcome of."""

    id: str
    order: Order
    promised: bool  # it was answered 202; else with its outcome, and nobody promised a record
    told: Told | None = None
    may_be_cancelled: bool = False  # somebody tries to
    cancelled_at: float = math.inf  # unix seconds, when a cancel had been answered 200


@dataclass(slots=True)
class Receipts:
    """Everything that callers were told in a run."""

    by_id: dict[str, Receipt] = field(default_factory=dict)
    refusals: Counter[str] = field(default_factory=Counter)  # and lost answers, by what they were
    problems: list[str] = field(default_factory=list)  # sentences

    def accepted(self, order: Order, id: str, *, may_be_cancelled: bool = False) -> Receipt:
        """It was answered 202."""
        receipt = self._of(order, id)
        receipt.promised, receipt.may_be_cancelled = True, may_be_cancelled
        return receipt

    def ended(self, order: Order, id: str, told: Told) -> Receipt:
        """It was answered with its outcome."""
        receipt = self._of(order, id)
        if receipt.told and receipt.told != told:
            self.problems.append(f"{id} was told as {receipt.told}, and then as {told}")
        receipt.told = told
        return receipt

    def _of(self, order: Order, id: str) -> Receipt:
        receipt = self.by_id.setdefault(id, Receipt(id, order, promised=False))
        if receipt.order != order:
            self.problems.append(f"{id} was given to orders {receipt.order} and {order}")
        return receipt
