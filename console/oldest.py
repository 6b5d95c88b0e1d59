"""Since when the oldest invocation of each queue waits or runs, found cheaply."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice
from time import time

from console.shared import Shared
from console.sources import Sources
from runtime.errors import LumbreError
from runtime.model import Device

Key = tuple[str, Device]

LOOKED_AT = 500  # rows of the ledger, the oldest that are not over
LIVE_LOOKED_AT = 2000  # invocations of this process that may have no row yet
FRESH = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class Oldest:
    """When the oldest of a queue was accepted."""

    at: float  # unix seconds
    exact: bool = True  # False: it is younger than this, and how much is not looked for


class Waiting:
    """What waits longest; a look reads so many rows of an index, however many wait."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._looked = Shared[dict[Key, Oldest]](FRESH)

    async def oldest(self, queues: Collection[Key]) -> dict[Key, Oldest]:
        """The oldest of each of these queues, as far as one is known."""
        if not queues:
            return {}
        wanted = frozenset(queues)
        return await self._looked.get(wanted, lambda: self._look(wanted))

    async def _look(self, wanted: frozenset[Key]) -> dict[Key, Oldest]:
        names = {function for function, _ in wanted}
        census = self._sources.ledger.census
        found: dict[Key, Oldest] = {}
        last: float | None = None  # where the look ended, if it did not see all
        try:
            rows = await census.pending(names, time(), LOOKED_AT)
        except LumbreError:  # the frame tells that the ledger is away
            rows = {}
        for row in rows.values():
            device: Device = "gpu" if row.device == "gpu" else "cpu"
            key = (row.function, device)
            if key in wanted and key not in found:
                found[key] = Oldest(row.created_at)
            if len(rows) == LOOKED_AT:
                last = row.created_at
        self._add_live(wanted, found)
        if last is not None:
            found |= {key: Oldest(last, exact=False) for key in wanted - found.keys()}
        return found

    def _add_live(self, wanted: frozenset[Key], found: dict[Key, Oldest]) -> None:
        """Some have no row before they are over, where workers are elsewhere."""
        live = self._sources.invocations.live
        for invocation in islice(live.values(), LIVE_LOOKED_AT):
            message = invocation.message
            key = (message.function, message.device)
            if key not in wanted or invocation.terminal:
                continue
            if key not in found or message.created_at < found[key].at:
                found[key] = Oldest(message.created_at)
