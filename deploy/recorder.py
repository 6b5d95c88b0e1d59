"""Recorders: they write outcomes to the ledger, send callbacks, and keep the ledger in order."""

from deploy.budget import budget
from deploy.deployment import container, deployment
from deploy.pod import (
    HEALTH,
    HEALTH_PORT,
    Object,
    annotations,
    callback_secret,
    labels,
    probe,
    selector,
)
from deploy.values import Values

RECORDER = "lumbre-recorder"
GRACE = 45  # seconds: what is being written and confirmed takes 10 each at most
STARTING = 120  # seconds: it waits for its stores for up to 60 (LUMBRE_BROKER_PATIENCE)


def recorder(values: Values) -> list[Object]:
    """The Deployment; with several replicas a budget, too."""
    own = labels("recorder")
    found = [
        deployment(
            "recorder",
            values,
            _container(values),
            annotations=annotations(values),
            replicas=values.recorder.replicas,
            grace=GRACE,
        )
    ]
    if values.recorder.replicas > 1:
        found.append(budget(RECORDER, values, own, selector(own)))
    return found


def _container(values: Values) -> Object:
    return container(
        "recorder",
        values,
        ["recorder"],
        cpu=values.recorder.cpu,
        memory=values.recorder.memory,
        env={"LUMBRE_HOST": "0.0.0.0", "LUMBRE_HEALTH_PORT": str(HEALTH_PORT)},
        secrets=callback_secret(values),
        ports=[{"name": HEALTH, "containerPort": HEALTH_PORT}],
        startupProbe=probe("/startupz", HEALTH, period=2, failures=STARTING // 2),
        readinessProbe=probe("/readyz", HEALTH, period=10),
        livenessProbe=probe("/healthz", HEALTH, period=10, failures=6),
    )
