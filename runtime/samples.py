"""Runs as samples of what a function takes on a device: how long, for which input, at which cost.

Inputs are compared by a digest of their parameters, defaults included, and of uploaded bytes.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from runtime.blobs import Blobs
from runtime.cost import Cost
from runtime.runs import Run, RunInput

DIGEST = 16  # bytes
MAX_UPLOAD = 8 * 2**20  # bytes of one input that are read for its digest
MAX_READ = 64 * 2**20  # bytes that are read at one time


@dataclass(frozen=True, slots=True)
class Sample:
    """One run that succeeded."""

    run: float  # seconds in the replica, above 0
    version: str  # of the function's code: runs of different versions are not alike
    input: bytes | None  # a digest, the same for equal inputs; None where it is not known
    cost: float | None  # by the function's own expression, above 0; None where there is none
    simulated: bool  # on a GPU that is a CPU


class SampleMaker:
    """Makes samples of the runs of one function, in a thread: it reads files.

    Uploads are read from a local folder of blobs only, and no more of them at one time than takes a
    moment; of what is not read the digest is not known, and that is all.
    """

    def __init__(self, schema: Mapping[str, Any], cost: Cost | None, blobs: Blobs) -> None:
        properties = schema.get("properties", {})
        self._defaults = {name: p["default"] for name, p in properties.items() if "default" in p}
        self._cost = cost
        self._blobs = blobs
        self._left = MAX_READ  # bytes

    def of(self, run: Run, given: RunInput | None) -> Sample:
        """A run's sample; `given` is None where its input is gone."""
        parameters = None if given is None else _object(given.parameters)
        if given is None or parameters is None:
            return Sample(run.run, run.version, None, None, run.simulated)
        cost = None
        if self._cost:
            cost = self._cost.of(parameters, {name: size for name, size, _ in given.uploads})
        return Sample(run.run, run.version, self._digest(parameters, given), cost, run.simulated)

    def _digest(self, parameters: dict[str, Any], given: RunInput) -> bytes | None:
        options = orjson.OPT_SORT_KEYS
        digest = hashlib.blake2b(digest_size=DIGEST)
        digest.update(orjson.dumps({**self._defaults, **parameters}, option=options))
        for name, size, key in sorted(given.uploads):
            if key is None or not self._blobs.local or size > min(MAX_UPLOAD, self._left):
                return None
            self._left -= size
            digest.update(f"\n{name}\n{size}\n".encode())
            try:
                for chunk in self._blobs.chunks(key):
                    digest.update(chunk)
            except OSError:  # removed with its invocation, or before it
                return None
        return digest.digest()


def _object(parameters: bytes | None) -> dict[str, Any] | None:
    try:
        value = None if parameters is None else orjson.loads(parameters)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
