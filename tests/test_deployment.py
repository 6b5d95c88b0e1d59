"""The deployment page is true: its three terminals, typed as they are printed, and killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from loadtest.servers.guarded import free_ports
from tests.support import ROOT, Page, eventually

PAGE = Page("deployment.md")
UP = 60.0  # seconds, on a machine where torch is not in the page cache


class Terminals:
    """Terminals in one folder; what is typed first is typed in each of them."""

    def __init__(self, folder: Path, broker_url: str) -> None:
        (self._port,) = free_ports(1)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self._port}", timeout=60)
        self._folder = folder
        self._broker_url = broker_url
        self._open: dict[str, subprocess.Popen[bytes]] = {}
        (folder / ".venv").symlink_to(sys.prefix)
        (folder / "functions").symlink_to(ROOT / "functions")
        first, *self.commands = (self._here(text) for _, text in self._blocks())
        self._first = first

    @staticmethod
    def _blocks() -> list[tuple[str, str]]:
        start, end = PAGE.text.index("## Three terminals"), PAGE.text.index("## A ledger in")
        section = Page(PAGE.name)
        section.text = PAGE.text[start:end]
        return section.blocks("sh")

    def _here(self, text: str) -> str:
        """With the addresses of this test."""
        text = text.replace("amqp://guest:guest@localhost", self._broker_url)
        return text.replace("localhost:8080", f"localhost:{self._port}")

    def _environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("LUMBRE_")}
        return {**kept, "LUMBRE_PORT": f"{self._port}", "PYTHONPATH": str(ROOT)}

    def type(self, command: str) -> subprocess.Popen[bytes]:
        """Open a terminal and type; in a session of its own, as terminals are."""
        with (self._folder / "said").open("ab") as said:
            return subprocess.Popen(
                ["bash", "-c", f"{self._first}{command}"],
                cwd=self._folder,
                env=self._environment(),
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def open(self, command: str) -> None:
        """Type a command that goes on, and wait until it says that it is up."""
        before = self.said().count(" is up")
        # The last command of a terminal takes the shell's place, so that it is what is killed.
        self._open[command] = self.type(f"exec {command}")
        eventually(lambda: self.said().count(" is up") > before, UP)

    def kill(self, command: str) -> None:
        terminal = self._open.pop(command)
        terminal.kill()
        assert terminal.wait() == -signal.SIGKILL

    def said(self) -> str:
        file = self._folder / "said"
        return file.read_text() if file.exists() else ""

    def audit(self) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get("/audit").json()
        return found

    def close(self) -> None:
        self.client.close()
        for terminal in self._open.values():
            terminal.terminate()
        assert {terminal.wait(60) for terminal in self._open.values()} <= {0}


@pytest.fixture
def terminals(tmp_path: Path, rabbit_url: str) -> Iterator[Terminals]:
    terminals = Terminals(tmp_path, rabbit_url)
    yield terminals
    terminals.close()
    assert "Traceback" not in terminals.said()


@pytest.mark.timeout(300)
def test_three_terminals_work_as_printed_and_killing_any_of_them_loses_nothing(
    terminals: Terminals,
) -> None:
    gateway, worker, second, work = terminals.commands
    for command in (gateway, worker, second):
        terminals.open(command)
    for victim in (worker, second, gateway):
        before = terminals.audit()["accepted"]
        working = terminals.type(work)
        eventually(lambda b=before: terminals.audit()["accepted"] > b + 50, UP)  # type: ignore[misc]
        terminals.kill(victim)
        terminals.open(victim)
        assert working.wait(120) in (0, 1)  # 1: what the audit says while the gateway is away
    eventually(lambda: _left(terminals.audit()) == 0, UP)
    assert terminals.type("lumbre audit\n").wait(60) == 0
    found = terminals.audit()
    assert found["holds"], found["problems"]
    assert found["by_status"]["succeeded"] == found["accepted"] > 3 * 50


def _left(audit: dict[str, Any]) -> int:
    return int(audit["by_status"]["queued"]) + int(audit["by_status"]["running"])


def test_the_page_prints_four_terminals() -> None:
    blocks = Terminals._blocks()
    assert len(blocks) == 5
    assert all(text.strip() for _, text in blocks)
