"""Fixtures of the HTTP tests."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.runtime.gateway.asking import FUNCTIONS, MAX_BODY, MAX_RESULT
from tests.support import NodeFactory, RunningNode


@pytest.fixture(scope="module")
def slow_gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Until this file is there, no replica of slow_start becomes ready."""
    return tmp_path_factory.mktemp("slow") / "gate"


@pytest.fixture(scope="module")
def node(start_node: NodeFactory, slow_gate: Path) -> Iterator[RunningNode]:
    """A node for the tests of a module; whatever they did, it kept its books and its calm."""
    node = start_node(
        FUNCTIONS,
        LUMBRE_MAX_BODY=str(MAX_BODY),
        LUMBRE_MAX_RESULT=str(MAX_RESULT),
        SLOW_START_GATE=str(slow_gate),
    )
    yield node
    audit = node.client.get("/audit").json()
    assert audit["holds"], audit
    assert audit["accepted"] == sum(audit["by_status"].values())
    assert "Traceback" not in node.log.read_text()


@pytest.fixture
def client(node: RunningNode) -> httpx.Client:
    return node.client


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """A gate for functions that hold; open at the end of the test, whatever happened."""
    path = tmp_path / "gate"
    yield path
    path.touch()
