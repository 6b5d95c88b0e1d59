"""Fixtures that all tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import NodeFactory, RunningNode


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
