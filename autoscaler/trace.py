"""What was recorded of one queue: when invocations came, how long they ran, and how it went.

It is read from what `lumbre invocations --all --json` prints, which is what the API answers: a list
under `items`, the list itself, or one invocation a line.  Only those that ran to an end count.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from autoscaler.durations import Durations
from runtime.errors import ConfigurationError
from runtime.model import Status

RAN = frozenset({Status.SUCCEEDED, Status.FAILED, Status.TIMED_OUT})  # to an end, on a replica
REMEDY = "record some with `lumbre invocations --function NAME --all --json > trace.json`"


@dataclass(frozen=True, slots=True)
class Call:
    """One invocation that ran: its instant (unix seconds), and seconds by the ledger's timings."""

    at: float
    queue: float  # waited, but for the start
    start: float  # waited for a cold start
    run: float
    cold: bool


@dataclass(frozen=True, slots=True)
class Trace:
    """Invocations of one function on one device, in the order in which they came."""

    function: str
    device: str
    calls: tuple[Call, ...]
    left_out: int  # that did not run to an end, or whose times are not known

    @property
    def began_at(self) -> float:
        """When the first one came, in unix seconds."""
        return self.calls[0].at

    @property
    def arrivals(self) -> list[float]:
        """Seconds from the first one."""
        return [call.at - self.began_at for call in self.calls]

    @property
    def runs(self) -> list[float]:
        return [call.run for call in self.calls]

    @property
    def waits(self) -> list[float]:
        return [call.queue + call.start for call in self.calls]

    @property
    def totals(self) -> list[float]:
        return [call.queue + call.start + call.run for call in self.calls]

    @property
    def cold(self) -> int:
        return sum(call.cold for call in self.calls)

    @property
    def starts(self) -> Durations | None:
        """What cold ones waited for their replica's start; None where none was cold.

        Those that came while theirs was starting already waited for less of it than all.
        """
        starts = [call.start for call in self.calls if call.cold and call.start > 0]
        return Durations.of(starts) if starts else None


def read_trace(path: Path, function: str | None, device: str | None) -> Trace:
    """The trace of one function on one device in a file.

    ConfigurationError for a file that is none, for one that has nothing of it, and for one with
    more than one function or device where it is not said which.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error.strerror or error}): {REMEDY}"
        ) from error
    items = _items(path, data)
    kinds = Counter((item.get("function"), item.get("device")) for item in items)
    chosen = [kind for kind in kinds if function in (None, kind[0]) and device in (None, kind[1])]
    if len(chosen) != 1:
        there = ", ".join(f"{n:,} of {name} on {where}" for (name, where), n in kinds.most_common())
        what = "say which with --function and --device" if chosen else REMEDY
        raise ConfigurationError(f"{path} has {there or 'no invocations'}: {what}")
    name, where = chosen[0]
    own = [item for item in items if (item.get("function"), item.get("device")) == chosen[0]]
    return trace_of(str(name), str(where), map(_call, own))


def trace_of(function: str, device: str, found: Iterable[Call | None]) -> Trace:
    """A trace of calls in any order; None stands for what is left out.

    ConfigurationError where none is left.
    """
    told = list(found)
    calls = sorted((call for call in told if call is not None), key=lambda call: call.at)
    if not calls:
        raise ConfigurationError(
            f"none of {len(told):,} invocations of {function} on {device} ran to an end: {REMEDY}"
        )
    return Trace(function, device, tuple(calls), len(told) - len(calls))


def call_of(at: float, timings: Mapping[str, Any] | None, cold: bool) -> Call | None:
    """A call, given what the ledger knows of its times; None where that is not enough."""
    run = (timings or {}).get("run")
    if timings is None or not isinstance(run, int | float):
        return None
    queue, start = (float(timings.get(name) or 0.0) for name in ("queue", "start"))
    return Call(at, queue, start, float(run), cold)


def _call(item: Mapping[str, Any]) -> Call | None:
    if item.get("status") not in RAN:
        return None
    try:
        at = datetime.fromisoformat(item["created_at"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return None
    timings = item.get("timings")
    known = timings if isinstance(timings, dict) else None
    return call_of(at, known, bool(item.get("cold")))


def _items(path: Path, data: bytes) -> list[dict[str, Any]]:
    try:
        whole = orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            whole = [orjson.loads(line) for line in data.splitlines() if line.strip()]
        except orjson.JSONDecodeError as error:
            raise ConfigurationError(f"{path} is no JSON ({error}): {REMEDY}") from None
    found = whole.get("items", [whole]) if isinstance(whole, dict) else whole
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise ConfigurationError(f"{path} has no list of invocations: {REMEDY}")
    return found
