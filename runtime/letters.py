"""The dead-letter desk: which dead letters there are, and what can be done with one.

The broker holds the letters; the ledger has the records of their invocations, and knows which
letters were dealt with.  A replay is a new invocation, durable before its letter goes.  Whoever
asks for it again, because an answer was lost or something died in between, gets that same one.
"""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from runtime.admission import Admission
from runtime.brokers import Broker, DeadLetter
from runtime.brokers.memory import MemoryBroker
from runtime.errors import Conflict, LumbreError, NotFound, Unavailable
from runtime.invocations import Invocations
from runtime.ledger import Ledger
from runtime.model import Attempt, Invocation, Status, queue_name
from runtime.query import Headers
from runtime.settled import Settled

RECALLED = 100_000  # letters that a broker in memory takes over at most
LATER = 1.0  # seconds until a ledger that is away is asked again

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, and what the ledger knows of its invocation."""

    dead: DeadLetter
    record: Invocation | None = None  # None where there is none, or no longer
    attempts: Sequence[Attempt] = ()  # all but the last, which is the record's


@dataclass(frozen=True, slots=True)
class Found:
    """The invocation that a dead letter is of."""

    invocation: Invocation
    recorded: bool  # it is in the ledger, and not only in the letter
    settled: Settled | None = None  # somebody has dealt with it


class Letters:
    """What a gateway knows of dead letters, and does with them."""

    def __init__(
        self,
        broker: Broker,
        ledger: Ledger,
        admission: Admission,
        invocations: Invocations,
        functions: Callable[[], Iterable[str]],
    ) -> None:
        self._broker = broker
        self._ledger = ledger
        self._admission = admission
        self._invocations = invocations
        self._functions = functions  # those that are known now
        self._recalling: asyncio.Task[None] | None = None

    # ── letters of before ─────────────────────────────────────────────────────────────────────

    def recall(self, broker: MemoryBroker) -> None:
        """Have a broker in memory take over the letters that its predecessor had.

        In the background; what is asked of the desk meanwhile waits for it.
        """
        self._recalling = asyncio.create_task(self._recall(broker), name="letters")

    async def close(self) -> None:
        if self._recalling:
            self._recalling.cancel()
            await asyncio.gather(self._recalling, return_exceptions=True)

    async def _recall(self, broker: MemoryBroker) -> None:
        while True:
            try:
                await self._invocations.recorder.flush()
                pages = self._ledger.letters.left(RECALLED)
                found = [letter_of(each) async for page in pages for each in page]
                break
            except Unavailable as error:
                log.warning("dead letters cannot be listed yet: %s", error)
                await asyncio.sleep(LATER)
        broker.recall(found)
        if len(found) == RECALLED:
            log.warning("only the oldest %d dead letters are listed until the next start", RECALLED)

    async def ready(self) -> None:
        """Return once every letter can be found."""
        if self._recalling and not self._recalling.done():
            await asyncio.wait([self._recalling])

    # ── looking ───────────────────────────────────────────────────────────────────────────────

    async def listed(self, function: str | None, limit: int) -> list[Letter]:
        """The oldest letters of a function, or of all of them."""
        await self.ready()
        await self._invocations.recorder.flush()
        names = [function] if function is not None else await self._names()
        found = [letter for name in names for letter in await self.waiting(name, limit)]
        found = sorted(found, key=lambda letter: letter.at)[:limit]
        ids = {letter.message.id for letter in found if letter.unreadable is None}
        records = await self._ledger.among(ids)
        attempts = await self._ledger.attempts_among(ids)
        return [
            Letter(letter)
            if letter.unreadable is not None
            else Letter(letter, records.get(letter.message.id), attempts.get(letter.message.id, ()))
            for letter in found
        ]

    async def waiting(self, function: str, limit: int) -> list[DeadLetter]:
        """The oldest letters of a function that nobody has dealt with.

        Those that somebody has, and that are there because something died in between, go now.
        """
        while True:
            letters = await self._oldest(function, limit)
            settled = await self._ledger.letters.among(_readable(letters))
            if not settled or not await self.remove(function, settled):
                return [letter for letter in letters if letter.message.id not in settled]

    async def find(
        self, function: str | None, ids: Collection[str], letters: Iterable[DeadLetter] = ()
    ) -> dict[str, Found | LumbreError]:
        """The invocations of letters, or why there is none; `letters` are some that are known."""
        await self._invocations.recorder.flush()
        records = await self._ledger.among(ids)
        settled = await self._ledger.letters.among(ids)
        dead = {id for id, each in records.items() if _is_dead(each, function)}
        known = {letter.message.id: letter for letter in letters}
        if function is not None and (unknown := set(ids) - dead - known.keys()):
            known |= await self._look_for(function, unknown)
        return {
            id: Found(records[id], True, settled.get(id))
            if id in dead
            else _found(id, function, records.get(id), settled.get(id), known.get(id))
            for id in ids
        }

    async def _names(self) -> list[str]:
        return sorted({*self._functions(), *await self._ledger.letters.functions()})

    async def _oldest(self, function: str, limit: int) -> Sequence[DeadLetter]:
        try:
            return await self._broker.dead_letters(function, limit)
        except KeyError:  # there is no such queue, and so no letter
            return ()

    async def _look_for(self, function: str, ids: Collection[str]) -> dict[str, DeadLetter]:
        """Letters that the ledger does not know, however many there are before them."""
        found: dict[str, DeadLetter] = {}

        def look(letter: DeadLetter) -> bool:
            if letter.message.id in ids:
                found.setdefault(letter.message.id, letter)
            return False

        await self._sort(function, look)
        return found

    async def _sort(self, function: str, choose: Callable[[DeadLetter], bool]) -> None:
        with contextlib.suppress(KeyError):  # there is no such queue, and so no letter
            await self._broker.discard_many(function, choose)

    # ── dealing with one ──────────────────────────────────────────────────────────────────────

    async def replay(
        self,
        id: str,
        function: str | None,
        asked: str | None,
        headers: Headers,
        parameters: bytes | None,
    ) -> Invocation:
        """Make a new invocation of a letter: as it was, on another device, with other parameters.

        NotFound where there is no such letter, Conflict where it was replayed otherwise before.
        """
        await self.ready()
        found = (await self.find(function, [id]))[id]
        if isinstance(found, LumbreError):
            raise found
        new = await self.replay_found(found, asked, headers, parameters)
        if found.recorded:
            await self._ledger.letters.settle({id: new.id})
        await self.remove(found.invocation.message.function, [id])
        return new

    async def replay_found(
        self, found: Found, asked: str | None, headers: Headers, parameters: bytes | None = None
    ) -> Invocation:
        """Make the new invocation, or give the one there is; the letter stays."""
        earlier = found.invocation
        key = _key_of(earlier, asked, parameters)
        if settled := found.settled:
            again = f"POST /invocations/{earlier.id}/replay runs it all the same"
            if settled.replayed_as is None:
                raise NotFound(f"dead letter {earlier.id!r} was discarded; {again}")
            if (known := await self._invocations.by_key(key)) is None:
                text = f"dead letter {earlier.id!r} was replayed as {settled.replayed_as} already"
                raise Conflict(f"{text}; {again}")
            return known
        spec = await self._admission.function(earlier.message.function)
        device = asked or earlier.requested_device
        return await self._admission.replay_once(earlier, spec, device, headers, key, parameters)

    async def discard(self, id: str, function: str | None) -> None:
        """Forget a letter; its invocation stays dead.  It may be asked again.

        NotFound where there is no such letter, Conflict where it was replayed.
        """
        await self.ready()
        if function is None:
            found = (await self.find(None, [id]))[id]
            if isinstance(found, LumbreError):
                raise found
            function = found.invocation.message.function
        if fault := (await self.discard_some([id], function))[id]:
            raise fault

    async def discard_some(
        self, ids: Collection[str], function: str
    ) -> dict[str, LumbreError | None]:
        """Forget letters of a function; why it cannot be, where it cannot."""
        await self._invocations.recorder.flush()
        records = await self._ledger.among(ids)
        settled = await self._ledger.letters.among(ids)
        dead = {id for id, each in records.items() if _is_dead(each, function)}
        await self._ledger.letters.settle(dict.fromkeys(dead - settled.keys()))
        removed = await self.remove(function, ids)
        faults: dict[str, LumbreError | None] = {}
        for id in ids:
            faults[id] = None
            if (before := settled.get(id)) and before.replayed_as:
                faults[id] = Conflict(f"dead letter {id!r} was replayed as {before.replayed_as}")
            elif id not in removed and id not in dead:
                faults[id] = _no_letter(id, function)
        return faults

    async def settle(self, letters: Mapping[str, str]) -> None:
        """Keep that these were replayed, by what each was replayed as."""
        await self._ledger.letters.settle(letters)

    async def remove(self, function: str, ids: Collection[str]) -> set[str]:
        """Have the broker forget letters; those that it had."""
        removed: set[str] = set()

        def chosen(letter: DeadLetter) -> bool:
            if letter.message.id not in ids:
                return False
            removed.add(letter.message.id)
            return True

        await self._sort(function, chosen)
        return removed


def letter_of(invocation: Invocation) -> DeadLetter:
    """The dead letter of an invocation that the ledger calls dead."""
    message = invocation.message
    reason = invocation.error.message if invocation.error else "nothing was recorded"
    at = invocation.finished_at or message.created_at
    return DeadLetter(message, queue_name(message.function, message.device), reason, at)


def _readable(letters: Iterable[DeadLetter]) -> set[str]:
    return {letter.message.id for letter in letters if letter.unreadable is None}


def _is_dead(record: Invocation, function: str | None) -> bool:
    return record.status is Status.DEAD and function in (None, record.message.function)


def _found(
    id: str,
    function: str | None,
    record: Invocation | None,
    settled: Settled | None,
    letter: DeadLetter | None,
) -> Found | LumbreError:
    """What is to be replayed where the ledger has no dead invocation, from the letter itself."""
    if letter is None:
        return _no_letter(id, function)
    if letter.unreadable is not None:
        return Conflict(f"dead letter {id!r} is no message of Lumbre: it can only be discarded")
    if record and record.message.function == function:
        return Found(record, True, settled)
    message = letter.message
    unrecorded = message.unrecorded
    asked = unrecorded.requested_device if unrecorded else message.device
    version = unrecorded.version if unrecorded else ""
    return Found(Invocation(message, asked, version, Status.DEAD), False, settled)


def _no_letter(id: str, function: str | None) -> NotFound:
    if function is None:
        return NotFound(
            f"the ledger has no dead invocation {id!r}: name the function of its letter, as in"
            " ?function=NAME"
        )
    return NotFound(f"{function} has no dead letter {id!r}; GET /dead-letters lists them")


def _key_of(earlier: Invocation, asked: str | None, parameters: bytes | None) -> str:
    """The idempotency key of a replay: the same letter, device and parameters give the same."""
    told = f"{earlier.id}\n{earlier.message.attempt}\n{asked}\n{parameters is None}\n".encode()
    return f"dead-letter:{hashlib.sha256(told + (parameters or b'')).hexdigest()}"
