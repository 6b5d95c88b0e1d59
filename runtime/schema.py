"""The ledger's tables, and what else than invocations lies in them.

Instants are unix seconds.  What is JSON already (parameters, a JSON result) is stored as the text
it came as, never parsed; other bytes are never stored here, only the key of their blob.

Whoever changes a table adds a revision to `runtime/migrations`, and names it in REVISION.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.sql.expression import TextClause

from runtime.model import TERMINAL, Device, Status

REVISION = "0003"  # of `runtime/migrations`, the newest: it makes what is described here


def _none_of(statuses: Collection[Status]) -> str:
    return "status NOT IN ({})".format(", ".join(f"'{status}'" for status in sorted(statuses)))


# Spelled out rather than bound, because a planner uses a partial index only where the query says
# literally what the index says; and "none of the others" rather than "one of these", because SQLite
# would answer the latter from by_status and sort.
UNFINISHED = text(_none_of(TERMINAL))
FINISHED = text(_none_of(set(Status) - TERMINAL))
UNPUBLISHED = text(f"NOT published AND {_none_of(set(Status) - {Status.QUEUED})}")
SUCCEEDED = text(f"status = '{Status.SUCCEEDED}'")
UNSENT = text("NOT finished")
HAS_KEY = text("idempotency_key IS NOT NULL")
IN_BATCH = text("batch IS NOT NULL")
# When an invocation ended: outcomes say so themselves, but nothing here forces them to.
ENDED_AT = text("coalesce(finished_at, created_at)")

metadata = MetaData()

# Compared byte by byte, as Python and SQLite do, whatever language a PostgreSQL database speaks.
_TEXT = Text(collation="C").with_variant(Text(), "sqlite")
_INTEGER = BigInteger().with_variant(Integer(), "sqlite")


def _index(
    name: str, *columns: str | TextClause, where: TextClause | None = None, unique: bool = False
) -> Index:
    return Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


invocations = Table(
    "invocations",
    metadata,
    # What never changes after acceptance: `rows.origin` makes these.
    Column("id", _TEXT, primary_key=True),
    Column("function", _TEXT, nullable=False),
    Column("requested_device", _TEXT, nullable=False),
    Column("version", _TEXT, nullable=False),
    Column("priority", _INTEGER, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("parameters", _TEXT),  # JSON; null when it lies in the blob store at input_key
    Column("input_key", _TEXT),
    Column("input_parts", _TEXT),  # JSON: [{name, media_type, size, key}]
    Column("idempotency_key", _TEXT),
    Column("fingerprint", _TEXT),
    Column("replayed_from", _TEXT),
    Column("traceparent", _TEXT),
    Column("callback", _TEXT),  # URL
    Column("batch", _TEXT),
    Column("batch_index", _INTEGER),
    # What changes until the status is terminal: `rows.state` makes these.
    Column("status", _TEXT, nullable=False),
    Column("published", Boolean, nullable=False, server_default=text("true")),
    Column("device", _TEXT, nullable=False),  # changes when a GPU's out-of-memory goes to the CPU
    Column("attempt", _INTEGER, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("timings", _TEXT),  # JSON: seconds by phase
    Column("cold", Boolean, nullable=False),
    Column("replica", _TEXT),
    Column("error", _TEXT),  # JSON: {type, message, traceback, details}
    Column("result", _TEXT),  # the JSON a function returned, where it is inline
    Column("result_part", _TEXT),  # JSON: {name, media_type, size, key}
    Column("blobs", _TEXT),  # JSON: [{name, media_type, size, key}]
    Column("log", _TEXT),
    # Lists are newest first; ids alone would do, were there not those that callers choose.
    _index("by_creation", "created_at", "id"),
    _index("by_function", "function", "created_at", "id"),
    _index("by_status", "status", "created_at", "id"),
    _index("by_batch", "batch", "created_at", "id", where=IN_BATCH),
    _index("by_batch_status", "batch", "status", "batch_index", where=IN_BATCH),
    _index("by_end", ENDED_AT, "id", where=FINISHED),
    _index("unfinished", "id", where=UNFINISHED),
    _index("unpublished", "batch", "created_at", "id", where=UNPUBLISHED),
    _index("samples", "function", "device", "id", where=SUCCEEDED),
    _index("by_idempotency_key", "idempotency_key", where=HAS_KEY, unique=True),
)

attempts = Table(
    "attempts",
    metadata,
    Column("invocation", _TEXT, primary_key=True),
    Column("attempt", _INTEGER, primary_key=True, autoincrement=False),
    Column("replica", _TEXT),
    Column("device", _TEXT, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("error", _TEXT),
)

# One for each invocation that has a callback, made with its row.
callbacks = Table(
    "callbacks",
    metadata,
    Column("invocation", _TEXT, primary_key=True),
    Column("url", _TEXT, nullable=False),
    Column("attempts", _INTEGER, nullable=False),
    Column("status_code", _INTEGER),
    Column("error", _TEXT),
    Column("finished", Boolean, nullable=False),
    Column("updated_at", Double, nullable=False),
    _index("unsent_callbacks", "updated_at", "invocation", where=UNSENT),
)

batches = Table(
    "batches",
    metadata,
    Column("id", _TEXT, primary_key=True),
    Column("function", _TEXT, nullable=False),
    Column("requested_device", _TEXT, nullable=False),
    Column("total", _INTEGER),
    Column("state", _TEXT, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("idempotency_key", _TEXT),
    Column("fingerprint", _TEXT),
    _index("batches_by_creation", "created_at", "id"),
    _index("batches_by_idempotency_key", "idempotency_key", where=HAS_KEY, unique=True),
)

# Dead letters that somebody has dealt with; those of other dead invocations are still there.
settled_letters = Table(
    "settled_letters",
    metadata,
    Column("invocation", _TEXT, primary_key=True),
    Column("settled_at", Double, nullable=False),
    Column("replayed_as", _TEXT),  # the invocation that was made of it; null where it was discarded
)

# What only one process at a time does, and who does it until when.
leases = Table(
    "leases",
    metadata,
    Column("name", _TEXT, primary_key=True),
    Column("holder", _TEXT, nullable=False),
    Column("until", Double, nullable=False),
)

decisions = Table(
    "decisions",
    metadata,
    Column("number", _INTEGER, primary_key=True),
    Column("at", Double, nullable=False),
    Column("function", _TEXT, nullable=False),
    Column("device", _TEXT, nullable=False),
    Column("before", _INTEGER, nullable=False),
    Column("after", _INTEGER, nullable=False),
    Column("reason", _TEXT, nullable=False),
    Column("backlog", _INTEGER, nullable=False),
    _index("decisions_by_function", "function", "number"),
)

# A tally of what was done, kept beside the rows: the audit's second witness.  It is kept in parts,
# whose sum counts, so that processes which write at once need not wait for one another.
totals = Table(
    "totals",
    metadata,
    Column("name", _TEXT, primary_key=True),
    Column("part", _INTEGER, primary_key=True, autoincrement=False),
    Column("count", _INTEGER, nullable=False),
)

# What happened in stretches of time, by function and device (`runtime.rollup`), in as many rows as
# there were writers: they add up.  A writer writes a row again with all that it knows by then.
rollups = Table(
    "rollups",
    metadata,
    Column("width", _INTEGER, primary_key=True, autoincrement=False),  # seconds
    Column("at", _INTEGER, primary_key=True, autoincrement=False),  # where the stretch begins
    Column("function", _TEXT, primary_key=True),
    Column("device", _TEXT, primary_key=True),
    Column("writer", _TEXT, primary_key=True),
    Column("data", _TEXT, nullable=False),  # JSON of a `rollup.Cell`
    sqlite_with_rowid=False,  # they are read by time, and so lie together by time
)

# Replicas that there were; `ended_at` is null while one lives.
replicas = Table(
    "replicas",
    metadata,
    Column("name", _TEXT, primary_key=True),
    Column("spawned_at", Double, primary_key=True),
    Column("function", _TEXT, nullable=False),
    Column("device", _TEXT, nullable=False),
    Column("data", _TEXT, nullable=False),  # JSON of a `lifeline.ReplicaLife`
    Column("ended_at", Double),
    Column("seen_at", Double, nullable=False),  # when it was last known to live, or to have ended
    _index("replicas_by_end", "ended_at"),
)

# API keys (`runtime.keys`), of which only hashes are kept; one that is revoked stays, as a record.
keys = Table(
    "keys",
    metadata,
    Column("id", _TEXT, primary_key=True),
    Column("name", _TEXT, nullable=False),
    Column("hash", _TEXT, nullable=False),
    Column("session_hash", _TEXT, nullable=False),
    Column("scopes", _TEXT, nullable=False),  # by space
    Column("created_at", Double, nullable=False),
    Column("rate", Double),  # invocations a second; null is any number
    Column("expires_at", Double),
    Column("revoked_at", Double),
    Column("last_used_at", Double),
)

# Alembic's, and like it: which revision this is.
revisions = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


@dataclass(frozen=True, slots=True)
class ScalingDecision:
    """A change of the number of replicas, and why."""

    at: float  # unix seconds
    function: str
    device: Device
    before: int  # replicas
    after: int
    reason: str
    backlog: int  # messages, ready and unacknowledged


class BatchState(StrEnum):
    """Where a batch is; its invocations are published only once it is accepted."""

    ACCEPTING = "accepting"  # its items still come in
    ACCEPTED = "accepted"  # all of them are durable, and its caller was told so
    CANCELLED = "cancelled"  # somebody asked for it to stop
    DROPPED = "dropped"  # it was never accepted, and its invocations are being taken away


@dataclass(frozen=True, slots=True)
class Batch:
    """Many inputs of one function, accepted as one."""

    id: str
    function: str
    requested_device: str
    created_at: float  # unix seconds
    state: BatchState = BatchState.ACCEPTING
    total: int | None = None  # items; None until all are there
    idempotency_key: str | None = None
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class CallbackRecord:
    """How far the callback of an invocation has come."""

    invocation: str
    url: str
    updated_at: float  # unix seconds
    attempts: int = 0  # made until now
    status_code: int | None = None  # of the last answer, where there was one
    error: str | None = None  # why the last attempt failed
    finished: bool = False  # delivered, or given up


COLUMNS = tuple(column.name for column in invocations.columns)
STATE = COLUMNS[COLUMNS.index("status") :]  # in the order of `rows.state`


def row_of(record: Batch | CallbackRecord | ScalingDecision) -> dict[str, Any]:
    """A record's columns by name, which are its fields."""
    return {name: getattr(record, name) for name in type(record).__slots__}
