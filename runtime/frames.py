"""The wire between a worker and its replicas: length, kind, header, bytes.

A frame is `length (u32) | kind (u8) | header length (u32) | header (JSON) | body`, little-endian;
length counts header and body.  It never leaves the machine, and carries no pickle.
"""

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
        self._rest = b""  # the beginning of a frame whose end has not come yet

    def feed(self, data: bytes) -> list[tuple[Kind, dict[str, Any], bytes]]:
        """(kind, header, body) of every frame that `data` completes."""
        if self._rest:
            data = self._rest + data
        frames = []
        start, end = 0, len(data)
        while end - start >= SIZE:
            length, kind, head = HEAD.unpack_from(data, start)
            stop = start + SIZE + length
            if stop > end:
                break
            middle = start + SIZE + head
            header = orjson.loads(data[start + SIZE : middle])
            frames.append((KINDS[kind], header, data[middle:stop]))
            start = stop
        self._rest = data[start:] if start else data
        return frames
