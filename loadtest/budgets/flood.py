"""A long queue in RabbitMQ: how fast it is accepted and drained, and what it costs in memory."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.budgets.backlog import WARM_UP, fill, hold, release
from loadtest.budgets.closed import Measured
from loadtest.budgets.distributed import Deployment
from loadtest.budgets.memory import proportional, resident
from loadtest.budgets.row import Row, figure
from loadtest.budgets.server import Server, until
from loadtest.budgets.throughput import drained

DRAIN_LIMIT = 180.0  # seconds until all are done
RECORD_LIMIT = 60.0  # seconds until the ledger says so
LOOK = 0.25  # seconds between two looks
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Memory:
    """What a process holds, in bytes."""

    resident: int
    proportional: int

    @classmethod
    def of(cls, pid: int) -> "Memory":
        return cls(resident(pid), proportional(pid))

    def most(self, other: "Memory") -> "Memory":
        return Memory(
            max(self.resident, other.resident), max(self.proportional, other.proportional)
        )

    def text(self) -> str:
        return f"{self.resident / MIB:.0f} ({self.proportional / MIB:.0f})"


@dataclass(frozen=True, slots=True)
class Flood:
    """What was seen of one."""

    number: int  # accepted while one held the replica
    filled: Measured
    draining: float  # seconds from letting go until all were done
    before: Mapping[str, Memory]  # by process, with the replica held
    peak: Mapping[str, Memory]
    after: Mapping[str, Memory]
    succeeded: int  # of those, by the ledger's count
    audit: dict[str, Any]


def flooded(lumbre: Deployment, folder: Path, number: int) -> Row:
    """Accept so many behind one that holds the replica, let go, and see all of them come out."""
    return row(flood(lumbre, folder, number))


def flood(lumbre: Deployment, folder: Path, number: int) -> Flood:
    gateway = lumbre.gateway
    pids = {"gateway": gateway.pid, "worker": lumbre.worker.pid}
    succeeded = _succeeded(gateway)
    fill(gateway, WARM_UP)
    _recorded(gateway, succeeded + WARM_UP)
    gate = hold(gateway, folder)
    before = _memory(pids)
    filled = fill(gateway, number)
    peak = _memory(pids)
    began = time.perf_counter()
    release(gate)
    wanted = succeeded + WARM_UP + 1 + number

    def done() -> bool:
        nonlocal peak
        now = _memory(pids)
        peak = {name: peak[name].most(now[name]) for name in pids}
        return _succeeded(gateway) >= wanted

    until("all that was accepted has succeeded", done, DRAIN_LIMIT, LOOK)
    draining = time.perf_counter() - began
    drained(gateway, "held", RECORD_LIMIT)
    got = _succeeded(gateway) - succeeded - WARM_UP - 1
    return Flood(number, filled, draining, before, peak, _memory(pids), got, gateway.get("/audit"))


def row(seen: Flood) -> Row:
    """The row of a flood, from what was seen of it."""
    lost = seen.number - seen.succeeded
    memory = "; ".join(
        f"{name} {seen.before[name].text()} MiB before, {seen.peak[name].text()} at most,"
        f" {seen.after[name].text()} after"
        for name in seen.before
    )
    return Row(
        what=f"{seen.number:,} queued invocations",
        measured=f"accepted at {figure(seen.filled.rate)} a second, drained at"
        f" {figure(seen.number / seen.draining)} a second; {lost or 'none'} lost",
        detail="Each was accepted durably (202: a row that is committed, then a confirmed publish)"
        " over 64 connections, behind one that held the only replica; drained is from letting go"
        " until the ledger had the last outcome. Resident memory (in brackets: with what is shared"
        f" divided by those who share it): {memory}. GET /audit"
        f" {'holds' if seen.audit['holds'] else 'does not hold'}.",
        faults=tuple(_faults(seen, lost)),
    )


def _faults(seen: Flood, lost: int) -> list[str]:
    faults = []
    if seen.filled.errors:
        faults.append(f"{seen.filled.errors} errors: {seen.filled.faults}")
    if lost:
        faults.append(f"{lost:,} did not succeed")
    if not seen.audit["holds"]:
        faults.append(f"the audit does not hold: {'; '.join(seen.audit['problems'])}")
    return faults


def _memory(pids: Mapping[str, int]) -> dict[str, Memory]:
    return {name: Memory.of(pid) for name, pid in pids.items()}


def _succeeded(gateway: Server) -> int:
    return int(gateway.get("/audit")["by_status"]["succeeded"])


def _recorded(gateway: Server, succeeded: int) -> None:
    what = f"{succeeded:,} have succeeded by the ledger's count"
    until(what, lambda: _succeeded(gateway) >= succeeded, RECORD_LIMIT, LOOK)
