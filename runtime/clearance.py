"""Dealing with many dead letters: some at a time, at a pace that holds up nobody else.

Letters are accepted together and leave their queue in order.  What is begun is finished, even if
whoever asked for it goes away; what is not begun stays a letter.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from runtime.admission import Admission
from runtime.brokers import DeadLetter
from runtime.errors import Conflict, LumbreError, Overloaded, Unavailable
from runtime.letters import Found, Letters
from runtime.model import Depth, Invocation, queue_name
from runtime.query import Headers

AT_ONCE = 50  # letters that are being accepted
PART = 500  # letters that leave their queue together: a queue is read from its head each time
MOST_KEPT = 1000  # letters that nothing can be done with, after which it is given up
NO_ROOM = 30.0  # seconds for which a full queue may stay as long as it is
LOOK_EVERY = 0.2  # seconds, while there is no room
UNAWAITED: Headers = {b"prefer": b"respond-async"}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cleared:
    """What became of one letter of many."""

    id: str
    replayed_as: str | None = None
    error: str | None = None  # why it stays


class Clearance:
    """Replays and discards letters in bulk."""

    def __init__(
        self,
        letters: Letters,
        admission: Admission,
        depth: Callable[[str], Depth],
        queue_limit: int,
    ) -> None:
        self._letters = letters
        self._admission = admission
        self._depth = depth  # how full a queue is, as far as is known
        self._most = max(1, queue_limit // 2)  # messages; the rest of a queue is for others
        self._part = min(PART, self._most)
        self._accepting = asyncio.Semaphore(AT_ONCE)
        self._working: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        """Finish what is begun."""
        await asyncio.gather(*self._working, return_exceptions=True)

    async def replay(
        self, function: str, ids: Iterable[str], asked: str | None
    ) -> AsyncIterator[list[Cleared]]:
        """Replay these letters of a function; what became of each, some at a time.

        Overloaded where its queue is full and does not get shorter, Unavailable where nothing can
        be accepted now: what it has not come to stays.
        """
        await self._letters.ready()
        left = iter(dict.fromkeys(ids))
        while part := list(islice(left, self._part)):
            cleared, fault = await self._whole(self._replay(function, part, asked))
            yield cleared
            if fault:
                raise fault

    async def replay_all(self, function: str, asked: str | None) -> AsyncIterator[list[Cleared]]:
        """Replay every letter of a function, the oldest first, as `replay` does.

        Letters of what it has replayed itself, and that died again, are not among them.
        """
        await self._letters.ready()
        kept: set[str] = set()
        made: set[str] = set()
        while letters := await self._letters.waiting(function, len(kept) + self._part):
            part = _others(letters, kept | made)
            if not part:  # the others are younger than what was made here
                return
            cleared, fault = await self._whole(self._replay(function, part, asked, letters))
            made |= {each.replayed_as for each in cleared if each.replayed_as}
            kept |= {each.id for each in cleared if each.error}
            yield cleared
            if fault:
                raise fault
            _check(function, kept)

    async def discard(self, function: str, ids: Iterable[str]) -> AsyncIterator[list[Cleared]]:
        """Forget these letters of a function; what became of each, some at a time."""
        await self._letters.ready()
        left = iter(dict.fromkeys(ids))
        while part := list(islice(left, self._part)):
            yield await self._whole(self._discard(function, part))

    async def discard_all(self, function: str) -> AsyncIterator[list[Cleared]]:
        """Forget every letter that a function has now."""
        await self._letters.ready()
        began = time.time()
        kept: set[str] = set()
        while letters := await self._letters.waiting(function, len(kept) + self._part):
            part = _others((each for each in letters if each.at <= began), kept)
            if not part:
                return
            cleared = await self._whole(self._discard(function, part))
            kept |= {each.id for each in cleared if each.error}
            yield cleared
            _check(function, kept)

    async def _replay(
        self,
        function: str,
        ids: Sequence[str],
        asked: str | None,
        letters: Iterable[DeadLetter] = (),
    ) -> tuple[list[Cleared], LumbreError | None]:
        """Replay letters together; why to go no further, where none of them can be for now."""
        found = await self._letters.find(function, ids, letters)
        stop: list[LumbreError] = []
        done = await asyncio.gather(
            *(self._replay_one(function, each, asked, stop) for each in found.values())
        )
        by_id = dict(zip(found, done, strict=True))
        new = {id: each.id for id, each in by_id.items() if isinstance(each, Invocation)}
        recorded = {id for id, each in found.items() if isinstance(each, Found) and each.recorded}
        await self._letters.settle({id: made for id, made in new.items() if id in recorded})
        if new:
            await self._letters.remove(function, new.keys())
        if not new:
            stop += [each for each in done if isinstance(each, Unavailable)]
        cleared = [_cleared(id, each) for id, each in by_id.items()]
        return cleared, stop[0] if stop else None

    async def _replay_one(
        self,
        function: str,
        found: Found | LumbreError,
        asked: str | None,
        stop: list[LumbreError],
    ) -> Invocation | LumbreError:
        """Replay a letter once there is room for it; a full queue stops those after it, too."""
        if isinstance(found, LumbreError):
            return found
        async with self._accepting:
            while not stop:
                try:
                    await self._room(function)
                except LumbreError as error:
                    stop.append(error)
                    break
                try:
                    return await self._letters.replay_found(found, asked, UNAWAITED)
                except Overloaded:  # others took the room
                    await asyncio.sleep(LOOK_EVERY)
                except LumbreError as error:
                    return error
            return stop[0]

    async def _discard(self, function: str, ids: Sequence[str]) -> list[Cleared]:
        faults = await self._letters.discard_some(ids, function)
        return [Cleared(id, None, str(fault) if fault else None) for id, fault in faults.items()]

    async def _room(self, function: str) -> None:
        """Wait until the function's queues have room; Overloaded if they do not get shorter."""
        spec = await self._admission.function(function)
        queues = [queue_name(spec.name, device) for device in spec.devices]
        loop = asyncio.get_running_loop()
        least, until = float("inf"), 0.0
        while (ready := max(self._depth(queue).ready for queue in queues)) >= self._most:
            if ready < least:
                least, until = ready, loop.time() + NO_ROOM
            if loop.time() > until:
                raise Overloaded(
                    f"{ready:,} invocations of {function} wait, and none was begun for"
                    f" {NO_ROOM:g} s: GET /functions/{function} says why; replay the rest then",
                    round(NO_ROOM),
                )
            await asyncio.sleep(LOOK_EVERY)

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Do work to its end, even if whoever asked for it goes away in the middle."""
        task = asyncio.create_task(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        return await asyncio.shield(task)


def _cleared(id: str, outcome: Invocation | LumbreError) -> Cleared:
    if isinstance(outcome, Invocation):
        return Cleared(id, outcome.id)
    return Cleared(id, None, str(outcome))


def _others(letters: Iterable[DeadLetter], passed: set[str]) -> list[str]:
    ids = dict.fromkeys(letter.message.id for letter in letters)
    return [id for id in ids if id not in passed]


def _check(function: str, kept: set[str]) -> None:
    if len(kept) >= MOST_KEPT:
        raise Conflict(
            f"{len(kept):,} dead letters of {function} stay, for the reasons given: mend these, or"
            " discard them, before the others"
        )
