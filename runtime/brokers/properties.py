"""The properties of an AMQP message: encoded as a block, and read from one field by field.

A block is a word of flags and then the fields that are there, in the order of the flags: AMQP
0-9-1, §4.2.6.1.  Reading passes over what nobody asked for.  Text that is not UTF-8 (anybody may
put a message into a queue) is read with surrogate escapes.
"""

from collections.abc import Mapping
from functools import lru_cache
from struct import Struct
from typing import Any

from pika import data, exceptions  # type: ignore[import-untyped]

CONTENT_TYPE = 1 << 15
CONTENT_ENCODING = 1 << 14
HEADERS = 1 << 13
DELIVERY_MODE = 1 << 12
PRIORITY = 1 << 11
CORRELATION_ID = 1 << 10
REPLY_TO = 1 << 9
EXPIRATION = 1 << 8
MESSAGE_ID = 1 << 7
TYPE = 1 << 5
MORE = 1  # another word of flags follows; none is defined

TRANSIENT, PERSISTENT = 1, 2  # delivery modes

WORD = Struct(">H")
LENGTH = Struct(">I")
SHORT, TABLE = -1, -4  # fields that begin with their length, in so many bytes
WIDTHS = (  # of what can come before a field that is read
    (CONTENT_TYPE, SHORT),
    (CONTENT_ENCODING, SHORT),
    (HEADERS, TABLE),
    (DELIVERY_MODE, 1),
    (PRIORITY, 1),
    (CORRELATION_ID, SHORT),
    (REPLY_TO, SHORT),
    (EXPIRATION, SHORT),
)


def encode_properties(
    *,
    content_type: str | None = None,
    headers: Mapping[str, Any] | None = None,
    delivery_mode: int | None = None,
    priority: int | None = None,
    correlation_id: str | None = None,
    reply_to: str | None = None,
    expiration: str | None = None,
    message_id: str | None = None,
    type: str | None = None,
) -> bytes:
    """The block of a message with these properties; `expiration` is in milliseconds, as digits.

    Raises pika's ShortStringTooLong for text over 255 bytes, and what its encoder of tables raises
    for headers that AMQP has no type for.
    """
    flags = 0
    fields = []
    if content_type is not None:
        flags |= CONTENT_TYPE
        fields.append(_known(content_type))
    if headers is not None:
        flags |= HEADERS
        data.encode_table(fields, headers)
    if delivery_mode is not None:
        flags |= DELIVERY_MODE
        fields.append(bytes((delivery_mode,)))
    if priority is not None:
        flags |= PRIORITY
        fields.append(bytes((priority,)))
    if correlation_id is not None:
        flags |= CORRELATION_ID
        fields.append(short_string(correlation_id))
    if reply_to is not None:
        flags |= REPLY_TO
        fields.append(_known(reply_to))
    if expiration is not None:
        flags |= EXPIRATION
        fields.append(_known(expiration))
    if message_id is not None:
        flags |= MESSAGE_ID
        fields.append(short_string(message_id))
    if type is not None:
        flags |= TYPE
        fields.append(_known(type))
    return WORD.pack(flags) + b"".join(fields)


def message_id(properties: bytes) -> str | None:
    return _string(properties, MESSAGE_ID)


def reply_to(properties: bytes) -> str | None:
    return _string(properties, REPLY_TO)


def correlation_id(properties: bytes) -> str | None:
    return _string(properties, CORRELATION_ID)


def headers(properties: bytes) -> dict[str, Any]:
    """All headers, decoded by pika; {} where there are none.  Not for every message: it is slow."""
    at = _find(properties, HEADERS)
    if at is None:
        return {}
    table: dict[str | bytes, Any] = data.decode_table(properties, at)[0]
    return {text(name): value for name, value in table.items()}


def short_string(value: str) -> bytes:
    """A short string as it travels: its length in one byte, then itself."""
    encoded = raw(value)
    if len(encoded) > 255:
        raise exceptions.ShortStringTooLong(encoded)
    return bytes((len(encoded),)) + encoded


def raw(value: str) -> bytes:
    """Text as it travels; what `text` made of anybody's bytes becomes those bytes again."""
    return value.encode("utf-8", "surrogateescape")


def text(value: str | bytes) -> str:
    """Text as it came, or as pika decoded it: it leaves bytes as they are if they are not UTF-8."""
    return value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")


_known = lru_cache(1024)(short_string)  # for what has few values


def _string(properties: bytes, wanted: int) -> str | None:
    at = _find(properties, wanted)
    if at is None:
        return None
    return text(properties[at + 1 : at + 1 + properties[at]])


def _find(properties: bytes, wanted: int) -> int | None:
    """Where a field begins; None if it is not there."""
    flags = properties[0] << 8 | properties[1]
    if not flags & wanted:
        return None
    at = 2
    if flags & MORE:
        at = _after_flags(properties)
    for width in _before(flags, wanted):
        if width == SHORT:
            at += 1 + properties[at]
        elif width == TABLE:
            at += 4 + LENGTH.unpack_from(properties, at)[0]
        else:
            at += width
    return at


def _after_flags(properties: bytes) -> int:
    at = 0
    while properties[at + 1] & MORE:
        at += 2
    return at + 2


@lru_cache(1024)
def _before(flags: int, wanted: int) -> tuple[int, ...]:
    """The widths of the fields that are there and come before the wanted one."""
    return tuple(width for flag, width in WIDTHS if flags & flag and flag > wanted)
