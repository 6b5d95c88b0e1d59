"""Replicas that a ledger remembers: what each did, as its gateway last told it."""

from collections.abc import Iterable
from dataclasses import replace

import orjson
from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime import rows
from runtime.database import Database
from runtime.lifeline import MAX_SEGMENTS, ReplicaLife
from runtime.roster import life_of, said_of
from runtime.rows import Values
from runtime.schema import replicas

SILENT = 15.0  # seconds without a word, and a replica counts as gone since the last one
MOST = 500  # at once: the newest

_KEY = ("name", "spawned_at")
_COLUMNS = ("function", "device", "data", "ended_at", "seen_at")


class Replicas:
    """The replicas there were; `Ledger.replicas`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._put = database.dialect.put(replicas, _KEY, _COLUMNS)
        self._read: dict[tuple[str, float], tuple[str, ReplicaLife]] = {}

    async def keep(self, lives: Iterable[ReplicaLife], now: float) -> None:
        """Write what these are known to have done by now (unix seconds); Unavailable if it fails.

        What was written of them before is replaced.
        """
        given = [_row(life, now) for life in lives]

        async def put(connection: AsyncConnection) -> None:
            # One after another for ever, where several gateways write the same ones.
            await connection.exec_driver_sql(self._put, (rows.encode(sorted(given)),))

        if given:
            await self._database.write(put)

    async def since(self, at: float, now: float) -> list[ReplicaLife]:
        """Those that were alive at any time since an instant (unix seconds), the newest first.

        At most MOST of them.  One that never ended, and was not heard of for a while, ended when
        it was last heard of.
        """
        c = replicas.c
        alive = or_(c.ended_at >= at, and_(c.ended_at.is_(None), c.seen_at >= at))
        query = select(c.name, c.spawned_at, c.data, c.seen_at).where(alive)
        newest_first = query.order_by(c.spawned_at.desc(), c.name).limit(MOST)
        read: dict[tuple[str, float], tuple[str, ReplicaLife]] = {}
        found = []
        for name, spawned_at, data, seen_at in await self._database.read(newest_first):
            known, life = self._read.get((name, spawned_at), (None, None))
            if life is None or known != data:
                life = life_of(orjson.loads(data))
            read[name, spawned_at] = (data, life)
            found.append(life if seen_at >= now - SILENT else ended_when_last_seen(life, seen_at))
        self._read = read
        return found


def ended_when_last_seen(life: ReplicaLife, seen_at: float) -> ReplicaLife:
    """A replica that nobody has told of since, as one that ended then."""
    if life.ended_at is not None:
        return life
    segments = life.segments
    if segments:
        last = segments[-1]
        segments = (*segments[:-1], replace(last, end=max(last.start, seen_at)))
    return replace(
        life,
        state="ended",
        ended_at=seen_at,
        memory=0,
        ending="not heard of since",
        segments=segments,
    )


def _row(life: ReplicaLife, now: float) -> Values:
    data = orjson.dumps(said_of(life, MAX_SEGMENTS)).decode()
    seen_at = now if life.ended_at is None else life.ended_at
    return (
        life.name,
        life.spawned_at,
        life.function,
        life.device,
        data,
        life.ended_at,
        seen_at,
    )
