"""The gateway of a cluster, as this machine reaches it."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from tests.cluster.api import Api, Object
from tests.support import eventually

GATEWAY = "app.kubernetes.io/component=gateway"
PORT = 8080
LIMIT = 60.0  # seconds until it answers


@contextmanager
def forwarded(api: Api, kubeconfig: str, namespace: str, direct: bool) -> Iterator[str]:
    """Its URL: a pod's own address where `direct`, else by `kubectl port-forward`."""
    if direct:
        yield _answering(f"http://{_pod(api, namespace)['status']['podIP']}:{PORT}")
        return
    command = ["kubectl", "--kubeconfig", kubeconfig, "--namespace", namespace]
    command += ["port-forward", "service/lumbre-gateway", f":{PORT}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as forward:
        try:
            assert forward.stdout is not None
            said = forward.stdout.readline()
            match = re.search(r"127\.0\.0\.1:(\d+)", said)
            assert match, f"kubectl port-forward said {said!r}"
            yield _answering(f"http://127.0.0.1:{match[1]}")
        finally:
            forward.terminate()


def _pod(api: Api, namespace: str) -> Object:
    """A gateway's pod that is ready."""

    def ready() -> Object | None:
        pods = api.items(f"/api/v1/namespaces/{namespace}/pods", labelSelector=GATEWAY)
        return next((pod for pod in pods if is_ready(pod)), None)

    found = eventually(ready, LIMIT, 0.5)
    assert found is not None
    return found


def is_ready(pod: Object) -> bool:
    """Whether a pod's condition Ready is true, and it is not about to go."""
    conditions = {c["type"]: c["status"] for c in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def _answering(url: str) -> str:
    def answers() -> bool:
        try:
            return httpx.get(f"{url}/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    eventually(answers, LIMIT, 0.5)
    return url
