"""Servers that these tests may stop and crash."""

from collections.abc import Iterator

import pytest

from loadtest.servers import PostgresServer, RabbitServer
from tests.conftest import running


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresServer]:
    with running(PostgresServer) as server:
        yield server


@pytest.fixture(scope="module")
def tls_rabbit() -> Iterator[RabbitServer]:
    with running(lambda folder: RabbitServer(folder, plugins=(), tls=True)) as server:
        yield server
