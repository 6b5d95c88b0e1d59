"""The latest audit across ledger and broker, made again now and then while somebody looks.

A full audit counts every row: it must cost the same whether one or fifty look, and little of the
ledger's time however many rows there are.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from runtime.auditor import Auditor, Reckoning
from runtime.errors import LumbreError

EVERY = 30.0  # seconds between two audits, at least
SHARE = 0.01  # of the time that audits may take


@dataclass(frozen=True, slots=True)
class Audited:
    """An audit that could be made."""

    at: float  # unix seconds
    found: Reckoning

    @property
    def problems(self) -> int:
        """Counts that do not balance, rows that cannot be, and invocations that are nowhere."""
        return len(self.found.audit.problems) + len(self.found.odd) + len(self.found.lost)


class LatestAudit:
    """What the latest audit found; `look` is what makes the next one."""

    def __init__(self, auditor: Auditor) -> None:
        self._auditor = auditor
        self._audited: Audited | None = None
        self._due = 0.0  # unix seconds
        self._auditing: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """End an audit that runs."""
        if self._auditing:
            self._auditing.cancel()
            with suppress(asyncio.CancelledError):
                await self._auditing

    @property
    def known(self) -> Audited | None:
        """None until there was one."""
        return self._audited

    def look(self) -> Audited | None:
        """What is known; another audit begins where that is too long ago."""
        running = self._auditing and not self._auditing.done()
        if not running and time.time() >= self._due:
            self._auditing = asyncio.create_task(self._audit(), name="audit")
        return self._audited

    async def _audit(self) -> None:
        began = time.perf_counter()
        with suppress(LumbreError):  # what is away is told by the banner and by /readyz
            found = await self._auditor.reckon()
            self._audited = Audited(time.time(), found)
        self._due = time.time() + max(EVERY, (time.perf_counter() - began) / SHARE)


class AuditMetrics(Collector):
    """What Prometheus is told of it: nothing until an audit was made."""

    def __init__(self, latest: LatestAudit) -> None:
        self._latest = latest

    def collect(self) -> Iterator[Metric]:
        if not (audited := self._latest.known):
            return
        yield GaugeMetricFamily(
            "lumbre_audit_problems",
            "Problems that the latest audit across ledger and broker found; 0 where it balances",
            value=audited.problems,
        )
        yield GaugeMetricFamily(
            "lumbre_audit_timestamp_seconds", "When that audit was made", value=audited.at
        )
