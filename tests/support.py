"""What tests share: a real node in a process of its own, and waiting for conditions."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import httpx

ROOT = Path(__file__).parent.parent
START_TIMEOUT = 60.0  # seconds; the first start imports torch where a function wants it

T = TypeVar("T")


def eventually(probe: Callable[[], T], within: float = 10.0, every: float = 0.02) -> T:
    """The first true value of `probe`, which is asked until `within` seconds are over."""
    deadline = time.monotonic() + within
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"still {value!r} after {within} s: {probe}")
        time.sleep(every)


class RunningNode:
    """A `lumbre up` in a process of its own, and an HTTP client for it."""

    def __init__(self, folder: Path, functions: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.log = folder / "node.log"
        self._command = [sys.executable, "-m", "runtime", "up", "--port", "0"]
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("LUMBRE_")},
            "PYTHONPATH": str(ROOT),
            "LUMBRE_STATE": str(self.state),
            "LUMBRE_FUNCTIONS": str(functions),
            **environment,
        }
        self.process: subprocess.Popen[bytes]
        self.client: httpx.Client
        self.url = ""

    def start(self) -> "RunningNode":
        """Start it, again if it was stopped or killed, and wait until it is up."""
        with self.log.open("ab") as log:
            began = log.tell()
            self.process = subprocess.Popen(
                self._command, cwd=self.folder, env=self._environment, stdout=log, stderr=log
            )
        self.url = eventually(lambda: self._ready_url(began), START_TIMEOUT)
        self.client = httpx.Client(base_url=self.url, timeout=60)
        return self

    def _ready_url(self, began: int) -> str:
        said = self.log.read_bytes()[began:].decode(errors="replace")
        if self.process.poll() is not None:
            raise AssertionError(f"the node ended with {self.process.returncode}:\n{said}")
        match = re.search(r"lumbre is up on (http://\S+)", said)
        return match.group(1) if match else ""

    def kill(self) -> None:
        """kill -9 the node; its replicas are expected to die with it."""
        self.process.kill()
        self.process.wait()
        self.client.close()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to drain and exit; gives its exit status."""
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


NodeFactory = Callable[..., RunningNode]
