"""What the probes of a worker look at: its replicas, and whether it takes from its queues."""

from collections.abc import Callable, Iterable, Mapping

from runtime.bus import Bus
from runtime.exposition import BrokerMetrics, Exposition
from runtime.health import Health
from runtime.liveness import Liveness, not_consuming
from runtime.model import Device
from runtime.pool import Pool
from runtime.worker_metrics import CountingReporter, WorkerMetrics

Pools = Mapping[tuple[str, Device], Pool]


def worker_health(
    bus: Bus, pools: Pools, reporter: CountingReporter, queues: Callable[[], Iterable[str]]
) -> Health:
    """The health of a worker; `queues` are those that it takes from."""
    liveness = Liveness(bus, queues)
    metrics = Exposition(
        WorkerMetrics(bus, pools, reporter), BrokerMetrics("lumbre_worker", bus, liveness)
    )

    def unready() -> str | None:
        return not_consuming(bus, queues()) or _in_trouble(pools)

    return Health(liveness, lambda: _setting_up(pools), unready, metrics.text)


def _setting_up(pools: Pools) -> str | None:
    """Which replicas have yet to be ready for the first time."""
    for (function, device), pool in pools.items():
        if pool.wanted and not pool.cold_starts:
            why = f": {pool.trouble}" if pool.trouble else ""
            return f"no replica of {function} on {device} has been ready yet{why}"
    return None


def _in_trouble(pools: Pools) -> str | None:
    for (function, device), pool in pools.items():
        counts = pool.counts()
        if pool.trouble and not counts.ready + counts.busy:
            return f"{function} on {device}: {pool.trouble}"
    return None
