"""Orders about many dead letters, which run on after the request that gave them.

Each tells how far it has come.  They are this process's alone and are forgotten a while after they
end: what was done is in the ledger.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

from console.sources import Sources
from runtime.clearance import Cleared
from runtime.errors import Conflict, LumbreError

What = Literal["replayed", "discarded"]

PATIENCE = 1.5  # seconds a request waits for an order to be done before it answers
KEPT = 600.0  # seconds for which one that is over is still told of
NAMED = 50  # letters of one order whose new invocation, or whose fault, is told
MOST_OVER = 3  # orders that are over and told of still


@dataclass(slots=True)
class Clearing:
    """One order: which letters are dealt with, and how far that has come."""

    number: int
    what: What
    functions: tuple[str, ...]
    asked: int | None  # letters that were named; None is all there are
    began_at: float  # unix seconds
    done: int = 0
    kept: int = 0  # letters that stay
    made: dict[str, str] = field(default_factory=dict)  # letters → their new invocations
    faults: dict[str, str] = field(default_factory=dict)  # letters → why they stay
    stopped: str | None = None  # why it went no further
    ended_at: float | None = None
    stopping: bool = False

    def add(self, part: Sequence[Cleared]) -> None:
        """Take in what became of some."""
        for each in part:
            if each.error is not None:
                self.kept += 1
                _name(self.faults, each.id, each.error)
            else:
                self.done += 1
                if each.replayed_as:
                    _name(self.made, each.id, each.replayed_as)


def _name(some: dict[str, str], id: str, text: str) -> None:
    if len(some) < NAMED:
        some[id] = text


class Clearings:
    """The orders of this process."""

    def __init__(self, sources: Sources, clock: Callable[[], float] = time.time) -> None:
        self._sources = sources
        self._clock = clock
        self._numbers = count(1)
        self._told: dict[int, Clearing] = {}  # by number, oldest first
        self._running: dict[int, asyncio.Task[None]] = {}

    def told(self) -> list[Clearing]:
        """Those that go on, and the latest of those that ended lately; newest first."""
        newest = list(reversed(self._told.values()))
        over = [each for each in newest if each.ended_at is not None]
        before = self._clock() - KEPT
        kept = [each for each in over if (each.ended_at or 0.0) >= before][:MOST_OVER]
        for each in over:
            if each not in kept:
                del self._told[each.number]
        return [each for each in newest if each.ended_at is None or each in kept]

    async def some(self, what: What, letters: Mapping[str, Sequence[str]]) -> Clearing:
        """Deal with letters by function; returns once that is done, or goes on for long."""
        asked = sum(map(len, letters.values()))
        return await self._begin(what, tuple(letters), asked, self._of_some(what, letters))

    async def all(self, what: What, function: str) -> Clearing:
        """Likewise with every letter that a function has.

        Conflict where such an order of that function goes on.
        """
        for each in self._told.values():
            if each.ended_at is None and each.asked is None and function in each.functions:
                doing = "replayed" if each.what == "replayed" else "discarded"
                raise Conflict(f"the dead letters of {function} are being {doing} already")
        clearance = self._sources.clearance
        if what == "discarded":
            return await self._begin(what, (function,), None, clearance.discard_all(function))
        await self._sources.admission.function(function)  # a function that is gone is told at once
        return await self._begin(what, (function,), None, clearance.replay_all(function, None))

    def stop(self, number: int) -> Clearing | None:
        """Have an order go no further than what it has in hand."""
        if found := self._told.get(number):
            found.stopping = True
        return found

    async def _of_some(
        self, what: What, letters: Mapping[str, Sequence[str]]
    ) -> AsyncIterator[list[Cleared]]:
        clearance = self._sources.clearance
        for function, ids in letters.items():
            if what == "discarded":
                parts = clearance.discard(function, ids)
            else:
                parts = clearance.replay(function, ids, None)
            async for part in parts:
                yield part

    async def _begin(
        self,
        what: What,
        functions: tuple[str, ...],
        asked: int | None,
        parts: AsyncIterator[list[Cleared]],
    ) -> Clearing:
        clearing = Clearing(next(self._numbers), what, functions, asked, self._clock())
        self._told[clearing.number] = clearing
        task = asyncio.create_task(self._run(clearing, parts), name="console clearing")
        self._running[clearing.number] = task
        task.add_done_callback(lambda _: self._running.pop(clearing.number, None))
        await asyncio.wait([task], timeout=PATIENCE)
        return clearing

    async def _run(self, clearing: Clearing, parts: AsyncIterator[list[Cleared]]) -> None:
        try:
            async for part in parts:
                clearing.add(part)
                if clearing.stopping:
                    clearing.stopped = "it was stopped"
                    break
        except LumbreError as error:
            clearing.stopped = str(error)
        finally:
            clearing.ended_at = self._clock()
