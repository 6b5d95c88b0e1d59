"""What a blob store holds: how much, whose, and since when.

A store is walked a folder at a time, and never held in memory where it is a local one.  Everything
here blocks.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from runtime.blobs import Blobs

# What stores call the instant of an object's last change; not all of them have one.
_CHANGED = ("mtime", "LastModified", "last_modified", "updated", "timeModified", "created")


@dataclass(frozen=True, slots=True)
class Holding:
    """The blobs of one invocation."""

    invocation: str
    size: int  # bytes
    changed_at: float | None  # unix seconds, of the latest; None where the store does not say


def holdings(blobs: Blobs, chunk: int) -> Iterator[list[Holding]]:
    """What the store holds, in lists of at most `chunk`; what changes meanwhile may be missed."""
    found = _local(blobs.path("")) if blobs.local else _remote(blobs)
    while some := list(islice(found, chunk)):
        yield some


def _local(root: str) -> Iterator[Holding]:
    try:
        entries = os.scandir(root)
    except FileNotFoundError:
        return  # nothing was ever written
    with entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield _folder(entry.path, entry.name)


def _folder(path: str, invocation: str) -> Holding:
    size, changed_at = 0, 0.0
    for folder, _, files in os.walk(path):
        for name in (folder, *(os.path.join(folder, file) for file in files)):
            try:
                found = os.stat(name, follow_symlinks=False)
            except FileNotFoundError:
                continue  # it was deleted meanwhile
            size += found.st_size if name != folder else 0
            changed_at = max(changed_at, found.st_mtime)
    return Holding(invocation, size, changed_at)


def _remote(blobs: Blobs) -> Iterator[Holding]:
    import fsspec  # 80 ms that a node with a local folder can start without

    store, root = fsspec.core.url_to_fs(blobs.url)
    store.invalidate_cache()  # of listings, which others have changed since
    sizes: dict[str, int] = {}
    instants: dict[str, list[float | None]] = {}
    for path, info in store.find(root, detail=True).items():
        invocation = path[len(root) :].strip("/").partition("/")[0]
        sizes[invocation] = sizes.get(invocation, 0) + int(info.get("size") or 0)
        instants.setdefault(invocation, []).append(_changed_at(info))
    for invocation, size in sizes.items():
        known = [at for at in instants[invocation] if at is not None]
        told = len(known) == len(instants[invocation])
        yield Holding(invocation, size, max(known) if told else None)


def _changed_at(info: dict[str, Any]) -> float | None:
    for name in _CHANGED:
        at = info.get(name)
        if isinstance(at, datetime):
            return at.timestamp()
        if isinstance(at, int | float):
            return float(at)
        if isinstance(at, str):  # Google's: RFC 3339
            return datetime.fromisoformat(at).timestamp()
    return None
