"""Every command of the README works as printed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support import ROOT, NodeFactory, RunningNode, eventually

README = (ROOT / "README.md").read_text()
LUMBRE = shutil.which("lumbre", path=str(Path(sys.executable).parent))


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if line]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader would stand: the functions, a photo, and two matrices."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "functions", folder / "functions")
    (source,) = blocks("python")
    (folder / "functions" / "collatz.py").write_text(source)
    Image.new("RGB", (64, 48), (200, 30, 90)).save(folder / "photo.jpg")
    generator = np.random.default_rng(0)
    for name, shape in (("a", (5, 7)), ("b", (7, 3))):
        np.save(folder / f"{name}.npy", generator.normal(size=shape))
    return folder


@pytest.fixture(scope="module")
def node(start_node: NodeFactory, folder: Path) -> RunningNode:
    return start_node(folder / "functions")


def run(command: str, node: RunningNode, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line as a reader would, but against the test's port and with curl's --fail."""
    command = command.replace("localhost:8080", node.url.removeprefix("http://"))
    command = re.sub(r"^curl ", "curl --silent --show-error --fail-with-body ", command)
    environment = os.environ | {
        "LUMBRE_URL": node.url,
        "LUMBRE_STATE": str(node.state),
        "PATH": f"{Path(LUMBRE or '').parent}:{os.environ['PATH']}",
    }
    return subprocess.run(
        command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=90
    )


def test_the_readme_has_commands_to_run() -> None:
    assert len(COMMANDS) > 10
    assert LUMBRE, "the lumbre command is not installed beside this Python"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_works_as_printed(
    command: str, node: RunningNode, folder: Path
) -> None:
    done = run(command, node, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout or re.search(r"-o |--output ", command)


def test_what_the_commands_wrote_is_right(node: RunningNode, folder: Path) -> None:
    """The product is the product, and the edges of an even picture are black."""
    for command in COMMANDS:
        if "-o " in command:
            run(command, node, folder)
    expected = np.load(folder / "a.npy") @ np.load(folder / "b.npy")
    np.testing.assert_allclose(np.load(folder / "product.npy"), expected, rtol=1e-5)
    assert np.asarray(Image.open(folder / "edges.png")).max() < 8


def test_the_first_answer_shows_the_fields_the_readme_shows(
    node: RunningNode, folder: Path
) -> None:
    import json

    (shown,) = (json.loads(block) for block in blocks("json"))
    done = run(COMMANDS[0], node, folder)
    assert json.loads(done.stdout).keys() == shown.keys()


def test_the_promises_name_tests_that_are_there() -> None:
    for path in re.findall(r"\| `(tests/[\w/.]+)` \|", README):
        assert (ROOT / path).exists(), path


def test_replicas_of_the_shipped_functions_come_by_themselves(node: RunningNode) -> None:
    node.client.post("/invoke/matmul", json={"n": 64}).raise_for_status()
    counts = node.client.get("/functions/matmul").json()["replicas"]["cpu"]
    assert counts["ready"] + counts["busy"] >= 1
    eventually(lambda: node.client.get("/audit").json()["holds"])
