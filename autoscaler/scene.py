"""What a simulation begins with: what comes, how long it runs, and what decides about replicas."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from autoscaler.durations import Durations
from autoscaler.policy import Policy

Engine = Literal["local", "cluster", "push"]
ENGINES: tuple[Engine, ...] = ("local", "cluster", "push")
STATISTICS = 5.0  # seconds between two statistics of a queue in RabbitMQ's management API


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One queue, its replicas, and what is done about their number.

    `local` looks at the queue at every poll, when a message comes to an empty queue without
    replicas, and when a replica has become ready.  `cluster` has KEDA's polls and the HPA's syncs,
    on clocks of their own, and sees what RabbitMQ's statistics said last.  `push` is a cluster
    whose scaler is told of the first message at once.
    """

    policy: Policy
    arrivals: Sequence[float]  # seconds from the beginning, in order
    runs: Sequence[float]  # seconds that each of them runs, as many
    engine: Engine = "local"
    start: Durations = field(default_factory=Durations)  # from the decision until it is ready
    until: float | None = None  # seconds that are counted at least; None: until it has come to rest
    ready: int | None = None  # replicas at the beginning; None: the policy's least
    places: int | None = None  # replicas there is room for (GPUs), draining ones too; None: any
    statistics: float = 0.0  # seconds between two statistics; 0: what is seen is what is so
    pull: float = 0.0  # seconds until a node has the image, when it first needs it
    per_node: int = 1  # replicas that one node has room for; counts where an image is pulled
    seed: int = 0


def settling(policy: Policy) -> float:
    """Seconds after which replicas that nobody needs are gone, whatever was before."""
    return policy.cooldown + policy.stabilization_window + 2 * policy.polling_interval + 60.0
