"""Where the tests of a cluster run, as the environment says it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

PREFIX = "LUMBRE_CLUSTER_"
NAMES = ("NAMESPACE", "BROKER_URL", "MANAGEMENT_URL", "DATABASE_URL", "WORKER_COMMAND", "IMAGE")


@dataclass(frozen=True, slots=True)
class Site:
    """A cluster, and what on it is somebody else's; an empty text is "not said".

    `namespace`: one that is there; else one is made, and deleted afterwards.
    `broker_url`, `management_url`, `database_url`: as pods reach them, credentials included; else
    the dev overlay's own.
    `worker_command`: what workers run instead of their image's entry point.
    `image`: Lumbre's image with tests/cluster/functions in /app/functions.
    """

    kubeconfig: str
    namespace: str = ""
    broker_url: str = ""
    management_url: str = ""
    database_url: str = ""
    worker_command: str = ""
    image: str = ""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Site | None":
        """None where no KUBECONFIG is set: a cluster is only touched where somebody names it."""
        kubeconfig = environment.get("KUBECONFIG", "")
        if not kubeconfig:
            return None
        said = {name.lower(): environment.get(PREFIX + name, "") for name in NAMES}
        return cls(kubeconfig=os.path.expanduser(kubeconfig), **said)
