"""The ledger's tables, and how an invocation becomes a row and a row an invocation.

Instants are unix seconds.  What is JSON already (parameters, a JSON result) is stored as the text
it came as, never parsed; other bytes are never stored here, only the key of their blob.
"""

from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import (
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    Row,
    Table,
    Text,
    text,
)

from runtime import lenient
from runtime.model import (
    JSON,
    TERMINAL,
    Attempt,
    Device,
    Failure,
    Invocation,
    Message,
    Part,
    Payload,
    Status,
)

VERSION = 1  # of the schema; a ledger of a newer one is not opened

# Spelled out rather than bound, because a planner uses a partial index only where the query says
# literally what the index says; and "not terminal" rather than "queued or running", because SQLite
# would answer the latter from by_status and sort.
UNFINISHED = text("status NOT IN ({})".format(", ".join(f"'{s}'" for s in sorted(TERMINAL))))
SUCCEEDED = text(f"status = '{Status.SUCCEEDED}'")

metadata = MetaData()

invocations = Table(
    "invocations",
    metadata,
    # What never changes after acceptance: `origin` makes these.
    Column("id", Text, primary_key=True),
    Column("function", Text, nullable=False),
    Column("requested_device", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("parameters", Text),  # JSON; null when it lies in the blob store at input_key
    Column("input_key", Text),
    Column("input_parts", Text),  # JSON: [{name, media_type, size, key}]
    Column("idempotency_key", Text),
    Column("fingerprint", Text),
    Column("replayed_from", Text),
    Column("traceparent", Text),
    # What changes until the status is terminal: `state` makes these.
    Column("status", Text, nullable=False),
    Column("device", Text, nullable=False),  # changes when a GPU's out-of-memory goes to the CPU
    Column("attempt", Integer, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("timings", Text),  # JSON: seconds by phase
    Column("cold", Boolean, nullable=False),
    Column("replica", Text),
    Column("error", Text),  # JSON: {type, message, traceback, details}
    Column("result", Text),  # the JSON a function returned, where it is inline
    Column("result_part", Text),  # JSON: {name, media_type, size, key}
    Column("blobs", Text),  # JSON: [{name, media_type, size, key}]
    Column("log", Text),
    # Lists are newest first; ids alone would do, were there not those that callers choose.
    Index("by_creation", "created_at", "id"),
    Index("by_function", "function", "created_at", "id"),
    Index("by_status", "status", "created_at", "id"),
    Index("unfinished", "id", sqlite_where=UNFINISHED),
    Index(
        "samples",
        "function",
        "device",
        "id",
        sqlite_where=SUCCEEDED,
    ),
    Index(
        "by_idempotency_key",
        "idempotency_key",
        unique=True,
        sqlite_where=text("idempotency_key IS NOT NULL"),
    ),
)

attempts = Table(
    "attempts",
    metadata,
    Column("invocation", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("replica", Text),
    Column("device", Text, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("error", Text),
)

decisions = Table(
    "decisions",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("at", Double, nullable=False),
    Column("function", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("before", Integer, nullable=False),
    Column("after", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("backlog", Integer, nullable=False),
    Index("decisions_by_function", "function", "number"),
)

# A tally of what was done, kept beside the rows: the audit's second witness.
totals = Table(
    "totals",
    metadata,
    Column("name", Text, primary_key=True),
    Column("count", Integer, nullable=False),
)

meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
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


_COLUMNS = tuple(column.name for column in invocations.columns)
STATE = _COLUMNS[_COLUMNS.index("status") :]  # in the order of `state`


def origin(invocation: Invocation) -> tuple[Any, ...]:
    """The columns before `status`, in the table's order, ready for JSON."""
    message = invocation.message
    payload = message.payload
    return (
        message.id,
        message.function,
        invocation.requested_device,
        invocation.version,
        message.priority,
        message.created_at,
        None if payload.parameters is None else _text(payload.parameters),
        payload.key,
        [_part(part) for part in payload.parts] or None,
        invocation.idempotency_key,
        invocation.fingerprint,
        invocation.replayed_from,
        message.traceparent,
    )


def state(invocation: Invocation) -> tuple[Any, ...]:
    """The columns from `status` on, in the table's order, ready for JSON."""
    message, result, log = invocation.message, invocation.result, invocation.log
    return (
        invocation.status,
        message.device,
        message.attempt,
        invocation.started_at,
        invocation.finished_at,
        invocation.timings,
        invocation.cold,
        invocation.replica,
        _failure_row(invocation.error),
        None if result is None else _inline(result),
        None if result is None else _part(result),
        [_part(part) for part in invocation.blobs] or None,
        None if log is None else _without_nul(log),
    )


def attempt_row(attempt: Attempt) -> tuple[Any, ...]:
    """The columns of `attempts`, in the table's order, ready for JSON."""
    return (
        attempt.invocation,
        attempt.attempt,
        attempt.replica,
        attempt.device,
        attempt.started_at,
        attempt.finished_at,
        _failure_row(attempt.error),
    )


def _failure_row(error: Failure | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {
        "type": error.type,
        "message": error.message,
        "traceback": error.traceback,
        "details": error.details,
    }


def encode(rows: list[tuple[Any, ...]]) -> str:
    """The rows as one JSON array of arrays.

    Always succeeds: what JSON cannot hold (a lone surrogate in a message, a huge number in an
    error's details) is replaced, because one odd row must not keep the others from being written.
    """
    return lenient.dumps(rows).decode()


def invocation_of(row: Row[Any]) -> Invocation:
    """The invocation a row holds; where `result` was not read, its result has no data."""
    return Invocation(
        message=Message(
            id=row.id,
            function=row.function,
            device=row.device,
            payload=Payload(
                parameters=None if row.parameters is None else row.parameters.encode(),
                parts=_parts_of(row.input_parts),
                key=row.input_key,
            ),
            created_at=row.created_at,
            attempt=row.attempt,
            priority=row.priority,
            traceparent=row.traceparent,
        ),
        requested_device=row.requested_device,
        version=row.version,
        status=Status(row.status),
        started_at=row.started_at,
        finished_at=row.finished_at,
        timings=None if row.timings is None else orjson.loads(row.timings),
        cold=row.cold,
        replica=row.replica,
        error=_failure_of(row.error),
        result=_result_of(row),
        blobs=_parts_of(row.blobs),
        log=row.log,
        idempotency_key=row.idempotency_key,
        fingerprint=row.fingerprint,
        replayed_from=row.replayed_from,
    )


def attempt_of(row: Row[Any]) -> Attempt:
    """The attempt a row holds."""
    return Attempt(
        invocation=row.invocation,
        attempt=row.attempt,
        replica=row.replica,
        device=row.device,
        started_at=row.started_at,
        finished_at=row.finished_at,
        error=_failure_of(row.error),
    )


def _failure_of(error: str | None) -> Failure | None:
    return None if error is None else Failure(**orjson.loads(error))


def _part(part: Part) -> dict[str, Any]:
    return {
        "name": part.name,
        "media_type": part.media_type,
        "size": part.size,
        "key": part.key,
    }


def _inline(result: Part) -> str | None:
    inline = result.data is not None and result.media_type == JSON
    return _text(result.data) if inline and result.data is not None else None


def _parts_of(column: str | None) -> tuple[Part, ...]:
    return () if column is None else tuple(Part(**part) for part in orjson.loads(column))


def _result_of(row: Row[Any]) -> Part | None:
    if row.result_part is None:
        return None
    data = None if row.result is None else row.result.encode()
    return Part(**orjson.loads(row.result_part), data=data)


def _text(data: bytes) -> str:
    return _without_nul(data.decode("utf-8", "replace"))


def _without_nul(value: str) -> str:
    # SQLite's json_extract cuts a text at a NUL (3.40 does), and PostgreSQL's text takes none.
    return value.replace("\0", "\ufffd") if "\0" in value else value
