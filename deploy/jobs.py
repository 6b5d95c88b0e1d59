"""Jobs that run before the roles: the ledger's tables, and the queues.

A Job cannot be changed, so that another one has another name, which ends in a digest of it.  Doing
either again changes nothing.  KEDA must not ask for a queue that is not there yet.
"""

from collections.abc import Sequence

from deploy.access import account
from deploy.configmap import gateway_settings
from deploy.deployment import container
from deploy.gateway import CATALOG
from deploy.pod import CONFIG_DIGEST, Object, digest, labels, metadata, pod, volumes
from deploy.values import Values
from runtime.function import FunctionSpec

CPU = "100m"
MEMORY = "256Mi"
AGAIN = 6  # pods, after pauses of 10, 20, 40, 80, 160 and 320 seconds: stores may start just now
DEADLINE = 1200  # seconds for all of them
KEPT = 86_400  # seconds that one that is over can be looked at


def jobs(specs: Sequence[FunctionSpec], values: Values) -> list[Object]:
    """`lumbre migrate` and `lumbre declare`, each as a Job."""
    return [
        _job("migrate", specs, values, ledger=True),
        _job("declare", specs, values, ledger=False, env={"LUMBRE_CATALOG": CATALOG}),
    ]


def _job(
    command: str,
    specs: Sequence[FunctionSpec],
    values: Values,
    *,
    ledger: bool,
    env: dict[str, str] | None = None,
) -> Object:
    own = labels("job")
    made = container(command, values, [command], cpu=CPU, memory=MEMORY, ledger=ledger, env=env)
    template = pod(values, [made], account=account("job"), volumes=volumes(values))
    functions = sorted((each.name, each.version) for each in specs)
    inside = [gateway_settings(specs, values), functions]  # what is not in the spec itself
    spec = {
        "backoffLimit": AGAIN,
        "activeDeadlineSeconds": DEADLINE,
        "ttlSecondsAfterFinished": KEPT,
        "template": {
            "metadata": {"labels": own, "annotations": {CONFIG_DIGEST: digest(inside)}},
            "spec": template | {"restartPolicy": "Never"},  # each try keeps its log
        },
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(f"lumbre-{command}-{digest(spec)}", values, own),
        "spec": spec,
    }
