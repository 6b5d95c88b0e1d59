"""How what became of an invocation is shown: a value, a picture, a file, a curve, a failure.

Never more than SHOWN bytes of a result are put into a page; the rest is behind its link.
"""

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any, Literal

from console import curves
from console.traceback import Fold, folded
from runtime.blobs import Blobs
from runtime.model import JSON, Invocation, Part

SHOWN = 64 * 1024  # bytes of a result that a page shows at most
FIRST = 4 * 1024  # bytes shown of what is larger
DEEP = 60  # levels of a JSON value that are laid out; what is deeper is shown as it came
WIDE = 80  # characters of a list that stays on one line
IMAGES = frozenset(  # what browsers show in an <img>, and which runs no script there
    f"image/{kind}" for kind in ("png", "jpeg", "gif", "webp", "avif", "bmp", "svg+xml")
)

LONE = re.compile("[\ud800-\udfff]")  # half a character: JSON may escape one, a page cannot hold it
_encode = json.JSONEncoder().encode

Kind = Literal["pending", "nothing", "number", "json", "text", "image", "bytes", "failure"]


@dataclass(frozen=True, slots=True)
class File:
    """Bytes behind a link: a blob of a result, or an uploaded part of an input."""

    name: str
    media_type: str
    size: int
    url: str | None  # None where they are kept nowhere any more
    image: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why an invocation did not succeed."""

    type: str
    message: str
    traceback: tuple[Fold, ...] = ()
    fields: tuple[tuple[str, str], ...] = ()  # of an input that was refused: where, and why
    last_output: str | None = None  # of a replica that died


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a page shows of an outcome; also what its JSON says."""

    kind: Kind
    url: str  # of the raw result
    media_type: str | None = None
    size: int | None = None  # bytes of the raw result
    text: str | None = None  # a number, JSON laid out, text, or the first lines of either
    whole: bool = True  # whether `text` is all of it
    lost: bool = False  # its bytes are no longer there
    charts: tuple[dict[str, Any], ...] = ()
    files: tuple[File, ...] = ()
    trouble: Trouble | None = None


async def outcome_of(invocation: Invocation, blobs: Blobs) -> Outcome:
    """How to show what became of it; reads the first lines of a result that is a blob."""
    result = invocation.result
    head: bytes | None = None
    if result and result.data is None and result.key and _is_readable(result.media_type):
        most = SHOWN if result.size <= SHOWN else FIRST
        head = await asyncio.to_thread(head_of, blobs, result.key, most)
    return outcome(invocation, head)


def head_of(blobs: Blobs, key: str, most: int) -> bytes | None:
    """The first bytes of a blob; None where it is no longer there, or cannot be read."""
    try:
        for chunk in blobs.chunks(key):
            return chunk[:most]
    except OSError:
        return None
    return b""


def outcome(invocation: Invocation, head: bytes | None = None) -> Outcome:
    """The same, given the first bytes of a result that is a blob; None where it has none."""
    url = f"/invocations/{invocation.id}/result"
    if not invocation.terminal:
        return Outcome("pending", url)
    files = tuple(file_of(part, invocation.id) for part in invocation.blobs)
    if invocation.error is not None:
        return Outcome("failure", url, files=files, trouble=_trouble(invocation))
    result = invocation.result
    if result is None:
        return Outcome("nothing", url, files=files)
    kind, text, whole, charts = _shown(result, head)
    return Outcome(
        kind=kind,
        url=url,
        media_type=result.media_type,
        size=result.size,
        text=text,
        whole=whole,
        lost=result.data is None and head is None and _is_readable(result.media_type),
        charts=charts,
        files=files,
    )


def file_of(part: Part, invocation: str) -> File:
    """A blob of an invocation, as a link."""
    url = f"/invocations/{invocation}/blobs/{part.name}" if part.key else None
    return File(part.name, part.media_type, part.size, url, _base(part.media_type) in IMAGES)


def laid_out(data: bytes, size: int | None = None) -> tuple[str, bool]:
    """JSON as people read it, and whether that is all of it; of a large one the first bytes.

    `size` is that of the whole where `data` is only its beginning.
    """
    if (size or len(data)) > SHOWN or len(data) < (size or 0):
        return _text(data, FIRST), False
    try:
        text = _laid_out(json.loads(data))
    except (ValueError, RecursionError, _TooLong):
        return _text(data), True
    return text, True


def _shown(
    result: Part, head: bytes | None
) -> tuple[Kind, str | None, bool, tuple[dict[str, Any], ...]]:
    data = result.data if result.data is not None else head
    base = _base(result.media_type)
    if base in IMAGES:
        return "image", None, True, ()
    if data is None or not _is_readable(result.media_type):
        return "bytes", None, False, ()
    if base == JSON:
        return _shown_json(data, result.size)
    whole = result.size <= SHOWN
    return "text", _text(data, None if whole else FIRST), whole, ()


def _shown_json(
    data: bytes, size: int
) -> tuple[Kind, str | None, bool, tuple[dict[str, Any], ...]]:
    text, whole = laid_out(data, size)
    charts: tuple[dict[str, Any], ...] = ()
    if len(data) == size:
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            return "text", text, whole, ()
        if isinstance(value, int | float) and not isinstance(value, bool):
            return "number", _text(data), True, ()
        charts = tuple(curves.of_result(value))
    return "json", text, whole, charts


def _trouble(invocation: Invocation) -> Trouble:
    error = invocation.error
    assert error is not None
    last_output = error.details.get("last_output")
    return Trouble(
        type=error.type,
        message=error.message,
        traceback=tuple(folded(error.traceback)) if error.traceback else (),
        fields=tuple((str(at), str(why)) for at, why in error.details.get("errors", ())),
        last_output=last_output if isinstance(last_output, str) and last_output else None,
    )


def _base(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()


def _is_readable(media_type: str) -> bool:
    base = _base(media_type)
    return base == JSON or base.startswith("text/") or base.endswith(("+json", "/xml", "/yaml"))


def _text(data: bytes, most: int | None = None) -> str:
    """Bytes as text, or the first of them; what is cut within a character ends before it."""
    text = data[:most].decode("utf-8", "replace")
    return text if most is None else text.removesuffix("\N{REPLACEMENT CHARACTER}")


# ── laying out JSON ───────────────────────────────────────────────────────────────────────────


class _TooLong(Exception):
    """Laid out, it would be more than a page should hold."""


def _laid_out(value: Any) -> str:
    """JSON indented by two, but lists of plain values on lines as long as they need.

    RecursionError where it is too deep for that; _TooLong as soon as that is known.
    """
    pieces: list[str] = []
    room = SHOWN
    for piece in _pieces(value, 0):
        pieces.append(piece)
        room -= len(piece)
        if room < 0:
            raise _TooLong
    return "".join(pieces)


def _pieces(value: Any, depth: int) -> Iterator[str]:
    if depth > DEEP:
        raise RecursionError
    inner, outer = "\n" + "  " * (depth + 1), "\n" + "  " * depth
    if not isinstance(value, dict | list) or not value:
        yield _plain(value)
    elif isinstance(value, dict):
        comma = "{"
        for key, item in value.items():
            yield f"{comma}{inner}{_plain(key)}: "
            yield from _pieces(item, depth + 1)
            comma = ","
        yield f"{outer}}}"
    elif any(isinstance(item, dict | list) for item in value):
        comma = "["
        for item in value:
            yield f"{comma}{inner}"
            yield from _pieces(item, depth + 1)
            comma = ","
        yield f"{outer}]"
    else:
        yield _on_lines([_plain(item) for item in value], inner, outer)


def _on_lines(items: Sequence[str], inner: str, outer: str) -> str:
    """A list of plain values: on one line if it is short, else on lines of about WIDE."""
    if sum(len(item) + 2 for item in items) <= WIDE:
        return f"[{', '.join(items)}]"
    lines: list[str] = []
    line = ""
    for item in items:
        if line and len(line) + len(item) > WIDE:
            lines.append(line)
            line = ""
        line += f"{item}, "
    lines.append(line)
    text = "".join(f"{inner}{line.rstrip()}" for line in lines)
    return f"[{text.rstrip(',')}{outer}]"


def _plain(value: Any) -> str:
    """JSON of a value that holds no others."""
    if isinstance(value, str):
        text = encode_basestring(value)
        return encode_basestring_ascii(value) if LONE.search(text) else text
    if isinstance(value, dict | list):
        return "{}" if isinstance(value, dict) else "[]"
    return _encode(value)
