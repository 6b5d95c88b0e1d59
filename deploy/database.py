"""PostgreSQL for the ledger: one pod to try things out, or one elsewhere."""

from deploy.access import account
from deploy.blobs import claim
from deploy.namespace import GATEWAY as PRIORITY
from deploy.pod import (
    Object,
    container_security,
    labels,
    metadata,
    pod,
    resources,
    selector,
)
from deploy.values import Values

DATABASE = "lumbre-postgres"  # the names of Service and StatefulSet
PORT = 5432
USER = 999  # postgres, in the official image of Debian
DATA = "/data"  # images differ in where their own volume is
GRACE = 60  # seconds to close; the image asks for PostgreSQL's fast shutdown (SIGINT)


def database(values: Values) -> list[Object]:
    """The StatefulSet and its Service; nothing where the database is elsewhere."""
    if values.database.kind == "external":
        return []
    return [_service(values), _stateful_set(values)]


def _service(values: Values) -> Object:
    own = labels("database")
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(DATABASE, values, own),
        "spec": {
            "selector": selector(own),
            "ports": [{"name": "postgresql", "port": PORT, "targetPort": "postgresql"}],
        },
    }


def _stateful_set(values: Values) -> Object:
    own = labels("database")
    memory = {"medium": "Memory", "sizeLimit": "128Mi"}  # parallel queries; part of its memory
    spec = pod(
        values,
        [_container(values)],
        account=account("database"),
        volumes=[
            {"name": "socket", "emptyDir": {"sizeLimit": "16Mi"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
            {"name": "shm", "emptyDir": memory},
        ],
        grace=GRACE,
        priority=PRIORITY,
        user=USER,
    )
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(DATABASE, values, own),
        "spec": {
            "serviceName": DATABASE,
            "replicas": 1,
            "selector": {"matchLabels": selector(own)},
            "template": {"metadata": {"labels": own}, "spec": spec},
            "volumeClaimTemplates": [
                {
                    "metadata": {"name": "data", "labels": selector(own)},
                    "spec": claim(values.database.storage),
                }
            ],
        },
    }


def _container(values: Values) -> Object:
    return {
        "name": "postgres",
        "image": values.database.image,
        "imagePullPolicy": values.images.pull_policy,
        "env": [
            {"name": "POSTGRES_USER", "value": "lumbre"},
            {"name": "POSTGRES_DB", "value": "lumbre"},
            {
                "name": "POSTGRES_PASSWORD",
                "valueFrom": {"secretKeyRef": {"name": values.database.secret, "key": "password"}},
            },
            # initdb wants a folder that is its own: a volume may have lost+found in it.
            {"name": "PGDATA", "value": f"{DATA}/pgdata"},
            {"name": "POSTGRES_INITDB_ARGS", "value": "--data-checksums"},
        ],
        "ports": [{"name": "postgresql", "containerPort": PORT}],
        # Over TCP: while the image sets a new database up, its server has a socket only.
        "startupProbe": _ready(period=5, failures=120),
        "readinessProbe": _ready(period=10, failures=3),
        "resources": resources(values.database.cpu, values.database.memory),
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": "data", "mountPath": DATA},
            {"name": "socket", "mountPath": "/var/run/postgresql"},
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
    }


def _ready(*, period: int, failures: int) -> Object:
    command = ["pg_isready", "--host=127.0.0.1", "--username=lumbre", "--dbname=lumbre"]
    return {
        "exec": {"command": command},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }
