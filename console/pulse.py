"""What the frame of every page says: whether all is well, and where the numbers come from.

The audit line counts cheaply for every page, and is checked in full now and then while somebody
looks: counting a million rows for each of fifty open tabs would slow down what they look at.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from console.shared import Shared
from console.sources import Sources
from runtime.auditor import Reckoning
from runtime.census import Tallied
from runtime.errors import LumbreError
from runtime.settings import without_password

FRESH = 1.0  # seconds that what was read counts as now
AUDIT_EVERY = 30.0  # seconds between two full audits, at least
AUDIT_SHARE = 0.01  # of the time that full audits may take
FAULT_AFTER = 1.0  # seconds a fault lasts before it is told: a start is not a fault


@dataclass(slots=True)
class _Audited:
    at: float  # unix seconds
    took: float
    found: Reckoning | None  # None where it could not be made


class Pulse:
    """The state of the whole, as of the last second."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._read_lately = Shared[dict[str, Any]](FRESH)
        self._audited: _Audited | None = None
        self._auditing: asyncio.Task[None] | None = None
        self._since: dict[str, float] = {}  # faults, and since when they are
        self._tallied: Tallied | None = None
        self._tallied_at = 0.0  # unix seconds

    async def close(self) -> None:
        """End an audit that runs."""
        if self._auditing:
            self._auditing.cancel()
            with suppress(asyncio.CancelledError):
                await self._auditing

    async def now(self) -> dict[str, Any]:
        """Faults with since when, the audit line, and what this process is."""
        return await self._read_lately.get("pulse", self._read)

    async def _read(self) -> dict[str, Any]:
        settings = self._sources.settings
        faults = self._faults()
        try:
            self._tallied = await self._sources.ledger.census.tallied()
            self._tallied_at = time.time()
        except LumbreError:
            faults.append(self._fault("the ledger cannot be read", time.time()))
        self._audit_sometimes()
        return {
            "faults": faults,
            "audit": self._audit_line(),
            "broker": without_password(settings.broker_url),
            "ledger": without_password(settings.ledger).replace("+aiosqlite", ""),
            "devices": self._devices(),
            "simulated": self._sources.fleet.simulated,
            "version": _version(),
            "at": time.time(),
        }

    def _faults(self) -> list[dict[str, Any]]:
        now = time.time()
        said = self._sources.fleet.faults()
        if not self._sources.invocations.recorder.healthy:
            said = [*said, "the ledger cannot be written"]
        self._since = {text: self._since.get(text, now) for text in said}
        return [
            self._fault(text, at) for text, at in self._since.items() if now - at >= FAULT_AFTER
        ]

    @staticmethod
    def _fault(text: str, since: float) -> dict[str, Any]:
        return {"text": text, "since": since}

    def _devices(self) -> list[str]:
        specs = self._sources.catalog.functions.values()
        found = {device for spec in specs for device in self._sources.fleet.devices(spec)}
        return sorted(found)

    def _audit_line(self) -> dict[str, Any] | None:
        """Whether accepted = terminal + queued + running; None until it is known."""
        tallied, found = self._tallied, self._audited.found if self._audited else None
        if tallied is None:
            return None
        problems = len(found.audit.problems) + len(found.odd) + len(found.lost) if found else 0
        return {
            "accepted": tallied.accepted,
            "terminal": tallied.terminal,
            "queued": tallied.queued,
            "running": tallied.running,
            "holds": tallied.holds and not problems,
            "problems": problems,
            "checked_at": self._audited.at if self._audited and found else None,
            "counted_at": self._tallied_at,
        }

    def _audit_sometimes(self) -> None:
        if self._auditing and not self._auditing.done():
            return
        if (last := self._audited) is not None:
            pause = max(AUDIT_EVERY, last.took / AUDIT_SHARE)
            if time.time() - last.at < pause:
                return
        self._auditing = asyncio.create_task(self._audit(), name="console audit")

    async def _audit(self) -> None:
        began = time.perf_counter()
        found: Reckoning | None = None
        with suppress(LumbreError):  # the banner tells who is away
            found = await self._sources.auditor.reckon()
        if found is None and self._audited:
            found = self._audited.found
        self._audited = _Audited(time.time(), time.perf_counter() - began, found)


def _version() -> str:
    try:
        return version("lumbre")
    except PackageNotFoundError:  # run from its source, without having been installed
        return "source"
