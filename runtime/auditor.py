"""The audit across ledger and broker: whether what is not over is somewhere.

The ledger says what is unfinished, the broker what it holds.  While messages move, the two are
looked at in different instants, and a difference is only a number.  Once a function's queues have
been empty twice and nobody has anything of it in hand, what the ledger still waits for is lost, and
is named.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from runtime.audit import Audit
from runtime.brokers import Broker, Survey
from runtime.census import Oddity, Pending, Unfinished
from runtime.ledger import Ledger
from runtime.views import instant

SETTLED_AFTER = 10.0  # seconds since its acceptance after which an invocation must be somewhere
APART = 2.0  # seconds between the two looks
# Seconds more where others may have something in hand: workers tell of it every 2 seconds, and the
# server counts it every 5.
HEARSAY = 4.0
NAMED = 1000  # lost invocations, and rows that cannot be, that are named at most

MEMORY, MANAGEMENT, WORKERS = "the broker", "the management API", "the workers' announcements"


@dataclass(frozen=True, slots=True)
class Balance:
    """One queue: what the ledger waits for there, and what is there."""

    function: str
    device: str
    ledger: Unfinished
    ready: int | None  # None where there is no such queue
    leased: int

    @property
    def queue(self) -> str:
        return f"{self.function}.{self.device}"

    @property
    def held(self) -> int:
        return (self.ready or 0) + self.leased

    @property
    def missing(self) -> int:
        """Published and unfinished invocations that are not in it."""
        return max(0, self.ledger.queued + self.ledger.running - self.held)


@dataclass(frozen=True, slots=True)
class Reckoning:
    """What an audit found."""

    audit: Audit
    odd: tuple[Oddity, ...] = ()
    balances: tuple[Balance, ...] | None = None  # None where there is no broker to ask
    between: Mapping[str, int] | None = None
    leased_from: str | None = None  # who says what is leased
    lost: tuple[Pending, ...] = ()
    repaired: tuple[str, ...] = ()  # ids

    @property
    def holds(self) -> bool:
        return self.audit.holds and not self.odd and not self.lost

    @property
    def missing(self) -> int:
        return sum(balance.missing for balance in self.balances or ())


@dataclass(frozen=True, slots=True)
class _Look:
    survey: Survey
    leased: dict[str, int]  # by whoever knows
    moving: bool  # something is between two queues, or the broker takes nothing just now

    def is_empty(self, queues: Iterable[str]) -> bool:
        """Whether nothing is there, in hand, or on its way there."""
        held = any(self.survey.ready.get(each, 0) + self.leased.get(each, 0) for each in queues)
        return not held and not self.moving


class Auditor:
    """Audits a ledger and the broker that carries its invocations; one audit at a time.

    `settle` has this process write what it was told; `queues` are those of the functions that are
    known; `in_hand` is what workers have taken, by queue, where the broker cannot tell that.
    """

    def __init__(
        self,
        ledger: Ledger,
        broker: Broker,
        *,
        queues: Callable[[], Iterable[str]],
        settle: Callable[[], Awaitable[None]],
        in_hand: Callable[[], Mapping[str, int]] = dict,
        blocked: Callable[[], bool] = lambda: False,
        forget: Callable[[str], object] = lambda id: None,
    ) -> None:
        self._ledger = ledger
        self._broker = broker
        self._queues = queues
        self._settle = settle
        self._in_hand = in_hand
        self._blocked = blocked  # whether the broker takes nothing now
        self._forget = forget  # an invocation of this process that is to be queued anew
        self._one = asyncio.Lock()

    async def reckon(self, *, repair: bool = False) -> Reckoning:
        """Compare both; it takes some seconds more where something may be lost.

        With `repair`, what is lost is put into its queue once more.
        """
        async with self._one:
            await self._settle()
            audit = await self._ledger.audit()
            odd = await self._ledger.census.odd(NAMED)
            look, balances = await self._look()
            lost = await self._lost(look, balances)
            repaired = await self._repair(lost) if repair else []
        return Reckoning(
            audit,
            tuple(odd),
            tuple(balances),
            look.survey.between,
            _who_said(look.survey),
            tuple(lost),
            tuple(repaired),
        )

    async def _look(self) -> tuple[_Look, list[Balance]]:
        unfinished = await self._ledger.census.unfinished()
        known = {(name.rpartition(".")[0], name.rpartition(".")[2]) for name in self._queues()}
        places = sorted(known | unfinished.keys())
        survey = await self._broker.survey([f"{name}.{device}" for name, device in places])
        leased = dict(self._in_hand())
        for queue, count in (survey.leased or {}).items():  # statistics are a few seconds old
            leased[queue] = max(count, leased.get(queue, 0))
        look = _Look(survey, leased, any(survey.between.values()) or self._blocked())
        return look, [_balance(*place, unfinished.get(place), look) for place in places]

    async def _lost(self, first: _Look, balances: list[Balance]) -> list[Pending]:
        """What is unfinished and nowhere, at two looks."""
        functions = {each.function for each in balances if each.missing}
        empty = {name for name in functions if first.is_empty(_queues_of(name, balances))}
        before = time.time() - SETTLED_AFTER
        suspects = await self._ledger.census.pending(empty, before, NAMED)
        if not suspects:
            return []
        await asyncio.sleep(APART + (HEARSAY if first.survey.between else 0.0))
        second, _ = await self._look()
        await self._settle()
        still = await self._ledger.census.pending_among(suspects)
        return [
            suspect
            for id, suspect in suspects.items()
            if still.get(id) == suspect and second.is_empty(_queues_of(suspect.function, balances))
        ]

    async def _repair(self, lost: list[Pending]) -> list[str]:
        ids = await self._ledger.census.unpublish([each.id for each in lost])
        for id in ids:
            self._forget(id)
        return ids


def _balance(function: str, device: str, unfinished: Unfinished | None, look: _Look) -> Balance:
    queue = f"{function}.{device}"
    ready, leased = look.survey.ready.get(queue), look.leased.get(queue, 0)
    return Balance(function, device, unfinished or Unfinished(), ready, leased)


def _queues_of(function: str, balances: Iterable[Balance]) -> list[str]:
    return [each.queue for each in balances if each.function == function]


def _who_said(survey: Survey) -> str:
    if survey.leased is None:
        return WORKERS
    return MANAGEMENT if survey.between else MEMORY


def reckoning_view(found: Reckoning) -> dict[str, Any]:
    """An audit as the API shows it."""
    audit = found.audit
    return {
        "holds": found.holds,
        "accepted": audit.accepted,
        "by_status": {status.value: count for status, count in audit.by_status.items()},
        "purged": audit.purged,
        "ignored_outcomes": audit.ignored,
        "problems": [*audit.problems, *_sentences(found)],
        "queues": None if found.balances is None else [_balance_view(b) for b in found.balances],
        "between": found.between,
        "leased_from": found.leased_from,
        "missing": found.missing,
        "explanation": explanation(found),
        "lost": [_lost_view(each) for each in found.lost],
        "odd": [{"id": each.id, "what": each.what} for each in found.odd],
        "repaired": list(found.repaired),
    }


def explanation(found: Reckoning) -> str | None:
    """Why the broker holds less than the ledger waits for, as far as that is known."""
    if not found.missing:
        return None
    if found.lost:
        return "nothing was in their queues, in hand or on its way, twice"
    between = {name: count for name, count in (found.between or {}).items() if count}
    absent = [each.queue for each in found.balances or () if each.missing and each.ready is None]
    told = [", ".join(f"{count:,} in {name}" for name, count in between.items())] if between else []
    if absent:
        told.append(f"there is no queue {', '.join(absent)}")
    told.append("messages move between the two looks; ask again once the queues are empty")
    return "; ".join(told)


def _sentences(found: Reckoning) -> list[str]:
    told = [f"{each.id}: {each.what}" for each in found.odd]
    told += [
        f"{each.id} is {each.status}, and no message of it is anywhere"
        f" ({each.function}.{each.device}, attempt {each.attempt})"
        for each in found.lost
    ]
    return told


def _balance_view(balance: Balance) -> dict[str, Any]:
    return {
        "queue": balance.queue,
        "queued": balance.ledger.queued,
        "running": balance.ledger.running,
        "unpublished": balance.ledger.unpublished,
        "ready": balance.ready,
        "leased": balance.leased,
        "missing": balance.missing,
    }


def _lost_view(lost: Pending) -> dict[str, Any]:
    return {
        "id": lost.id,
        "function": lost.function,
        "device": lost.device,
        "status": lost.status,
        "attempt": lost.attempt,
        "created_at": instant(lost.created_at),
    }
