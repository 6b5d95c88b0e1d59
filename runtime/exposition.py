"""What a worker or a recorder shows Prometheus: its own metric families, and its broker's."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from runtime.bus import Bus
from runtime.liveness import LOOK_EVERY, STALE, Liveness


class Exposition:
    """The families of some collectors as text."""

    def __init__(self, *collectors: Collector) -> None:
        self._registry = CollectorRegistry()
        for collector in collectors:
            self._registry.register(collector)

    def text(self, accept: str) -> tuple[bytes, str]:
        """The exposition in the format the scraper asks for, and its content type."""
        encoder, content_type = choose_encoder(accept)
        return encoder(self._registry), content_type


class BrokerMetrics(Collector):
    """What every role tells of its broker; `prefix` is the role's."""

    def __init__(self, prefix: str, bus: Bus, liveness: Liveness) -> None:
        self._prefix = prefix
        self._bus = bus
        self._liveness = liveness

    def collect(self) -> Iterator[Metric]:
        yield self._gauge("broker_up", "1 while the broker is connected to", self._bus.connected)
        yield self._gauge(
            "broker_turn_age_seconds",
            f"Seconds since the broker loop was seen to turn; /healthz fails at {STALE:.0f}",
            self._liveness.age,
        )
        if self._liveness.consumed_at is not None:
            yield self._gauge(
                "last_consumed_timestamp_seconds",
                f"When deliveries were last seen to have come (every {LOOK_EVERY:.0f} s is looked)",
                self._liveness.consumed_at,
            )

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        return GaugeMetricFamily(f"{self._prefix}_{name}", text, value=value)
