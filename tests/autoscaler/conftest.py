"""Fixtures of the tests that ask a cluster."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from autoscaler.cluster import Cluster, connect
from tests.autoscaler.apiserver import ApiServer


@pytest.fixture
def api() -> Iterator[ApiServer]:
    """An API server with the namespace lumbre, in which nothing is."""
    with ApiServer() as server:
        yield server


@pytest.fixture
def cluster(api: ApiServer, tmp_path: Path) -> Iterator[Cluster]:
    """A connection to it."""
    with connect("lumbre", kubeconfig=api.kubeconfig(tmp_path)) as connected:
        yield connected
