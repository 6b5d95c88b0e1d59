"""What Prometheus is told of one worker, under names of its own.

A gateway tells of all workers together (`lumbre_replicas`, `lumbre_cold_starts`); what a worker
tells of itself would be counted twice under the same names.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from runtime.bus import Bus
from runtime.model import Device, Failure, Message, Outcome
from runtime.pool import Pool
from runtime.process import ReplicaProcess
from runtime.reporter import BusReporter

RETRIED = "retried"  # beside the terminal statuses, how an attempt may end
LABELS = ("function", "device")

Key = tuple[str, Device]


@dataclass(slots=True)
class Runs:
    """How often and how long replicas of one function on one device have run it."""

    number: int = 0
    seconds: float = 0.0


class CountingReporter(BusReporter):
    """A worker's reporter that counts what it tells: two additions for each attempt."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus)
        self.attempts: Counter[tuple[str, Device, str]] = Counter()
        self.runs: dict[Key, Runs] = {}

    def retried(
        self,
        message: Message,
        process: ReplicaProcess,
        error: Failure,
        started_at: float,
        *,
        counted: bool = True,
    ) -> None:
        self.attempts[message.function, message.device, RETRIED] += 1
        super().retried(message, process, error, started_at, counted=counted)

    def finished(self, message: Message, process: ReplicaProcess, outcome: Outcome) -> None:
        key = (message.function, message.device)
        self.attempts[*key, outcome.status.value] += 1
        if (runs := self.runs.get(key)) is None:
            runs = self.runs[key] = Runs()
        runs.number += 1
        runs.seconds += outcome.run
        super().finished(message, process, outcome)

    def given_up(self, message: Message, error: Failure) -> None:
        self.attempts[message.function, message.device, "dead"] += 1
        super().given_up(message, error)


class WorkerMetrics(Collector):
    """The metric families of a worker, made when they are asked for."""

    def __init__(
        self,
        bus: Bus,
        pools: Mapping[Key, Pool],
        reporter: CountingReporter,
    ) -> None:
        self._bus = bus
        self._pools = pools
        self._reporter = reporter

    def collect(self) -> Iterator[Metric]:
        """Metric families for prometheus_client."""
        yield self._replicas()
        yield from self._attempts()
        yield self._of_pools(
            CounterMetricFamily(
                "lumbre_worker_cold_starts", "Replicas that became ready", labels=LABELS
            ),
            lambda pool: pool.cold_starts,
        )
        yield self._of_pools(
            GaugeMetricFamily(
                "lumbre_worker_in_hand", "Deliveries taken and not settled", labels=LABELS
            ),
            lambda pool: self._bus.in_hand(pool.queue),
        )

    def _of_pools(self, family: Metric, number: Callable[[Pool], float]) -> Metric:
        for (function, device), pool in self._pools.items():
            family.add_metric([function, device], number(pool))  # type: ignore[attr-defined]
        return family

    def _replicas(self) -> Metric:
        family = GaugeMetricFamily(
            "lumbre_worker_replicas", "Replicas of this worker, by state", labels=[*LABELS, "state"]
        )
        for (function, device), pool in self._pools.items():
            counts = pool.counts()
            for state in ("starting", "ready", "busy", "draining"):
                family.add_metric([function, device, state], getattr(counts, state))
        return family

    def _attempts(self) -> Iterator[Metric]:
        attempts = CounterMetricFamily(
            "lumbre_worker_attempts",
            "Attempts that ended here: as a terminal status says, or to be tried again",
            labels=[*LABELS, "outcome"],
        )
        for (function, device, outcome), number in self._reporter.attempts.items():
            attempts.add_metric([function, device, outcome], number)
        runs = SummaryMetricFamily(
            "lumbre_worker_run_seconds", "Seconds that functions ran", labels=LABELS
        )
        for (function, device), told in self._reporter.runs.items():
            runs.add_metric([function, device], told.number, told.seconds)
        yield from (attempts, runs)
