"""One ladder of times per function: who must wait for whom, so that no busy pod is killed.

The function may run for its timeout; a worker that drains waits longer than that (LUMBRE_GRACE);
Kubernetes waits longer than the worker (terminationGracePeriodSeconds); and RabbitMQ waits longest
before it takes a delivery back (consumer_timeout), or the function would run twice at once.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from autoscaler.keda import LONGEST
from deploy.values import Values
from runtime.function import FunctionSpec

FINISH = 5  # seconds from a timeout until a worker has stopped the replica and has its outcome
CONFIRM = 15  # seconds to confirm outcomes (within 10) and to leave the broker
LOOK = 60  # seconds between two looks of RabbitMQ at its consumer timeouts
EVICTION = 600  # seconds, the cluster autoscaler's --max-graceful-termination-sec


@dataclass(frozen=True, slots=True)
class Ladder:
    """Whole seconds, each more than those before."""

    timeout: float  # of the function: one attempt
    grace: int  # LUMBRE_GRACE: a drain waits for what runs
    termination: int  # terminationGracePeriodSeconds: from SIGTERM to SIGKILL
    consumer: int  # the least consumer_timeout that RabbitMQ may have

    @property
    def job(self) -> bool:
        """Whether pods must not be asked to leave at all: each message has a pod, a ScaledJob's."""
        return self.timeout > LONGEST

    @property
    def evictable(self) -> bool:
        """Whether the cluster autoscaler, which empties nodes, waits for as long as needed."""
        return self.termination <= EVICTION


def ladder(spec: FunctionSpec) -> Ladder:
    """The ladder of a function; its first rung is the function's own timeout."""
    grace = math.ceil(spec.timeout) + FINISH
    termination = grace + CONFIRM
    return Ladder(spec.timeout, grace, termination, termination + LOOK)


def ladder_faults(specs: Sequence[FunctionSpec], values: Values) -> Iterator[str]:
    """Functions that RabbitMQ would take deliveries back from, and what to change."""
    consumer = values.broker.consumer_timeout
    for spec in specs:
        steps = ladder(spec)
        if steps.consumer > consumer:
            lower = f"lower its timeout to {consumer - (steps.consumer - spec.timeout):.0f} s, or "
            yield (
                f"function {spec.name}: it may run for {spec.timeout:g} s (its timeout), and its"
                f" pods may drain for {steps.termination} s, but RabbitMQ takes back what is not"
                f" acknowledged within broker.consumer_timeout={consumer:g} s:"
                f" {lower if consumer > CONFIRM + FINISH + LOOK + 1 else ''}"
                f"set broker.consumer_timeout to at least {steps.consumer}"
                f"{_elsewhere(values, steps)}"
            )


def _elsewhere(values: Values, steps: Ladder) -> str:
    if values.broker.kind != "external":
        return ""
    return f", once that RabbitMQ has consumer_timeout = {steps.consumer * 1000} (milliseconds)"
