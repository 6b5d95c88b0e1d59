"""A long queue: what each waiting invocation costs in memory, and whether all come out again."""

import errno
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.budgets.closed import Load, Measured, measure
from loadtest.budgets.memory import resident
from loadtest.budgets.pace import Pace
from loadtest.budgets.row import Check, Row, figure
from loadtest.budgets.server import BenchmarkError, Server, node, scratch, until
from loadtest.budgets.throughput import DURABLE, drained

LARGEST = 1.0  # KB for each queued invocation
FILL_LIMIT = 150.0  # seconds until all are accepted
DRAIN_LIMIT = 150.0  # seconds until all are done
HOLD_LIMIT = 20.0  # seconds until the one that holds the others runs, and until it is let go
WARM_UP = 500  # invocations before the first look at the memory
CONNECTIONS = 64
KB = 1024


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of one long queue."""

    number: int  # accepted while one held the replica
    filled: Measured
    waiting: int  # behind that one, when the memory was looked at
    before: int  # bytes resident, with the replica held
    full: int
    after: int  # when all were done
    draining: float  # seconds from letting go until all were done
    audit: dict[str, Any]  # of everything the node ever accepted
    accepted: int  # by our own count


def queued(pace: Pace) -> Row:
    """Bytes a node grows by for each queued invocation, and how it drains."""
    with scratch() as folder, node(folder, queue_limit=2 * pace.queued) as lumbre:
        return row(fill_and_drain(lumbre, folder, pace.queued))


def fill_and_drain(lumbre: Server, folder: Path, number: int) -> Seen:
    """Hold the one replica, queue so many behind it, let go, and wait until all are done."""
    fill(lumbre, WARM_UP)
    drained(lumbre, "held", DRAIN_LIMIT)
    gate = hold(lumbre, folder)
    before = resident(lumbre.pid)
    filled = fill(lumbre, number)
    full = resident(lumbre.pid)
    waiting = _backlog(lumbre) - 1
    began = time.perf_counter()
    release(gate)
    drained(lumbre, "held", DRAIN_LIMIT)
    draining = time.perf_counter() - began
    audit = lumbre.get("/audit")
    after = resident(lumbre.pid)
    accepted = WARM_UP + 1 + number
    return Seen(number, filled, waiting, before, full, after, draining, audit, accepted)


def row(seen: Seen) -> Row:
    """The row of a long queue, from what was seen of it."""
    each = (seen.full - seen.before) / seen.number / KB
    statuses = ", ".join(f"{n:,} {s}" for s, n in seen.audit["by_status"].items() if n)
    return Row(
        what=f"{seen.number:,} queued invocations",
        measured=f"{figure(each)} KB each; drained at {figure(seen.number / seen.draining)} a"
        f" second; {_lost(seen) or 'none'} lost",
        checks=(Check(each, LARGEST, "KB each"),),
        detail=f"Growth of the gateway's resident memory in units of 1,024 bytes, with"
        f" {seen.waiting:,} waiting behind one that was held: {_mib(seen.before)} before,"
        f" {_mib(seen.full)} full, {_mib(seen.after)} when drained. They were accepted durably"
        f" (202) over {CONNECTIONS} connections at {figure(seen.filled.rate)} a second, with"
        f" nothing else running, and drained by one replica. Of {seen.accepted:,} accepted in all,"
        f" GET /audit says: {statuses}; it {'holds' if seen.audit['holds'] else 'does not hold'}.",
        faults=tuple(_faults(seen)),
    )


def fill(lumbre: Server, number: int) -> Measured:
    """Have so many accepted; BenchmarkError if any is not."""
    url = lumbre.url("/invoke/held")
    load = Load(url, CONNECTIONS, FILL_LIMIT, number, body="{}", headers=DURABLE, status=202)
    filled = measure(load)
    if filled.answered != number:
        raise BenchmarkError(
            f"{filled.answered:,} of {number:,} were accepted within {filled.elapsed:.0f} s;"
            f" errors: {filled.faults or 'none'}"
        )
    return filled


def hold(lumbre: Server, folder: Path) -> Path:
    """Have the one replica wait at a gate, which is returned; everything after it must queue."""
    gate = folder / "gate"
    os.mkfifo(gate)
    accepted = lumbre.ask("POST", "/invoke/held", f'{{"gate":"{gate}"}}', DURABLE)
    if accepted.status != 202:
        raise BenchmarkError(f"held gave {accepted.status}: {accepted.body!r}")
    record = accepted.headers["location"]
    until("held runs", lambda: lumbre.get(record)["status"] == "running", HOLD_LIMIT)
    return gate


def release(gate: Path) -> None:
    """Let go of whoever waits at the gate, or will be there in a moment."""

    def opened() -> bool:
        try:
            os.close(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            if error.errno != errno.ENXIO:  # nobody reads yet
                raise
            return False
        return True

    until("somebody is at the gate", opened, HOLD_LIMIT)


def _backlog(lumbre: Server) -> int:
    depth = lumbre.get("/functions/held")["backlog"]["cpu"]
    # Some are in the replica's hands already: it is given several at a time when they are short.
    return int(depth["ready"]) + int(depth["unacknowledged"])


def _lost(seen: Seen) -> int:
    return seen.accepted - int(seen.audit["by_status"].get("succeeded", 0))


def _faults(seen: Seen) -> list[str]:
    faults = []
    if seen.filled.errors:
        faults.append(f"{seen.filled.errors} errors: {seen.filled.faults}")
    if seen.waiting != seen.number:
        faults.append(f"{seen.waiting:,} were waiting when the memory was looked at")
    if lost := _lost(seen):
        faults.append(f"{lost:,} did not succeed")
    if not seen.audit["holds"]:
        faults.append(f"the audit does not hold: {'; '.join(seen.audit['problems'])}")
    return faults


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"
