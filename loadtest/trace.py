"""A recorded load: which functions were invoked, when, and with what.

Two forms are read.  What `lumbre invocations --all --json` prints (or its items, one a line), and
lines of JSON that somebody wrote: `{"at": seconds, "function": …, "device": …, "parameters": …}`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from loadtest import request
from loadtest.request import Request
from runtime.errors import ConfigurationError

MAX_BYTES = 4 * 2**30  # of a file
NAME = r"^[a-z][a-z0-9_]{0,62}$"  # of a function
Devices = Literal["auto", "cpu", "gpu"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One request, and the seconds from the first one to it."""

    at: float
    request: Request


@dataclass(frozen=True, slots=True)
class Trace:
    """What can be replayed, by time; and how many invocations cannot, since they are not whole."""

    entries: tuple[Entry, ...]
    skipped: int

    @property
    def seconds(self) -> float:
        """From the first request to the last."""
        return self.entries[-1].at

    @property
    def note(self) -> str | None:
        """What a reader of the results must know, in a sentence."""
        if not self.skipped:
            return None
        return (
            f"{self.skipped} of {self.skipped + len(self.entries)} recorded invocations were not"
            " replayed: their files, or parameters of over 256 KiB, are not in the trace"
        )


class _Input(BaseModel):
    parameters: dict[str, Any] | None = None
    parts: dict[str, Any] = Field(default_factory=dict)


class _Invocation(BaseModel):
    """What an invocation's record says of how it came; it says more, which does not matter."""

    created_at: datetime
    function: str = Field(pattern=NAME)
    requested_device: Devices = "auto"
    input: _Input | None = None


class _Line(BaseModel):
    """A line that somebody wrote."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    at: float
    function: str = Field(pattern=NAME)
    device: Devices | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    wait: bool = True


Found = tuple[float, Request | None]  # an instant, and what came, if it is whole


def read_trace(path: Path) -> Trace:
    """The trace in a file, sorted by time and counted from its first entry.

    ConfigurationError for a file that is none, with the number of its first bad line or item, and
    for one with nothing to replay.
    """
    made: dict[tuple[str, str, bytes, bool], Request] = {}
    found = [_found(value, where, made) for where, value in _values(path, _data(path))]
    whole = [(at, asked) for at, asked in found if asked is not None]
    if not whole:
        raise ConfigurationError(
            f"{path}: has nothing that can be replayed ({len(found)} invocations, none of them"
            " whole): record some with `lumbre invocations --all --json`"
        )
    whole.sort(key=lambda pair: pair[0])
    first = whole[0][0]
    entries = tuple(Entry(at - first, asked) for at, asked in whole)
    return Trace(entries, len(found) - len(whole))


def _data(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigurationError(f"{path}: is over {MAX_BYTES:,} bytes: cut the trace")
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"{path}: cannot be read ({error.strerror or error}): name a trace that is there,"
            " relative to the plan"
        ) from error


def _values(path: Path, data: bytes) -> Iterator[tuple[str, Any]]:
    """Where in the file each invocation is, and what is there."""
    try:
        whole = orjson.loads(data)
    except orjson.JSONDecodeError:
        yield from _lines(path, data)
        return
    if isinstance(whole, dict) and "items" in whole:
        whole = whole["items"]
        if not isinstance(whole, list):
            raise ConfigurationError(f"{path}: items is no list: {_remedy()}")
    items = whole if isinstance(whole, list) else [whole]
    yield from ((f"{path}: items[{number}]", item) for number, item in enumerate(items))


def _lines(path: Path, data: bytes) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            yield f"{path}:{number}", orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise ConfigurationError(
                f"{path}:{number}: is no JSON ({error}): {_remedy()}"
            ) from None


def _remedy() -> str:
    example = json.dumps({"at": 0.5, "function": "matmul", "parameters": {"n": 64}})
    return f"write lines such as {example}, or what `lumbre invocations --all --json` prints"


def _found(value: Any, where: str, made: dict[tuple[str, str, bytes, bool], Request]) -> Found:
    """What one value of a trace says; `made` holds the requests that came before."""
    try:
        if isinstance(value, dict) and "created_at" in value:
            return _of_invocation(_Invocation.model_validate(value), made)
        line = _Line.model_validate(value)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        field = ".".join(str(step) for step in fault["loc"])
        said = f"{field}: {fault['msg']}" if field else fault["msg"]
        raise ConfigurationError(f"{where}: {said}: {_remedy()}") from error
    return line.at, _made(line.function, line.device or "auto", line.parameters, line.wait, made)


def _of_invocation(
    invocation: _Invocation, made: dict[tuple[str, str, bytes, bool], Request]
) -> Found:
    at, given = invocation.created_at.timestamp(), invocation.input
    if given is None or given.parts or given.parameters is None:
        return at, None
    return at, _made(invocation.function, invocation.requested_device, given.parameters, True, made)


def _made(
    function: str,
    device: str,
    parameters: dict[str, Any],
    wait: bool,
    made: dict[tuple[str, str, bytes, bool], Request],
) -> Request:
    """The request; the one object for all that are alike, so that it is encoded once."""
    fresh = request.of_parameters(function, device, parameters, wait=wait)
    return made.setdefault((function, device, fresh.body, wait), fresh)
