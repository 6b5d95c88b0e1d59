"""Jobs that run before the roles: the ledger's tables, and the queues.

A Job cannot be changed, so that another one has another name, which ends in a digest of it.  Doing
either again changes nothing.  KEDA must not ask for a queue that is not there yet.
"""

from collections.abc import Sequence
from typing import Any

from deploy.access import account
from deploy.deployment import container
from deploy.gateway import CATALOG
from deploy.pod import CONFIG_DIGEST, Object, digest, labels, metadata, pod, settings, volumes
from deploy.values import Values
from runtime.function import FunctionSpec

CPU = "100m"
MEMORY = "256Mi"
AGAIN = 6  # pods, after pauses of 10, 20, 40, 80, 160 and 320 seconds: stores may start just now
DEADLINE = 1200  # seconds for all of them
KEPT = 86_400  # seconds that one that is over can be looked at


def jobs(specs: Sequence[FunctionSpec], values: Values) -> list[Object]:
    """`lumbre migrate` and `lumbre declare`, each as a Job."""
    queues = [[each.name, each.devices, each.max_attempts, each.timeout] for each in specs]
    return [
        _job("migrate", values, [], ledger=True),
        _job("declare", values, [settings(values), queues], broker=True),
    ]


def _job(
    command: str, values: Values, inputs: Any, *, ledger: bool = False, broker: bool = False
) -> Object:
    """A Job, done again when its spec is another, or its `inputs`."""
    own = labels("job")
    made = container(
        command,
        values,
        [command],
        cpu=CPU,
        memory=MEMORY,
        ledger=ledger,
        broker=broker,
        blobs=False,
        env={"LUMBRE_CATALOG": CATALOG},
    )
    template = pod(values, [made], account=account("job"), volumes=volumes(values, blobs=False))
    spec = {
        "backoffLimit": AGAIN,
        "activeDeadlineSeconds": DEADLINE,
        "ttlSecondsAfterFinished": KEPT,
        "template": {
            "metadata": {"labels": own, "annotations": {CONFIG_DIGEST: digest(inputs)}},
            "spec": template | {"restartPolicy": "Never"},  # each try keeps its log
        },
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(f"lumbre-{command}-{digest(spec)}", values, own),
        "spec": spec,
    }
