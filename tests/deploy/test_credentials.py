"""Secrets: made where the store is ours, asked for elsewhere, and never shown."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autoscaler.cluster import Cluster, connect
from deploy.credentials import LENGTH, credentials, make, missing, random_password
from deploy.values import Values, read_values
from runtime.errors import ConfigurationError
from tests.autoscaler.apiserver import ApiServer


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def cluster(api: ApiServer, tmp_path: Path) -> Iterator[Cluster]:
    with connect("lumbre", kubeconfig=api.kubeconfig(tmp_path)) as connected:
        yield connected


def secret(name: str, *keys: str) -> dict[str, Any]:
    data = {key: base64.b64encode(b"known").decode() for key in keys}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


def values(overlay: str = "dev", **more: Any) -> Values:
    return read_values(overlay, overrides=more)


def test_the_secrets_of_our_own_stores_are_made_once(cluster: Cluster, api: ApiServer) -> None:
    lacking = missing(cluster, values())
    assert [each.name for each in lacking] == ["lumbre-broker", "lumbre-database"]
    assert list(make(cluster, values(), lacking)) == ["lumbre-broker", "lumbre-database"]
    broker, database = (api.secret(name) for name in ("lumbre-broker", "lumbre-database"))
    assert broker["username"] == "lumbre"
    password = database["password"]
    assert database["url"] == (
        f"postgresql://lumbre:{password}@lumbre-postgres.lumbre.svc:5432/lumbre"
    )
    assert password != broker["password"]
    assert list(make(cluster, values(), lacking)) == []  # somebody was quicker
    assert api.secret("lumbre-database")["password"] == password


def test_secrets_that_are_there_are_left_alone(cluster: Cluster, api: ApiServer) -> None:
    api.add(secret("lumbre-broker", "username", "password"))
    api.add(secret("lumbre-database", "url", "password"))
    assert missing(cluster, values()) == []


def test_a_secret_without_a_key_is_refused_and_not_replaced(
    cluster: Cluster, api: ApiServer
) -> None:
    api.add(secret("lumbre-database", "password"))
    with pytest.raises(ConfigurationError, match=r"Secret lumbre-database .* lacks url"):
        missing(cluster, values())


def test_a_password_is_long_and_needs_no_quoting() -> None:
    made = {random_password() for _ in range(100)}
    assert len(made) == 100
    assert all(len(each) == LENGTH and each.isalnum() and each.isascii() for each in made)


def test_nothing_that_is_made_can_be_seen_in_what_describes_it() -> None:
    assert all("make=" not in repr(each) for each in credentials(values()))


def test_secrets_of_stores_elsewhere_are_asked_for_with_their_keys(
    cluster: Cluster, api: ApiServer
) -> None:
    with pytest.raises(ConfigurationError) as e:
        missing(cluster, values("production", images={"pull_secrets": ["registry"]}))
    said = str(e.value)
    assert "there is no Secret lumbre-database in the namespace lumbre" in said
    assert "kubectl -n lumbre create secret generic lumbre-database --from-literal=url=…" in said
    assert "Secret lumbre-blobs" in said
    assert "create secret docker-registry registry" in said
    assert "default-user" not in said  # RabbitMQ's operator makes it
    api.add(secret("lumbre-database", "url"))
    api.add(secret("lumbre-blobs", "AWS_ACCESS_KEY_ID"))
    assert missing(cluster, values("production")) == []


def test_a_broker_elsewhere_needs_its_user(cluster: Cluster) -> None:
    broker = {"kind": "external", "url": "amqp://b", "management_url": "http://b:15672"}
    with pytest.raises(ConfigurationError, match=r"lumbre-broker .*username=… .*password=…"):
        missing(cluster, values(broker=broker, callbacks={"hosts": ["a.example"], "secret": "s"}))


def test_an_account_that_may_not_read_secrets_may_go_on(cluster: Cluster, api: ApiServer) -> None:
    api.denied.add(("get", "secrets"))
    assert missing(cluster, values("production")) == []
