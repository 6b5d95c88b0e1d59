"""What the autoscaler would do next, by its own policy and what is known of the last minutes.

The engine keeps its memory to itself, and on a cluster it is not even ours; so its memory is made
anew from history: which looks found backlog, what was recommended, what was changed.  Instants are
as exact as the buckets of that history are wide.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from autoscaler.policy import Memory, Observation, Policy, Sample, decide
from runtime.ledger import ScalingDecision
from runtime.model import Depth
from runtime.rollup import Cell


@dataclass(frozen=True, slots=True)
class Outlook:
    """The next decision, were it made now."""

    backlog: int  # messages, ready and unacknowledged
    replicas: int  # starting, ready and busy
    wanted: int  # to meet the target, whatever the limits
    next: int  # replicas to have, as the policy decides now
    reason: str
    idle: float | None  # seconds since there was backlog above the activation; None: none known
    cooldown_left: float | None  # seconds until the last replica goes; None where it does not


@dataclass(frozen=True, slots=True)
class Past:
    """One queue's latest buckets, oldest first; None is a bucket in which nothing was written."""

    start: float  # unix seconds
    width: float  # seconds of a bucket
    cells: Sequence[Cell | None]

    def ends(self, now: float) -> Iterable[tuple[float, Cell]]:
        """When each bucket ended (unix seconds), and what it held."""
        for number, cell in enumerate(self.cells):
            if cell is not None:
                yield min(now, self.start + (number + 1) * self.width), cell


def outlook(
    policy: Policy,
    depth: Depth,
    replicas: int,
    past: Past,
    decisions: Iterable[ScalingDecision],
    now: float,
) -> Outlook:
    """What is decided about a queue at `now` (unix seconds)."""
    ready, unacknowledged = depth.ready, depth.unacknowledged
    last_active = _last_active(policy, past, now)
    memory = _memory(policy, past, decisions, now, last_active)
    seen = Observation(now=now, ready=ready, unacknowledged=unacknowledged, replicas=replicas)
    decision, _ = decide(policy, seen, memory)
    idle = None if last_active is None else now - last_active
    if depth.backlog > policy.activation:
        idle = 0.0
    rests = depth.backlog <= policy.activation and replicas > 0 and policy.min_replicas == 0
    return Outlook(
        backlog=depth.backlog,
        replicas=replicas,
        wanted=ceil(depth.backlog / policy.target),
        next=decision.replicas,
        reason=decision.reason,
        idle=idle,
        cooldown_left=max(0.0, policy.cooldown - idle) if rests and idle is not None else None,
    )


def _backlog(cell: Cell) -> int:
    """What a look would have found; what came and went in between counts as one, as it does."""
    return max(cell.ready + cell.unacknowledged, int(bool(cell.statuses)))


def _last_active(policy: Policy, past: Past, now: float) -> float | None:
    """The latest instant with backlog above the activation; None where none is known."""
    active = [at for at, cell in past.ends(now) if _backlog(cell) > policy.activation]
    return active[-1] if active else None


def _memory(
    policy: Policy,
    past: Past,
    decisions: Iterable[ScalingDecision],
    now: float,
    last_active: float | None,
) -> Memory:
    """What the engine would remember, had it looked once at the end of each bucket."""
    window = now - policy.stabilization_window
    wishes = [Sample(at, ceil(_backlog(cell) / policy.target)) for at, cell in past.ends(now)]
    changes = [Sample(made.at, made.after - made.before) for made in decisions if made.at <= now]
    return Memory(
        created=past.start,
        next_poll=now,
        next_sync=now,
        # Of what was before there is no history: whatever was then, this long ago nothing was.
        last_active=past.start if last_active is None else last_active,
        recommendations=tuple(wish for wish in wishes if wish.at >= window),
        changes=tuple(changes),
    )
