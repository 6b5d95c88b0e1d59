"""Looking for invocations among very many: newest first, page by page, never through all of them.

One condition is answered by an index, the others by looking at rows.  A page looks at so many rows
at most, and says so where it found too little among them; whoever wants more goes on from there.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Select, func, literal, null, select, tuple_
from sqlalchemy.sql.elements import ColumnElement

from runtime import rows
from runtime.database import Database
from runtime.errors import BadRequest
from runtime.lifeline import ReplicaLife
from runtime.model import Device, Invocation, Status
from runtime.roster import life_of
from runtime.schema import invocations, replicas

LOOKED_AT = 20_000  # rows of one page: some 20 ms
REPLAYS = 5000  # invocations among which replays of an earlier one are looked for
COUNTED = 1000  # new rows that are counted; more are just more
_IN_IDS = re.compile(r"[A-Za-z0-9_-]+")  # and all of these are before ~
_LARGE = ("parameters", "input_parts", "result", "result_part", "blobs", "log", "error")
_COLUMNS = [
    null().label(column.name) if column.name in _LARGE else column for column in invocations.columns
]

_Condition = ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which invocations to look for; None stands for any."""

    function: str | None = None
    status: Status | None = None
    device: Device | None = None
    cold: bool | None = None
    slower: float | None = None  # seconds from acceptance to the end, or until now, and more
    since: float | None = None  # unix seconds of acceptance, and later
    batch: str | None = None
    id: str | None = None  # the beginning of an id, or all of it

    @property
    def indexed(self) -> bool:
        """Whether an index answers it wholly, so that no row is looked at in vain."""
        return self.cold is None and self.slower is None and self.id is None


@dataclass(frozen=True, slots=True)
class Place:
    """Between two invocations in the order of a list: behind the one that is named."""

    created_at: float  # unix seconds
    id: str

    def __str__(self) -> str:
        return f"{self.created_at!r}:{self.id}"

    @classmethod
    def parse(cls, text: str) -> "Place":
        """What `str` gave; BadRequest for anything else."""
        at, colon, id = text.partition(":")
        try:
            created_at = float(at)
        except ValueError:
            created_at = math.nan
        if not colon or not id or not math.isfinite(created_at):
            raise BadRequest(
                f"{text[:80]!r} is no place in a list of invocations: take one that a list gave"
            )
        return cls(created_at, rows.storable(id))


@dataclass(frozen=True, slots=True)
class Found:
    """A page: what was found, and where to go on."""

    items: list[Invocation]  # newest first, without inputs, results, errors and logs
    older: Place | None  # None at the end
    looked_at: int | None = None  # rows, where those were too many to look at more


class Search:
    """Finds invocations in a ledger; `Ledger.search`."""

    def __init__(self, database: Database, looked_at: int = LOOKED_AT) -> None:
        self._database = database
        self._most = looked_at

    async def find(
        self, wanted: Wanted, now: float, before: Place | None = None, limit: int = 50
    ) -> Found:
        """At most `limit` of the newest that are wanted, behind a place if one is given.

        Those sought by their id are ordered by it, the highest first.  Unavailable where the ledger
        cannot be read.
        """
        led, order = _led(wanted), _order(wanted)
        low, high = _lowest(wanted), _highest(wanted)
        if before is not None and not _is_beyond(wanted, before):
            high = [_is_older(order, before)]
        rest = _rest(wanted, now)
        end = await self._end([*led, *low, *high], order, newest_first=True) if rest else None
        if end is not None:
            low = [~_is_older(order, end)]
        downwards = [column.desc() for column in order]
        query = select(*_COLUMNS).where(*led, *low, *high, *rest).order_by(*downwards)
        read = await self._database.read(query.limit(limit + 1))
        found = [rows.invocation_of(row) for row in read]
        page = found[:limit]
        if len(found) > limit:
            return Found(page, _place_of(page[-1]))
        return Found(page, end, self._most if end else None)

    async def newer(self, wanted: Wanted, than: Place, now: float) -> int:
        """How many that are wanted were accepted behind a place; COUNTED + 1 if more than COUNTED.

        Where few are, it looks at so many rows at most, the oldest first.
        """
        led, order = _led(wanted), _order(wanted)
        low, high = _lowest(wanted), _highest(wanted)
        if not _is_below(wanted, than):
            low = [_is_newer(order, than)]
        rest = _rest(wanted, now)
        end = await self._end([*led, *low, *high], order, newest_first=False) if rest else None
        if end is not None:
            high = [~_is_newer(order, end)]
        some = select(literal(1)).where(*led, *low, *high, *rest).limit(COUNTED + 1).subquery()
        ((count,),) = await self._database.read(select(func.count()).select_from(some))
        return int(count)

    async def replays_of(self, invocation: Invocation, limit: int = 5) -> list[str]:
        """Ids of invocations that were made of this one's input, the oldest first.

        Those among the first REPLAYS that were accepted of its function after it.
        """
        c = invocations.c
        wanted = Wanted(function=invocation.message.function)
        after = _is_newer(_order(wanted), _place_of(invocation))
        some = (
            select(c.id, c.replayed_from)
            .where(*_led(wanted), after)
            .order_by(*_order(wanted))
            .limit(REPLAYS)
            .subquery()
        )
        query = select(some.c.id).where(some.c.replayed_from == invocation.id).limit(limit)
        return [id for (id,) in await self._database.read(query)]

    async def replica(self, name: str, at: float) -> ReplicaLife | None:
        """The replica of this name that lived at an instant (unix seconds); None if none is known.

        Names are given anew after a start of the worker: so it is the latest that began before.
        """
        c = replicas.c
        latest = select(c.data).where(c.name == rows.storable(name), c.spawned_at <= at)
        found = await self._database.read(latest.order_by(c.spawned_at.desc()).limit(1))
        return life_of(orjson.loads(found[0].data)) if found else None

    async def _end(
        self, led: Sequence[_Condition], order: Sequence[ColumnElement[Any]], *, newest_first: bool
    ) -> Place | None:
        """The last row that is looked at; None where there are fewer."""
        directed = [column.desc() if newest_first else column.asc() for column in order]
        c = invocations.c
        query: Select[Any] = select(c.created_at, c.id).where(*led).order_by(*directed)
        found = await self._database.read(query.offset(self._most - 1).limit(1))
        return Place(*found[0]) if found else None


# A planner takes one lower and one upper bound of an index, and checks others row by row: so there
# is never more than one of each, the narrower.


def _led(wanted: Wanted) -> list[_Condition]:
    """The condition that an index answers, besides the bounds."""
    leading = None if wanted.id is not None else _leading(wanted)
    if leading is None:
        return []
    return [invocations.c[leading] == rows.storable(getattr(wanted, leading))]


def _order(wanted: Wanted) -> list[ColumnElement[Any]]:
    """The order in which that index has its rows."""
    c = invocations.c
    return [c.id] if wanted.id is not None else [c.created_at, c.id]


def _lowest(wanted: Wanted) -> list[_Condition]:
    c = invocations.c
    if wanted.id is not None:
        return [c.id >= _beginning(wanted.id)]
    return [] if wanted.since is None else [c.created_at >= wanted.since]


def _highest(wanted: Wanted) -> list[_Condition]:
    return [] if wanted.id is None else [invocations.c.id < f"{_beginning(wanted.id)}~"]


def _is_beyond(wanted: Wanted, place: Place) -> bool:
    """Whether a place is newer than all that is wanted."""
    return wanted.id is not None and place.id > f"{_beginning(wanted.id)}~"


def _is_below(wanted: Wanted, place: Place) -> bool:
    """Whether a place is older than all that is wanted."""
    if wanted.id is not None:
        return place.id < _beginning(wanted.id)
    return wanted.since is not None and place.created_at < wanted.since


def _beginning(id: str) -> str:
    """The beginning of an id as it is sought; one that no id has, where it is none."""
    return id if _IN_IDS.fullmatch(id) else "~"


def _leading(wanted: Wanted) -> str | None:
    """The column whose index is used: the one that most likely leaves the fewest rows."""
    if wanted.batch is not None:
        return "batch"
    if wanted.status is not None and (
        wanted.function is None or wanted.status is not Status.SUCCEEDED
    ):
        return "status"
    return "function" if wanted.function is not None else None


def _rest(wanted: Wanted, now: float) -> list[_Condition]:
    """The other conditions, written so that no index answers them: the rows are few already."""
    c = invocations.c
    by_id = wanted.id is not None
    led = None if by_id else _leading(wanted)
    rest: list[_Condition] = [
        func.coalesce(c[name], "") == rows.storable(value)
        for name in ("function", "status", "device", "batch")
        if (value := getattr(wanted, name)) is not None and name != led
    ]
    if wanted.cold is not None:
        rest.append(c.cold.is_(wanted.cold))
    if wanted.slower is not None:
        rest.append(func.coalesce(c.finished_at, now) - c.created_at >= wanted.slower)
    if by_id and wanted.since is not None:
        rest.append(func.coalesce(c.created_at, 0.0) >= wanted.since)
    return rest


def _is_older(order: Sequence[ColumnElement[Any]], place: Place) -> _Condition:
    """Older than a place; what is sought by its id lies in the order of ids."""
    if len(order) == 1:
        return order[0] < place.id
    return tuple_(*order) < tuple_(place.created_at, place.id)


def _is_newer(order: Sequence[ColumnElement[Any]], place: Place) -> _Condition:
    """Newer than a place."""
    if len(order) == 1:
        return order[0] > place.id
    return tuple_(*order) > tuple_(place.created_at, place.id)


def _place_of(invocation: Invocation) -> Place:
    return Place(invocation.message.created_at, invocation.id)
