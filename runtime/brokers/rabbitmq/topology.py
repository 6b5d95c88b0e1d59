"""Which queues and exchanges there are, and their arguments.

The arguments hang on nothing but the queue: not on the role that declares it, nor on the server's
version.  RabbitMQ refuses a queue that is declared again with others, and a server may be upgraded
under its queues.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runtime.brokers import QueueSpec

RESULTS = "results"  # what workers report, for the recorder
CANCELLATIONS = "cancellations"  # a stream of ids: every worker reads all of it
DEAD = "lumbre.dead"  # direct exchange: what queues give up on, by queue
SIGNALS = "lumbre.signals"  # topic exchange: what may be lost
REPLY_TO = "amq.rabbitmq.reply-to"  # direct replies, which no queue holds

STEPS = {  # seconds → a delay queue, and the fanout exchange that feeds it
    1: "retry.1s",
    2: "retry.2s",
    5: "retry.5s",
    10: "retry.10s",
    30: "retry.30s",
    60: "retry.1m",
    120: "retry.2m",
    300: "retry.5m",
}
KEPT = 7 * 86_400  # seconds the stream remembers a cancellation
SEGMENT = 1_000_000  # bytes; retention drops whole segments of a stream
SERVER_MARGIN = 10  # times a message is delivered at least after the worker should have given up
LIMITS = (30, 100, 1000)  # of deliveries, by the server
# Some limit there must be: without one RabbitMQ 4 takes 20, and 3.10 gives what is returned to the
# tail instead of the head.
UNLIMITED = 1_000_000

SAFE = {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable exchange."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable queue."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Binding:
    """What goes to an exchange with a key comes into a queue, too."""

    queue: str
    exchange: str
    key: str = ""


Part = Exchange | Queue | Binding


def shared_parts() -> list[Part]:
    """What every function shares, in the order it is to be declared."""
    parts: list[Part] = [
        Exchange(DEAD, "direct"),
        Exchange(SIGNALS, "topic"),
        _kept(RESULTS),
        Queue(
            CANCELLATIONS,
            {
                "x-queue-type": "stream",
                "x-max-age": f"{KEPT}s",
                "x-stream-max-segment-size-bytes": SEGMENT,
            },
        ),
    ]
    for seconds, name in STEPS.items():
        arguments = {
            "x-queue-type": "quorum",
            "x-message-ttl": seconds * 1000,
            "x-dead-letter-exchange": "",  # the default one: to the queue the routing key names
            **SAFE,
        }
        parts += [Exchange(name, "fanout"), Queue(name, arguments), Binding(name, name)]
    return parts


def queue_parts(spec: QueueSpec) -> list[Part]:
    """A queue, and where it goes from there when it is given up on.

    What the broker itself gives up on of a function's queue also goes to `results`: so the recorder
    hears of it.
    """
    dead = dead_queue(spec.name)
    arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": _server_limit(spec.delivery_limit),
        "x-dead-letter-exchange": DEAD,
        "x-dead-letter-routing-key": spec.name,
        **SAFE,
    }
    parts: list[Part] = [_kept(dead), Binding(dead, DEAD, spec.name)]
    if "." in spec.name:
        parts.append(Binding(RESULTS, DEAD, spec.name))
    return [*parts, Queue(spec.name, arguments)]


def function_of(queue: str) -> str:
    """`matmul.gpu` → `matmul`; a queue of no device is its own."""
    return queue.rpartition(".")[0] or queue


def dead_queue(queue: str) -> str:
    """`matmul.gpu` → `matmul.dead`."""
    return f"{function_of(queue)}.dead"


def _server_limit(limit: int) -> int:
    """A worker gives up first, at the limit, and tells an outcome; the server long after it.

    In coarse steps, since a queue cannot change its limit and a function may.
    """
    return next((most for most in LIMITS if most >= limit + SERVER_MARGIN), UNLIMITED)


def step_for(delay: float) -> str:
    """The delay queue for a wait: the shortest that is long enough, else the longest there is."""
    return next((name for seconds, name in STEPS.items() if seconds >= delay), STEPS[max(STEPS)])


def _kept(name: str) -> Queue:
    return Queue(name, {"x-queue-type": "quorum", "x-delivery-limit": UNLIMITED})
