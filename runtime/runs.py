"""The latest runs that succeeded, with what makes them comparable: `Ledger.runs`.

Only the columns that this takes are read, and of long inputs nothing: it is asked every few
seconds, beside what callers wait for.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import case, func, select, text, tuple_

from runtime import rows, schema
from runtime.database import Database
from runtime.devices import simulates
from runtime.model import DEVICES, Device, Status
from runtime.schema import invocations

MAX_PARAMETERS = 64 * 1024  # characters of JSON; what is longer is not read
MAX_PART = 5000  # rows of those that arrived that are read at once
RAN = (Status.SUCCEEDED, Status.FAILED, Status.TIMED_OUT)  # to an end, on a replica
MAX_ENDED = 2000  # of those that ended lately: whose functions are told


@dataclass(frozen=True, slots=True)
class Run:
    """One invocation that succeeded."""

    id: str
    version: str  # of the function's code
    run: float  # seconds in the replica; 0 where it is not known
    simulated: bool  # on a GPU that is a CPU


@dataclass(frozen=True, slots=True)
class Arrived:
    """One that ran to its end: when it was accepted (unix seconds), and its timings as JSON."""

    at: float
    timings: str | None
    cold: bool


@dataclass(frozen=True, slots=True)
class RunInput:
    """What a run was given, as far as it is short enough to be looked at."""

    parameters: bytes | None  # a JSON object; None where it is too long
    uploads: tuple[tuple[str, int, str | None], ...]  # name, bytes, blob key


class Runs:
    """Reads runs that succeeded."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ended_since(self, at: float) -> set[tuple[str, Device]]:
        """Functions and devices of those that succeeded since an instant (unix seconds).

        Of the latest 2000 that ended, so that a busy function may hide a quiet one.
        """
        c = invocations.c
        latest = (
            select(c.function, c.device, c.status)
            .where(schema.FINISHED, text(f"{schema.ENDED_AT} >= :since"))
            .order_by(text(f"{schema.ENDED_AT} DESC"), c.id.desc())
            .limit(MAX_ENDED)
            .subquery()
        )
        query = (
            select(latest.c.function, latest.c.device)
            .where(latest.c.status == Status.SUCCEEDED)
            .distinct()
        )
        found = await self._database.read(query, {"since": at})
        known = {device: device for device in DEVICES}
        return {(row.function, known[row.device]) for row in found if row.device in known}

    async def latest(self, function: str, device: Device, limit: int) -> list[Run]:
        """The latest that succeeded, newest first."""
        c = invocations.c
        query = (
            select(c.id, c.version, c.replica, c.timings)
            .where(c.function == function, c.device == device, schema.SUCCEEDED)
            .order_by(c.id.desc())
            .limit(limit)
        )
        found = await self._database.read(query)
        return [
            Run(row.id, row.version, _seconds(row.timings), simulates(row.replica)) for row in found
        ]

    async def arrived(
        self, function: str, device: Device, since: float, limit: int
    ) -> list[Arrived]:
        """Those accepted since an instant (unix seconds) that ran to an end, newest first.

        At most `limit`, read in parts, so that others may read between them.
        """
        c = invocations.c
        found: list[Arrived] = []
        last: tuple[float, str] | None = None
        while len(found) < limit:
            part = min(MAX_PART, limit - len(found))
            query = (
                select(c.created_at, c.id, c.timings, c.cold)
                .where(c.function == function, c.device == device, c.created_at >= since)
                .where(c.status.in_(RAN))
                .order_by(c.created_at.desc(), c.id.desc())
                .limit(part)
            )
            if last is not None:
                query = query.where(tuple_(c.created_at, c.id) < tuple_(*last))
            read = await self._database.read(query)
            found += [Arrived(row.created_at, row.timings, bool(row.cold)) for row in read]
            if len(read) < part:
                break
            last = (read[-1].created_at, read[-1].id)
        return found

    async def inputs(self, ids: Collection[str]) -> dict[str, RunInput]:
        """What these were given, by id; those that are gone are left out."""
        if not ids:
            return {}
        c = invocations.c
        short = case((func.length(c.parameters) <= MAX_PARAMETERS, c.parameters))
        among = self._database.dialect.among(str(c.id), ":among")
        query = select(c.id, short.label("parameters"), c.input_parts).where(
            text(among).bindparams(among=rows.encode(sorted(ids)))
        )
        return {row.id: _input(row) for row in await self._database.read(query)}


def _seconds(timings: str | None) -> float:
    return float(orjson.loads(timings).get("run", 0.0)) if timings else 0.0


def _input(row: Any) -> RunInput:
    parts = orjson.loads(row.input_parts) if row.input_parts else ()
    uploads = tuple((part["name"], int(part["size"]), part.get("key")) for part in parts)
    return RunInput(row.parameters.encode() if row.parameters is not None else None, uploads)
