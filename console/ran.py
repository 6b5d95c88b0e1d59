"""What became of the invocations that a form started: one, or one on each device."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from console.outcome import Outcome, outcome_of
from console.sources import Sources
from console.waterfall import Waterfall, waterfall
from runtime.agreement import Agreement
from runtime.comparison import compared
from runtime.function import FunctionSpec
from runtime.lifeline import ReplicaLife
from runtime.model import Device, Invocation, Status, queue_name
from runtime.views import is_simulated, waiting_view

MOST = 2  # invocations that are shown together
SPAN = 3600.0  # seconds: how long ago a replica may have ended for its start to be told apart


@dataclass(frozen=True, slots=True)
class Ran:
    """One invocation as a function's page shows it."""

    id: str
    device: Device
    simulated: bool
    status: str
    cold: bool
    replica: str | None
    created_at: float  # unix seconds
    run: float | None  # seconds in the replica
    over: bool
    waiting: str | None  # why it is not running yet
    outcome: Outcome
    waterfall: Waterfall


@dataclass(frozen=True, slots=True)
class Together:
    """The same input on both devices."""

    ratio: float | None  # CPU run time over GPU run time; None until both succeeded
    alike: list[str] | None  # members of the results that agree; None where nothing is known …
    unlike: list[str] | None  # … and those that do not; a result that has no members is its own
    simulated: bool
    over: bool


async def find(sources: Sources, spec: FunctionSpec, ids: Sequence[str]) -> list[Invocation]:
    """The invocations with these ids, as far as they are there and the function's own."""
    found = [await sources.invocations.get(id) for id in ids[:MOST]]
    return [each for each in found if each and each.message.function == spec.name]


async def ran(sources: Sources, spec: FunctionSpec, invocation: Invocation) -> Ran:
    """One of them, as it is now."""
    message = invocation.message
    attempts = await sources.ledger.attempts(invocation.id) if message.attempt > 1 else []
    life = await _life(sources, invocation)
    timings = invocation.timings or {}
    return Ran(
        id=invocation.id,
        device=message.device,
        simulated=is_simulated(invocation) or _is_simulated(sources, spec, message.device),
        status=invocation.status.value,
        cold=invocation.cold,
        replica=invocation.replica,
        created_at=message.created_at,
        run=timings.get("run") if invocation.status is Status.SUCCEEDED else None,
        over=invocation.terminal,
        waiting=_waits(sources, spec, invocation),
        outcome=await outcome_of(invocation, sources.blobs),
        waterfall=waterfall(invocation, attempts, now=time.time(), life=life),
    )


def together(invocations: Sequence[Invocation], shown: Sequence[Ran]) -> Together | None:
    """What two invocations on two devices say about these; None where they are not that."""
    by_device = {each.message.device: each for each in invocations}
    if len(invocations) != 2 or len(by_device) != 2:
        return None
    simulated = any(each.simulated for each in shown)
    cpu, gpu = by_device["cpu"], by_device["gpu"]
    if not (cpu.terminal and gpu.terminal):
        return Together(None, None, None, simulated, over=False)
    told = compared(cpu, gpu)
    agree: Agreement | None = told["agree"]
    if agree is None:
        return Together(told["speedup"], None, None, simulated, over=True)
    by_name = agree if isinstance(agree, dict) else {"the result": agree}
    alike = [name for name, same in by_name.items() if same]
    unlike = [name for name, same in by_name.items() if not same]
    return Together(told["speedup"], alike, unlike, simulated, over=True)


async def _life(sources: Sources, invocation: Invocation) -> ReplicaLife | None:
    """The replica of a cold invocation, where it is still known."""
    if not invocation.cold or invocation.replica is None:
        return None
    for life in await sources.history.replicas(time.time() - SPAN):
        if life.name == invocation.replica:
            return life
    return None


def _waits(sources: Sources, spec: FunctionSpec, invocation: Invocation) -> str | None:
    if invocation.status is not Status.QUEUED:
        return None
    device = invocation.message.device
    depth = sources.fleet.depth(queue_name(spec.name, device))
    why: dict[str, Any] | None = waiting_view(device, sources.fleet.pools(spec).get(device), depth)
    return why["detail"] if why else None


def _is_simulated(sources: Sources, spec: FunctionSpec, device: Device) -> bool:
    pool = sources.fleet.pools(spec).get(device)
    return device == "gpu" and pool is not None and pool.simulated
