"""How an invocation becomes a row of the ledger, and a row an invocation.

Rows travel to the database many at a time, as one JSON array of arrays.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
from sqlalchemy import Row

from runtime import lenient
from runtime.model import (
    JSON,
    Attempt,
    Failure,
    Invocation,
    Message,
    Part,
    Payload,
    Status,
)
from runtime.schema import FINISHED

Values = tuple[Any, ...]  # of one row, ready for JSON

_NUL = "\\u0000"  # as JSON spells it


def origin(invocation: Invocation) -> Values:
    """The columns before `status`, in the table's order."""
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
        _json([_part(part) for part in payload.parts]) if payload.parts else None,
        invocation.idempotency_key,
        invocation.fingerprint,
        invocation.replayed_from,
        message.traceparent,
        invocation.callback,
        invocation.batch,
        invocation.batch_index,
    )


def state(invocation: Invocation) -> Values:
    """The columns from `status` on, in the table's order."""
    message, result, timings = invocation.message, invocation.result, invocation.timings
    return (
        invocation.status,
        invocation.published,
        message.device,
        message.attempt,
        invocation.started_at,
        invocation.finished_at,
        None if timings is None else _json(timings),
        invocation.cold,
        invocation.replica,
        _failure_row(invocation.error),
        None if result is None else _inline(result),
        None if result is None else _json(_part(result)),
        _json([_part(part) for part in invocation.blobs]) if invocation.blobs else None,
        invocation.log,
    )


def attempt_row(attempt: Attempt) -> Values:
    """The columns of `attempts`, in the table's order."""
    return (
        attempt.invocation,
        attempt.attempt,
        attempt.replica,
        attempt.device,
        attempt.started_at,
        attempt.finished_at,
        _failure_row(attempt.error),
    )


def encode(rows: Sequence[Values | str]) -> str:
    """The rows as one JSON array of arrays, or texts as an array of them.

    Always succeeds: what a database cannot hold in a text (a lone surrogate, a NUL) is replaced,
    because one odd row must not keep the others from being written.
    """
    try:
        text = orjson.dumps(rows).decode()
    except TypeError:
        return orjson.dumps(_clean_rows(rows)).decode()
    # PostgreSQL takes no NUL, and SQLite's json_extract cuts a text there (3.40 does).  JSON inside
    # a text may well hold it, escaped once more; then the rows are just looked at one by one.
    return orjson.dumps(_clean_rows(rows)).decode() if _NUL in text else text


def storable(text: str) -> str:
    """A text as it is stored: what a database cannot hold in one is replaced."""
    return _without_surrogates(text).replace("\0", "\N{REPLACEMENT CHARACTER}")


def is_newer(late: Invocation, early: Invocation) -> bool:
    """Whether a later report of an invocation tells more than an earlier one.

    The same rule holds for what is in the ledger already: the first terminal status stays, and
    none is changed by an earlier attempt, nor `running` by `queued` of the same one.
    """
    if early.terminal or late.terminal:
        return not early.terminal
    if late.message.attempt != early.message.attempt:
        return late.message.attempt > early.message.attempt
    return not (late.status is Status.QUEUED and early.status is Status.RUNNING)


# The same in SQL: may `v`, which came later, replace the row of `invocations`?
NEWER = (
    f"(v.{FINISHED.text}"
    " OR v.attempt > invocations.attempt"
    " OR v.attempt = invocations.attempt"
    f" AND NOT (v.status = '{Status.QUEUED}' AND invocations.status = '{Status.RUNNING}'))"
)


def merged(early: Invocation, late: Invocation) -> Invocation:
    """Two reports of one invocation as one: the newer state, and the input of whichever has it."""
    if early is late:
        return late
    newer = late if is_newer(late, early) else early
    has_input = late if late.message.unrecorded and not early.message.unrecorded else early
    published = early.published or late.published
    if newer is has_input:
        return newer if newer.published == published else replace(newer, published=published)
    return replace(
        has_input,
        message=replace(
            has_input.message, device=newer.message.device, attempt=newer.message.attempt
        ),
        status=newer.status,
        published=published,
        started_at=newer.started_at,
        finished_at=newer.finished_at,
        timings=newer.timings,
        cold=newer.cold,
        replica=newer.replica,
        error=newer.error,
        result=newer.result,
        blobs=newer.blobs,
        log=newer.log,
    )


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
        error=failure_of(row.error),
        result=result_of(row.result_part, row.result),
        blobs=_parts_of(row.blobs),
        log=row.log,
        idempotency_key=row.idempotency_key,
        fingerprint=row.fingerprint,
        replayed_from=row.replayed_from,
        published=row.published,
        callback=row.callback,
        batch=row.batch,
        batch_index=row.batch_index,
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
        error=failure_of(row.error),
    )


def failure_of(error: str | None) -> Failure | None:
    """The failure that the column `error` holds."""
    return None if error is None else Failure(**orjson.loads(error))


def result_of(part: str | None, data: str | None) -> Part | None:
    """The result that the columns `result_part` and `result` hold."""
    if part is None:
        return None
    return Part(**orjson.loads(part), data=None if data is None else data.encode())


def _failure_row(error: Failure | None) -> str | None:
    if error is None:
        return None
    return _json(
        {
            "type": error.type,
            "message": error.message,
            "traceback": error.traceback,
            "details": error.details,
        }
    )


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


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _json(value: Any) -> str:
    return lenient.dumps(value).decode()


def _clean_rows(rows: Sequence[Values | str]) -> list[Any]:
    return [_column(row) for row in rows]


def _column(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_column(each) for each in value]
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, int):
        return max(-(2**63), min(value, 2**63 - 1))
    return value


def _without_surrogates(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
