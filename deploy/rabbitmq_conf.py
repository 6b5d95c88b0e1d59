"""RabbitMQ's configuration: what Lumbre and KEDA need of it, whoever runs the server."""

import math

from deploy.quantity import number
from deploy.values import Values

STATISTICS = 5000  # ms between two samples: KEDA sees a backlog no sooner
KEPT_FREE = 5  # a part of the volume in so many must be free, or publishing stops


def rabbitmq_conf(values: Values) -> str:
    """What a node of a RabbitmqCluster is told beside what its operator says."""
    memory = int(number(values.broker.memory))
    free = min(memory, int(number(values.broker.storage.size)) // KEPT_FREE)
    return "\n".join(
        [
            "# A function must end before this: `lumbre deploy render` checks that it does. (ms)",
            f"consumer_timeout = {math.ceil(values.broker.consumer_timeout * 1000)}",
            "# KEDA and the console read backlogs from the management API.",
            "management_agent.disable_metrics_collector = false",
            "deprecated_features.permit.management_metrics_collection = true",
            f"collect_statistics_interval = {STATISTICS}",
            "# Publishing stops above 60 % of the container's memory, or with too little disk.",
            f"total_memory_available_override_value = {memory}",
            "vm_memory_high_watermark.relative = 0.6",
            f"disk_free_limit.absolute = {free}",
            "# Queues are led by all nodes.",
            "queue_leader_locator = balanced",
            "",
        ]
    )


def server_conf(values: Values) -> str:
    """What a server of our own is told, in place of its image's files in conf.d."""
    return "\n".join(
        [
            "listeners.tcp.default = 5672",
            "management.tcp.port = 15672",
            "prometheus.tcp.port = 15692",
            "log.console = true",
            "log.file = false",
            "",
        ]
    ) + rabbitmq_conf(values)
