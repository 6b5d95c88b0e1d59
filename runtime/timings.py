"""Where the time of an invocation went."""

from runtime.model import Message, Outcome
from runtime.process import ReplicaProcess


def is_cold(message: Message, process: ReplicaProcess, started_at: float) -> bool:
    """Whether it had to wait for its replica to start."""
    return not process.served and (process.ready_at or started_at) > message.created_at


def timings(
    message: Message,
    process: ReplicaProcess,
    outcome: Outcome,
    started_at: float | None,
    cold: bool,
) -> dict[str, float]:
    """In seconds: waiting, cold start, running, and the function's own phases."""
    started = started_at or message.created_at
    waited = max(0.0, started - message.created_at)
    start = 0.0
    if cold and process.ready_at is not None:
        start = max(0.0, process.ready_at - max(message.created_at, process.spawned_at))
    spent = {"queue": max(0.0, waited - start), "start": start, "run": outcome.run}
    if not outcome.phases:
        return spent
    # What was measured here stays, whatever the function calls its phases.
    return spent | {name: took for name, took in outcome.phases.items() if name not in spent}
