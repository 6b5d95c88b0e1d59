"""When what is broken: a list of faults, the same for the same seed."""

import random
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What is done to a deployment."""

    KILL_REPLICA = "kill -9 a replica"
    TERM_REPLICA = "SIGTERM a replica"
    KILL_NODE = "kill -9 the node"
    TERM_NODE = "SIGTERM the node"
    KILL_WORKER = "kill -9 a worker"
    TERM_WORKER = "SIGTERM a worker"
    PAUSE_WORKER = "SIGSTOP a worker, then SIGCONT"
    KILL_GATEWAY = "kill -9 a gateway"
    TERM_GATEWAY = "SIGTERM a gateway"
    KILL_RECORDER = "kill -9 the recorder"
    TERM_RECORDER = "SIGTERM the recorder"
    RESTART_BROKER = "restart RabbitMQ"
    KILL_BROKER = "kill -9 RabbitMQ"
    CLOSE_CONNECTIONS = "RabbitMQ closes all connections"
    MEMORY_ALARM = "RabbitMQ's memory alarm, then off"
    RESTART_DATABASE = "restart PostgreSQL"
    KILL_DATABASE = "kill -9 PostgreSQL"
    CLOSE_SESSIONS = "PostgreSQL closes all sessions"
    FILL_DISK = "the blobs' disk full, then not"


WEIGHTS = {
    Kind.KILL_REPLICA: 6,
    Kind.TERM_REPLICA: 2,
    Kind.KILL_NODE: 3,
    Kind.TERM_NODE: 2,
    Kind.KILL_WORKER: 5,
    Kind.TERM_WORKER: 3,
    Kind.PAUSE_WORKER: 2,
    Kind.KILL_GATEWAY: 3,
    Kind.TERM_GATEWAY: 2,
    Kind.KILL_RECORDER: 3,
    Kind.TERM_RECORDER: 2,
    Kind.RESTART_BROKER: 1,
    Kind.KILL_BROKER: 1,
    Kind.CLOSE_CONNECTIONS: 2,
    Kind.MEMORY_ALARM: 1,
    Kind.RESTART_DATABASE: 1,
    Kind.KILL_DATABASE: 1,
    Kind.CLOSE_SESSIONS: 2,
    Kind.FILL_DISK: 2,
}
LASTING = {  # seconds, from and to
    Kind.PAUSE_WORKER: (1.0, 6.0),
    Kind.MEMORY_ALARM: (1.0, 4.0),
    Kind.FILL_DISK: (1.0, 3.0),
}
BACK_AFTER = (0.1, 1.0)  # seconds until a supervisor starts what has ended


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is done, and when."""

    at: float  # seconds from the start
    kind: Kind
    which: float  # of several, in [0, 1)
    seconds: float  # it lasts, or until what was ended is started again

    def __str__(self) -> str:
        return f"{self.at:7.2f} s  {self.kind}; {self.seconds:.1f} s"


def schedule(seed: int, seconds: float, kinds: Collection[Kind], every: float) -> list[Fault]:
    """Faults within so many seconds, about one `every` so many, and each kind at least once."""
    chance = random.Random(f"schedule {seed}")
    known = [kind for kind in Kind if kind in kinds]
    more = max(0, round(seconds / every) - len(known))
    chosen = known + chance.choices(known, [WEIGHTS[kind] for kind in known], k=more)
    chance.shuffle(chosen)
    instants = sorted(chance.uniform(0.02 * seconds, 0.95 * seconds) for _ in chosen)
    return [
        Fault(
            at=round(at, 3),
            kind=kind,
            which=chance.random(),
            seconds=round(chance.uniform(*LASTING.get(kind, BACK_AFTER)), 3),
        )
        for at, kind in zip(instants, chosen, strict=True)
    ]
