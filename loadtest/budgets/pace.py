"""How often and how long each row measures: the whole benchmark, and a quick look."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """Numbers of repetitions, and seconds."""

    rounds: int  # of load, taking turns between the servers
    seconds: float  # one round of load
    warm_up: float  # seconds of load on each server before the rounds
    acceptance_rounds: int
    forks: int  # replicas started through the fork server, for each fresh interpreter
    spawns: int  # fresh interpreters
    wakes: int  # first answers after scale to zero
    queued: int  # invocations held in a queue
    starts: int  # of the gateway
    recorded: int  # invocations in a ledger
    polls: int  # refreshes of a page


FULL = Pace(
    rounds=5,
    seconds=3.0,
    warm_up=1.0,
    acceptance_rounds=3,
    forks=4,
    spawns=6,
    wakes=12,
    queued=100_000,
    starts=7,
    recorded=1_000_000,
    polls=12,
)
QUICK = Pace(
    rounds=3,
    seconds=1.0,
    warm_up=0.5,
    acceptance_rounds=2,
    forks=4,
    spawns=2,
    wakes=4,
    queued=10_000,
    starts=3,
    recorded=50_000,
    polls=4,
)
