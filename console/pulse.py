"""What the frame of every page says: whether all is well, and where the numbers come from.

The audit line counts cheaply for every page, and is checked in full now and then while somebody
looks: counting a million rows for each of fifty open tabs would slow down what they look at.
"""

import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from console.shared import Shared
from console.sources import Sources
from runtime.census import Tallied
from runtime.errors import LumbreError
from runtime.settings import without_password

FRESH = 1.0  # seconds that what was read counts as now
FAULT_AFTER = 1.0  # seconds a fault lasts before it is told: a start is not a fault


class Pulse:
    """The state of the whole, as of the last second."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._read_lately = Shared[dict[str, Any]](FRESH)
        self._since: dict[str, float] = {}  # faults, and since when they are
        self._tallied: Tallied | None = None
        self._tallied_at = 0.0  # unix seconds

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
        audited, tallied = self._sources.latest_audit.look(), self._tallied
        if tallied is None:
            return None
        problems = audited.problems if audited else 0
        return {
            "accepted": tallied.accepted,
            "terminal": tallied.terminal,
            "queued": tallied.queued,
            "running": tallied.running,
            "holds": tallied.holds and not problems,
            "problems": problems,
            "checked_at": audited.at if audited else None,
            "counted_at": self._tallied_at,
        }


def _version() -> str:
    try:
        return version("lumbre")
    except PackageNotFoundError:  # run from its source, without having been installed
        return "source"
