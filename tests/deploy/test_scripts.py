"""The scripts in deploy/scripts: those for Linux are run, those for Windows are read."""

import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.support import ROOT, eventually

SCRIPTS = ROOT / "deploy" / "scripts"
SHELL = sorted(SCRIPTS.glob("*.sh"))
INSTALLED = (ROOT / ".venv" / "installed").is_file() and shutil.which("make") is not None
needs_make = pytest.mark.skipif(
    not INSTALLED, reason="needs make, and the environment that `make install` makes in .venv"
)


def environment(**more: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("LUMBRE_")}
    own.pop("DISPLAY", None)
    return own | more


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@needs_make
def test_run_demo_shows_the_demonstration_from_any_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [SCRIPTS / "run_demo.sh", "--seconds=5", "--port=0", f"--out={tmp_path / 'report'}"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report" / "load_test.html").is_file()


@needs_make
def test_start_all_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [SCRIPTS / "start_all.sh", f"--port={port}", f"--state={tmp_path / 'state'}"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def ready() -> bool:
        assert process.poll() is None
        try:
            return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    with process:
        try:
            eventually(ready, within=60)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.mark.parametrize("script", SHELL, ids=lambda path: path.name)
def test_a_shell_script_can_be_run_and_has_no_syntax_error(script: Path) -> None:
    assert os.access(script, os.X_OK)
    done = subprocess.run(["sh", "-n", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_shellcheck_finds_nothing_in_the_shell_scripts() -> None:
    done = subprocess.run(["shellcheck", *SHELL], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["run_demo.ps1", "start_all.bat"])
def test_a_script_for_windows_hands_over_to_one_for_linux(name: str) -> None:
    text = (SCRIPTS / name).read_bytes().decode()
    called = re.findall(r"sh (deploy/scripts/\w+\.sh)", text)
    assert called == [f"deploy/scripts/{Path(name).stem}.sh"]
    assert (ROOT / called[0]).is_file()
    assert "wsl --install" in text  # what to do where there is no Linux


def test_the_batch_file_has_the_line_ends_that_cmd_wants() -> None:
    data = (SCRIPTS / "start_all.bat").read_bytes()
    assert data.count(b"\r\n") == data.count(b"\n")
