"""What travels between processes: messages to workers, and reports of what became of them.

A message is one line of JSON, a newline, and then bytes as they are: the parameters and the inline
parts.  So the broker's own tools show what a message is, and nothing is parsed twice or wrapped in
base64.  A report is an invocation as a worker sees it; reports travel many in one message, each
framed by `kind (u8) | length (u32) | header length (u32)`, big-endian, length counting all after.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from struct import Struct
from struct import error as StructError
from typing import Any

import orjson

from runtime import lenient
from runtime.model import (
    DEVICES,
    Attempt,
    Device,
    Failure,
    Invocation,
    Message,
    Part,
    Payload,
    Status,
    Unrecorded,
)

VERSION = 1  # of this format; a message of another one is a dead letter, not a crash

_HEAD = Struct(">BII")
_REPORT = 1  # kind; a message's body begins with `{`


class Unreadable(ValueError):
    """Bytes that are no message of ours, and why."""


@dataclass(slots=True)
class Report:
    """What a worker tells: an invocation as it is now, and the attempt that failed, if one did."""

    invocation: Invocation
    attempt: Attempt | None = None


# ── messages ──────────────────────────────────────────────────────────────────────────────────


def encode_message(message: Message) -> bytes:
    """A message as a queue carries it."""
    header: dict[str, Any] = {"v": VERSION, **_identity(message)}
    if message.unrecorded:
        header["asked"] = message.unrecorded.requested_device
        header["version"] = message.unrecorded.version
    if message.callback:
        header["callback"] = message.callback
    return b"\n".join((orjson.dumps(header), *_bodies(message.payload, header)))


def decode_message(body: bytes) -> Message:
    """The message in a queue's bytes; Unreadable, in words, where there is none."""
    end = body.find(b"\n")
    if end < 0:
        raise Unreadable("it is no Lumbre message: it has no header line")
    try:
        header = orjson.loads(body[:end])
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"it is no Lumbre message: its header is no JSON ({error})") from None
    if not isinstance(header, dict):
        raise Unreadable("it is no Lumbre message: its header is no JSON object")
    if header.get("v") != VERSION:
        raise Unreadable(f"its format is version {header.get('v')!r}; this is {VERSION}")
    try:
        return _message(header, body, end + 1)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise Unreadable(f"its header is not as it should be: {error!r:.200}") from None


def _identity(message: Message) -> dict[str, Any]:
    """What a header says of a message, beside its format and status; fills in the payload too."""
    payload = message.payload
    parameters = payload.parameters
    header: dict[str, Any] = {
        "id": message.id,
        "function": message.function,
        "device": message.device,
        "attempt": message.attempt,
        "created_at": message.created_at,
        "n": -1 if parameters is None else len(parameters),
    }
    if message.priority:
        header["priority"] = message.priority
    if message.traceparent:
        header["traceparent"] = message.traceparent
    if payload.key:
        header["key"] = payload.key
    if payload.parts:
        header["parts"] = [_part(part) for part in payload.parts]
    return header


def _bodies(payload: Payload, header: dict[str, Any]) -> list[bytes]:
    """The bytes after the header, as one piece."""
    pieces = [payload.parameters or b""]
    if "parts" in header:
        pieces += [part.data for part in payload.parts if part.data is not None]
    return [b"".join(pieces)] if len(pieces) > 1 else pieces


def _message(header: dict[str, Any], body: bytes, start: int) -> Message:
    id, function, device = header["id"], header["function"], header["device"]
    attempt, created_at = header["attempt"], header["created_at"]
    if not (isinstance(id, str) and isinstance(function, str) and id and function):
        raise ValueError("id and function must be text")
    if device not in DEVICES or type(attempt) is not int or attempt < 1:
        raise ValueError(f"device {device!r:.40}, attempt {attempt!r:.40}")
    payload, _ = _payload(header, body, start)
    asked = header.get("asked")
    return Message(
        id=id,
        function=function,
        device=device,
        payload=payload,
        created_at=float(created_at),
        attempt=attempt,
        priority=int(header.get("priority", 0)),
        traceparent=header.get("traceparent"),
        unrecorded=None if asked is None else Unrecorded(str(asked), str(header["version"])),
        callback=header.get("callback"),
    )


def _payload(header: dict[str, Any], body: bytes, start: int) -> tuple[Payload, int]:
    """The payload, and where it ends."""
    size = header["n"]
    parameters = None
    if size >= 0:
        parameters, start = _slice(body, start, size)
    parts = []
    for each in header.get("parts", ()):
        part, start = _read_part(each, body, start)
        parts.append(part)
    return Payload(parameters, tuple(parts), header.get("key")), start


def _part(part: Part) -> list[Any]:
    inline = -1 if part.data is None else len(part.data)
    return [part.name, part.media_type, part.size, part.key, inline]


def _read_part(each: list[Any], body: bytes, start: int) -> tuple[Part, int]:
    name, media_type, size, key, inline = each
    data = None
    if inline >= 0:
        data, start = _slice(body, start, inline)
    return Part(name, media_type, size, data, key), start


def _slice(body: bytes, start: int, size: int) -> tuple[bytes, int]:
    end = start + size
    if size < 0 or end > len(body):
        raise ValueError(f"it is cut short: {len(body)} bytes, and {end} were promised")
    return body[start:end], end


# ── reports ───────────────────────────────────────────────────────────────────────────────────


def encode_report(
    invocation: Invocation, attempt: Attempt | None = None, *, whole: bool = True
) -> bytes:
    """An entry of a `results` message; `whole` with the input, where the ledger may lack it."""
    message = invocation.message
    header: dict[str, Any] = {
        "id": message.id,
        "function": message.function,
        "device": message.device,
        "attempt": message.attempt,
        "created_at": message.created_at,
        "status": invocation.status,
        "started_at": invocation.started_at,
        "finished_at": invocation.finished_at,
        "timings": invocation.timings,
        "cold": invocation.cold,
        "replica": invocation.replica,
    }
    pieces: list[bytes] = []
    if message.unrecorded and whole:
        header |= _identity(message)
        header["asked"] = message.unrecorded.requested_device
        header["version"] = message.unrecorded.version
        pieces += _bodies(message.payload, header)
    elif message.traceparent:
        header["traceparent"] = message.traceparent
    if result := invocation.result:
        header["result"] = _part(result)
        if result.data is not None:
            pieces.append(result.data)
    if invocation.callback:
        header["callback"] = invocation.callback
    if invocation.blobs:
        header["blobs"] = [_part(part) for part in invocation.blobs]
    if invocation.error:
        header["error"] = _failure(invocation.error)
    if invocation.log is not None:
        header["log"] = invocation.log
    if attempt:
        header["failed"] = _attempt(attempt)
    head = lenient.dumps(header)
    size = len(head) + sum(map(len, pieces))
    return b"".join((_HEAD.pack(_REPORT, size, len(head)), head, *pieces))


def decode_reports(body: bytes) -> Iterator[Report | Message]:
    """What a message of `results` tells, in the order it was told.

    A Message, where the broker itself gave up on one: it was delivered too often.  Unreadable
    where the bytes, or those from some entry on, are none of ours.
    """
    if body.startswith(b"{"):
        yield decode_message(body)
        return
    start = 0
    while start < len(body):
        try:
            kind, size, head = _HEAD.unpack_from(body, start)
            entry, start = _slice(body, start + _HEAD.size, size)
            if kind != _REPORT or head > size:
                raise ValueError(f"an entry of kind {kind}")
            report = _report(orjson.loads(entry[:head]), entry, head)
        except (KeyError, TypeError, ValueError, IndexError, StructError) as error:
            raise Unreadable(f"it is no report: {error!r:.200}") from None
        yield report


def join_reports(entries: Iterable[bytes]) -> bytes:
    """Entries as one message."""
    return b"".join(entries)


def _report(header: dict[str, Any], entry: bytes, start: int) -> Report:
    asked = header.get("asked")
    unrecorded = None if asked is None else Unrecorded(asked, header["version"])
    payload = Payload()
    if unrecorded:
        payload, start = _payload(header, entry, start)
    result = None
    if each := header.get("result"):
        result, start = _read_part(each, entry, start)
    error = header.get("error")
    invocation = Invocation(
        message=Message(
            id=header["id"],
            function=header["function"],
            device=header["device"],
            payload=payload,
            created_at=header["created_at"],
            attempt=header["attempt"],
            priority=header.get("priority", 0),
            traceparent=header.get("traceparent"),
            unrecorded=unrecorded,
        ),
        requested_device=asked or header["device"],
        version=header.get("version", ""),
        status=Status(header["status"]),
        started_at=header["started_at"],
        finished_at=header["finished_at"],
        timings=header["timings"],
        cold=header["cold"],
        replica=header["replica"],
        error=Failure(*error) if error else None,
        result=result,
        blobs=tuple(_read_part(each, entry, 0)[0] for each in header.get("blobs", ())),
        log=header.get("log"),
        callback=header.get("callback"),
    )
    failed = header.get("failed")
    return Report(invocation, _read_attempt(header["id"], failed) if failed else None)


def _attempt(attempt: Attempt) -> list[Any]:
    error = attempt.error
    return [
        attempt.attempt,
        attempt.replica,
        attempt.device,
        attempt.started_at,
        attempt.finished_at,
        _failure(error) if error else None,
    ]


def _read_attempt(id: str, each: list[Any]) -> Attempt:
    number, replica, device, started_at, finished_at, error = each
    failure = Failure(*error) if error else None
    at: Device = device
    return Attempt(id, number, replica, at, started_at, finished_at, failure)


def _failure(error: Failure) -> list[Any]:
    return [error.type, error.message, error.traceback, error.details]
