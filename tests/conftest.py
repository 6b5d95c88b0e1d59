"""Fixtures that all tests share."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar
from uuid import uuid4

import pytest

from loadtest.servers import Missing, PostgresServer, RabbitServer
from tests.support import NodeFactory, RunningNode

T = TypeVar("T", RabbitServer, PostgresServer)


@pytest.fixture(scope="module")
def start_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeFactory]:
    """A factory of nodes: `start_node(functions_folder, LUMBRE_DEBUG="1")`; each is stopped."""
    nodes: list[RunningNode] = []

    def start(functions: Path, **environment: str) -> RunningNode:
        node = RunningNode(tmp_path_factory.mktemp("node"), functions, environment)
        nodes.append(node)
        return node.start()

    yield start
    for node in nodes:
        node.stop()


@contextmanager
def running(make: Callable[[Path], T]) -> Iterator[T]:
    """A server of our own; without its programs, CI fails and a laptop skips."""
    # Short, as Erlang wants it, and reachable for whom PostgreSQL runs as where we are root.
    with TemporaryDirectory(prefix="lumbre-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        try:
            server = make(folder)
        except Missing as missing:
            if os.environ.get("CI") == "true":
                pytest.fail(f"{missing}")
            pytest.skip(f"{missing}")
        try:
            yield server.start()
        finally:
            server.kill()


@pytest.fixture(scope="session")
def rabbit() -> Iterator[RabbitServer]:
    """The RabbitMQ that tests share; whoever restarts or breaks one uses `breakable_rabbit`."""
    with running(RabbitServer) as server:
        yield server


@pytest.fixture
def rabbit_url(rabbit: RabbitServer) -> Iterator[str]:
    """The address of a vhost that is this test's alone."""
    vhost = f"test-{uuid4().hex[:12]}"
    rabbit.add_vhost(vhost)
    yield rabbit.url(vhost=vhost)
    rabbit.remove_vhost(vhost)


@pytest.fixture(scope="module")
def breakable_rabbit() -> Iterator[RabbitServer]:
    """A RabbitMQ for one module, which may stop, kill, pause and block it; it leaves it running.

    Without the management plugin, since that makes starts and stops slower.
    """
    with running(lambda folder: RabbitServer(folder, plugins=())) as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The PostgreSQL that tests share."""
    with running(PostgresServer) as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """The address of an empty database that is this test's alone: postgresql://…"""
    name = f"test_{uuid4().hex[:12]}"
    yield postgres.create_database(name)
    postgres.drop_database(name)
