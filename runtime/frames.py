"""The wire between a worker and its replicas: length, kind, header, bytes.

A frame is `length (u32) | kind (u8) | header length (u32) | header (JSON) | body`, little-endian;
length counts header and body.  It never leaves the machine, and carries no pickle.
"""

from collections.abc import Iterator
from enum import IntEnum
from struct import Struct
from typing import Any

import orjson

HEAD = Struct("<IBI")
SIZE = HEAD.size


class Kind(IntEnum):
    """What a frame says."""

    INVOKE = 1  # worker → replica: run this
    READY = 2  # replica → worker: set up, give me work
    UNABLE = 3  # replica → worker: setup failed, I am leaving
    EVENT = 4  # replica → worker: progress, or a value that was yielded
    RESULT = 5  # replica → worker: the function returned
    ERROR = 6  # replica → worker: the function raised, or its result cannot be sent


KINDS = {int(kind): kind for kind in Kind}


def encode(kind: Kind, header: dict[str, Any], *body: bytes) -> bytes:
    head = orjson.dumps(header)
    length = len(head) + sum(map(len, body))
    return b"".join((HEAD.pack(length, kind, len(head)), head, *body))


class Decoder:
    """Turns whatever arrives on a stream into whole frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Kind, dict[str, Any], bytes]]:
        """Yield (kind, header, body) of every frame that `data` completes."""
        buffer = self._buffer
        buffer += data
        start, end = 0, len(buffer)
        try:
            while end - start >= SIZE:
                length, kind, head = HEAD.unpack_from(buffer, start)
                stop = start + SIZE + length
                if stop > end:
                    break
                middle = start + SIZE + head
                header = orjson.loads(buffer[start + SIZE : middle])
                body = bytes(buffer[middle:stop])
                start = stop
                yield KINDS[kind], header, body
        finally:
            del buffer[:start]
