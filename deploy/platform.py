"""What a namespace has besides its functions, in the order of applying."""

from collections.abc import Sequence

from deploy.access import access
from deploy.blobs import blobs
from deploy.broker import broker
from deploy.configmap import configmap
from deploy.database import database
from deploy.gateway import console, gateway
from deploy.jobs import jobs
from deploy.monitoring import monitoring
from deploy.namespace import namespace
from deploy.network import network
from deploy.pod import Object
from deploy.recorder import recorder
from deploy.refusal import check_values
from deploy.route import route
from deploy.values import Values
from runtime.function import FunctionSpec


def platform(specs: Sequence[FunctionSpec], values: Values) -> list[Object]:
    """All of it.  Raises ConfigurationError with every value that cannot work, by its name."""
    return [found for phase in platform_phases(specs, values).values() for found in phase]


def platform_phases(specs: Sequence[FunctionSpec], values: Values) -> dict[str, list[Object]]:
    """The same by phase: what is in one needs those before it to be there."""
    check_values(values)
    return {
        "foundation": [
            *namespace(values),
            *access(values),
            *network(values),
            *configmap(specs, values),
            *blobs(values),
        ],
        "stores": [*broker(values), *database(values)],
        "jobs": jobs(specs, values),
        "services": [
            *gateway(specs, values),
            *console(specs, values),
            *recorder(values),
            *route(values),
            *monitoring(values),
        ],
    }
