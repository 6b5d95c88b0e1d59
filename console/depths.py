"""How full queues are, as the gateway and the workers know it together."""

from dataclasses import replace

from console.sources import Sources
from runtime.model import Depth, Device, PoolState, queue_name


def depth_of(sources: Sources, function: str, device: Device, pool: PoolState | None) -> Depth:
    """How full one queue is; `pool` are the replicas that take from it.

    Without RabbitMQ's management API a gateway knows only what is ready: what is in flight is what
    the workers say that they have in hand.
    """
    depth = sources.fleet.depth(queue_name(function, device))
    if pool is None or pool.in_hand <= depth.unacknowledged:
        return depth
    return replace(depth, unacknowledged=pool.in_hand)


def dead_by_function(sources: Sources) -> dict[str, int]:
    """How many dead letters each function has, of those that have any, as far as is known.

    A broker in memory counts them by queue, RabbitMQ by function: there each queue of a function
    says the same.
    """
    together = sum if sources.settings.embedded else max
    dead: dict[str, int] = {}
    for spec in sources.catalog.functions.values():
        queues = [queue_name(spec.name, device) for device in spec.devices]
        if count := together([sources.fleet.depth(queue).dead for queue in queues]):
            dead[spec.name] = count
    return dict(sorted(dead.items()))
