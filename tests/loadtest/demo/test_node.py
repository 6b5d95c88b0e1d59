"""The demonstration's node: started, asked, ended; and killed with whoever started it."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from loadtest.demo.node import DemoFailed, demo_node
from runtime.errors import ConfigurationError
from tests.support import ROOT, eventually

TINY = """
from runtime import function

@function
def tiny() -> int:
    return 1
"""


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    folder = tmp_path / "functions"
    folder.mkdir()
    (folder / "tiny.py").write_text(TINY)
    (folder / "torn.py").write_text("import no_such_module\n")
    return folder


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def test_it_serves_a_folder_beside_its_own_functions_and_is_gone_afterwards(
    functions: Path,
) -> None:
    with demo_node(functions, 0) as node:
        assert set(node.functions) == {"flaky", "tiny", "wave"}
        assert "no_such_module" in node.broken["torn"]
        assert httpx.post(f"{node.url}/invoke/wave", json={"seconds": 0.01}).status_code == 200
        failed = httpx.post(f"{node.url}/invoke/flaky", json={"n": 9})
        assert failed.status_code == 500
        assert "three divides 9" in failed.json()["detail"]
    assert not answers(node.url)
    assert not node.log.exists()


def test_a_port_that_is_taken_is_refused_before_anything_starts(functions: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(ConfigurationError, match=f"port {port} is taken"),
            demo_node(functions, port),
        ):
            raise AssertionError("it started")


def test_a_node_that_is_not_ready_in_time_tells_what_it_said(
    functions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadtest.demo.node.START_LIMIT", 0.0)
    with pytest.raises(DemoFailed, match="not ready after 0 s"), demo_node(functions, 0):
        raise AssertionError("it started")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    with pytest.raises(ConfigurationError, match="nowhere is no folder"), demo_node(missing, 0):
        raise AssertionError("it started")


def test_it_dies_with_a_demonstration_that_is_killed(functions: Path) -> None:
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from loadtest.demo.node import demo_node\n"
        "with demo_node(Path(sys.argv[1]), 0) as node:\n"
        "    print(node.url, flush=True)\n"
        "    time.sleep(600)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(functions)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process, process.stdout:
        url = process.stdout.readline().strip()
        assert answers(url)
        process.send_signal(signal.SIGKILL)
    eventually(lambda: not answers(url))
