"""Lumbre applied to the cluster that KUBECONFIG names, once for all tests here.

Set KUBECONFIG, and what of the following is not as on a fresh cluster (all LUMBRE_CLUSTER_…, see
`site`): NAMESPACE; BROKER_URL with MANAGEMENT_URL, and DATABASE_URL, where the dev overlay's pods
shall not be used; IMAGE, which is Lumbre's with tests/cluster/functions in /app/functions;
WORKER_COMMAND.  Where the cluster has no nodes, a stand-in kubelet runs the pods as processes of
this machine, over a private RabbitMQ and PostgreSQL.  Without KUBECONFIG, without KEDA, or where
a program is missing, all tests skip and say why.
"""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
import yaml

from loadtest.servers import PostgresServer, RabbitServer
from tests.cluster import sandbox
from tests.cluster.api import Api, Object
from tests.cluster.deployed import FUNCTIONS, Deployed, apply, deploy
from tests.cluster.forward import forwarded
from tests.cluster.kubelet import NODES, Kubelet
from tests.cluster.provision import IMAGE
from tests.cluster.sandbox import Container, Mount, Sandbox
from tests.cluster.site import Site
from tests.conftest import running
from tests.support import eventually

KEEP = "LUMBRE_CLUSTER_KEEP"  # a folder that the pods' logs are copied to


@pytest.fixture(scope="session")
def site() -> Site:
    found = Site.read(os.environ)
    if found is None:
        pytest.skip("no cluster: KUBECONFIG is not set")
    return found


@pytest.fixture(scope="session")
def api(site: Site) -> Api:
    """The cluster, where it answers and has KEDA."""
    try:
        api = Api(site.kubeconfig)
        if api.get("/apis/keda.sh/v1alpha1") is None:
            pytest.skip(f"KEDA is not installed on {api.address}")
    except Exception as error:  # a file that is no kubeconfig raises what its YAML happens to be
        pytest.skip(f"the cluster of KUBECONFIG={site.kubeconfig} cannot be used: {error}")
    return api


@pytest.fixture(scope="session")
def stand_in(api: Api) -> bool:
    """Whether the cluster has no nodes, so that pods must run as processes here."""
    own = {node.name for node in NODES}
    nodes = {node["metadata"]["name"] for node in api.items("/api/v1/nodes")}
    if nodes - own:
        return False
    if lacking := sandbox.lacking():
        pytest.skip(f"the cluster has no nodes, and {lacking}")
    return True


@pytest.fixture(scope="session")
def broker(site: Site, stand_in: bool) -> Iterator[RabbitServer | None]:
    """A private RabbitMQ, where pods reach one of this machine and none is given."""
    if stand_in and not site.broker_url:
        with running(RabbitServer) as server:
            yield server
    else:
        yield None


@pytest.fixture(scope="session")
def database_url(site: Site, stand_in: bool) -> Iterator[str]:
    """What pods know the ledger by; empty where the dev overlay's pod shall have it."""
    if stand_in and not site.database_url:
        with running(PostgresServer) as server:
            yield server.create_database("lumbre")
    else:
        yield site.database_url


@pytest.fixture(scope="session")
def deployed(
    site: Site, api: Api, stand_in: bool, broker: RabbitServer | None, database_url: str
) -> Iterator[Deployed]:
    """Lumbre in a namespace of its own, with the functions of tests/cluster/functions."""
    if broker is not None:
        site = replace(site, broker_url=broker.url(), management_url=broker.management_url)
    namespace = site.namespace or f"lumbre-test-{uuid4().hex[:8]}"
    with ExitStack() as stack:
        name = stack.enter_context(TemporaryDirectory(prefix="lumbre-", dir="/tmp"))
        folder = Path(name)
        if keep := os.environ.get(KEEP):
            stack.callback(_keep_logs, folder / "pods", Path(keep))
        if stand_in:
            entrypoint = (sys.executable, "-m", "runtime")  # this checkout
            image = _image(folder / "image", entrypoint)
            kubelet = Kubelet(api, namespace, folder / "pods", image, entrypoint)
            stack.callback(kubelet.close)
        if not site.namespace:
            stack.callback(_remove, api, namespace)
            body = {"metadata": {"name": namespace}}
            api.create("/api/v1/namespaces", body)
        stack.callback(deploy, site.kubeconfig, "delete", "--yes", "--namespace", namespace)
        values = folder / "values.yaml"
        values.write_text(yaml.safe_dump(_values(site, namespace, database_url, stand_in)))
        _make_secrets(api, namespace, site, database_url)
        apply(site.kubeconfig, values)
        url = stack.enter_context(forwarded(api, site.kubeconfig, namespace, stand_in))
        client = stack.enter_context(httpx.Client(base_url=url, timeout=30))
        yield Deployed(api, namespace, site.kubeconfig, values, client)


def _values(site: Site, namespace: str, database_url: str, stand_in: bool) -> Object:
    """The values that the dev overlay does not say."""
    values: Object = {"namespace": namespace, "gpus": {"count": 2}}
    values["workers"] = {
        "command": site.worker_command.split(),
        "env": {"LUMBRE_SIMULATE_GPU": "1"},
        "cpu": "100m",
        "memory": "256Mi",
    }
    if site.image:
        values["images"] = dict.fromkeys(("cpu", "gpu", "gateway"), site.image)
    if site.broker_url:
        url, management = urlsplit(site.broker_url), urlsplit(site.management_url)
        values["broker"] = {
            "kind": "external",
            "url": f"{url.scheme}://{url.hostname}:{url.port or 5672}{url.path}",
            "management_url": f"{management.scheme}://{management.netloc.rpartition('@')[2]}",
        }
    if database_url:
        values["database"] = {"kind": "external"}
    return values


def _make_secrets(api: Api, namespace: str, site: Site, database_url: str) -> None:
    """The Secrets of what is outside the namespace; `apply` makes the others."""
    secrets: dict[str, dict[str, str]] = {}
    if site.broker_url:
        url = urlsplit(site.broker_url)
        user, password = url.username or "guest", url.password or "guest"
        secrets["lumbre-broker"] = {"username": user, "password": password}
    if database_url:
        secrets["lumbre-database"] = {"url": database_url}
    for name, content in secrets.items():
        path = f"/api/v1/namespaces/{namespace}/secrets"
        api.delete(f"{path}/{name}")  # of an earlier run, in a namespace that was given
        api.create(path, {"metadata": {"name": name}, "stringData": content})


def _image(folder: Path, entrypoint: Sequence[str]) -> Path:
    """What an image has beside the interpreter: the functions, and their catalog."""
    app, out = folder / "app", folder.with_name("baked")
    shutil.copytree(FUNCTIONS, app / "functions", ignore=shutil.ignore_patterns("__pycache__"))
    out.mkdir()
    container = Container(
        command=[*entrypoint, "bake", "/app/functions", "--output", "/tmp/catalog.json"],
        environment=IMAGE | {"HOME": "/tmp"},
        hostname="build",
        workdir="/app",
        user=0,
        image=folder,
        mounts=[Mount(out, "/tmp")],
    )
    baking = Sandbox(container, folder.with_name("bake"), folder.with_name("bake.log"))
    eventually(lambda: baking.exit_code is not None, 60)
    assert baking.exit_code == 0, baking.log.read_text()
    shutil.copy(out / "catalog.json", app)
    return folder


def _remove(api: Api, namespace: str) -> None:
    """Delete a namespace, and wait until all that was in it is gone."""
    path = f"/api/v1/namespaces/{namespace}"
    api.delete(path)
    eventually(lambda: api.get(path) is None, 180, 0.5)


def _keep_logs(pods: Path, folder: Path) -> None:
    for log in pods.glob("*/*.log"):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(log, folder / f"{log.parent.name}.{log.name}")
