"""Servers to measure, each in a process of its own and ended by whoever started it.

Everything listens on loopback.  Nothing but what was started here is ever ended.
"""

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from loadtest.ending import end

ROOT = Path(__file__).parents[2]
FUNCTIONS = Path(__file__).parent / "functions"
LOOPBACK = "127.0.0.1"
NODE = (sys.executable, "-m", "runtime", "up")
APP = "loadtest.budgets.echo:app"
ECHO = (sys.executable, "-m", "uvicorn", APP, "--loop=uvloop", "--http=httptools")
START_LIMIT = 60.0  # seconds until a server must answer
ASK_LIMIT = 60.0  # seconds one request may take
EVERY = 0.005  # seconds between two looks whether something is there

Headers = Mapping[str, str]
T = TypeVar("T")


class BenchmarkError(Exception):
    """The benchmark cannot go on; says what happened."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said."""

    status: int
    headers: Headers  # names in lower case
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    name: str
    port: int
    pid: int
    started_in: float  # seconds from just before the process was made until it was ready
    log: Path  # what it says

    def url(self, path: str) -> str:
        return f"http://{LOOPBACK}:{self.port}{path}"

    def ask(self, method: str, path: str, body: str = "", headers: Headers | None = None) -> Answer:
        """Send one request over a connection of its own; BenchmarkError without an answer."""
        try:
            return _ask(self.port, method, path, body, headers or {})
        except (OSError, http.client.HTTPException) as error:
            what = f"{self.name} does not answer {method} {path} ({error!r})"
            raise BenchmarkError(f"{what}; it said:\n{_tail(self.log)}") from error

    def get(self, path: str) -> Any:
        """The JSON at a path; BenchmarkError where the status is not 200."""
        answer = self.ask("GET", path)
        if answer.status != 200:
            raise BenchmarkError(f"{self.name}: GET {path} gave {answer.status}: {answer.body!r}")
        return answer.json()


@dataclass(frozen=True, slots=True)
class Background:
    """A process that was started."""

    name: str
    process: subprocess.Popen[bytes]
    began: float  # on the clock of perf_counter, just before it was made
    log: Path  # what it says

    @property
    def pid(self) -> int:
        return self.process.pid

    def alive(self) -> bool:
        """True; BenchmarkError, with what it said, once it has ended."""
        if (status := self.process.poll()) is not None:
            raise BenchmarkError(f"{self.name} ended with status {status}:\n{_tail(self.log)}")
        return True


@contextmanager
def node(folder: Path, **settings: object) -> Iterator[Server]:
    """Run `lumbre up` with the benchmark's functions and its state in `folder`; yield it ready.

    `settings` are Lumbre's, by their names; the caller's LUMBRE_* variables do not count.
    """
    given = {"state": folder / "state", "functions": FUNCTIONS, **settings}
    environment = {f"LUMBRE_{name.upper()}": str(value) for name, value in given.items()}
    with running("lumbre", NODE, "/readyz", folder, environment) as server:
        yield server


@contextmanager
def echo(folder: Path) -> Iterator[Server]:
    """Run a bare Starlette echo under uvicorn, with uvicorn's own settings but for the log."""
    command = (*ECHO, "--no-access-log", "--log-level=warning")
    with running("echo", command, "/nothing", folder, {}, ready_status=404) as server:
        yield server


@contextmanager
def running(
    name: str,
    command: Sequence[str],
    probe: str,
    folder: Path,
    environment: Mapping[str, str],
    ready_status: int = 200,
) -> Iterator[Server]:
    """Start `command --port N`, wait until `GET probe` gives the status, and end it afterwards.

    What it says goes to a log in `folder`, and its end to the BenchmarkError if it does not start.
    """
    port = free_port()
    with background(name, [*command, f"--port={port}"], folder, environment) as process:
        what = f"{name} answers GET {probe} with {ready_status}"
        until(what, lambda: process.alive() and _gives(port, probe, ready_status), START_LIMIT)
        took = time.perf_counter() - process.began
        yield Server(name, port, process.pid, took, process.log)


@contextmanager
def background(
    name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> Iterator[Background]:
    """Start a command, and end it afterwards; what it says goes to a log in `folder`.

    It can import this project, and sees nothing of the caller's LUMBRE_* variables.
    """
    log = folder / f"{name}.log"
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("LUMBRE_")}
    paths = (str(ROOT), os.environ.get("PYTHONPATH", ""))
    inherited["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    with log.open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**inherited, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield Background(name, process, began, log)
    finally:
        end(process)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for logs and state that is gone afterwards; on a disk, where /var/tmp is on one.

    /tmp is in memory on many machines, where an fsync costs nothing and proves nothing.
    """
    place = "/var/tmp" if os.access("/var/tmp", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="lumbre-bench-", dir=place) as folder:
        yield Path(folder)


def until(what: str, probe: Callable[[], T], within: float, every: float = EVERY) -> T:
    """The first true value of `probe`; BenchmarkError after `within` seconds without."""
    deadline = time.monotonic() + within
    while not (value := probe()):
        if time.monotonic() > deadline:
            raise BenchmarkError(f"waited {within:.0f} s in vain until {what}")
        time.sleep(every)
    return value


def free_port() -> int:
    """A port of loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _ask(port: int, method: str, path: str, body: str, headers: Headers) -> Answer:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=ASK_LIMIT)
    try:
        given = {"Content-Type": "application/json", **headers} if body else dict(headers)
        connection.request(method, path, body.encode() or None, given)
        answer = connection.getresponse()
        names = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, names, answer.read())
    finally:
        connection.close()


def _gives(port: int, probe: str, status: int) -> bool:
    try:
        return _ask(port, "GET", probe, "", {}).status == status
    except (OSError, http.client.HTTPException):
        return False


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]
