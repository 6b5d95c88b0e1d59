"""A node for the demonstration: `lumbre up` in a process of its own, ended with the demonstration.

It has a session of its own, so that Ctrl-C ends the load first and the node afterwards, and is
killed by the kernel should this process be.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from loadtest import chaos
from loadtest.ending import end
from loadtest.shipped import shipped
from runtime.devices import find_gpus
from runtime.errors import ConfigurationError, LumbreError

LAUNCH = Path(chaos.__file__).parent / "launch.py"
PACKAGE = Path(__file__).parents[1]
OWN = Path(__file__).parent / "functions"
LOOPBACK = "127.0.0.1"
START_LIMIT = 90.0  # seconds until it must be ready; the first start describes every function
LAST_WORDS = 2000  # characters of its log in an error


class DemoFailed(LumbreError):
    """The demonstration's node does not start, or ended too early."""

    title = "The demonstration failed"


@dataclass(frozen=True, slots=True)
class DemoNode:
    """A node that is ready."""

    url: str
    simulated: bool  # there is no GPU here, and its GPU replicas compute on the CPU
    log: Path
    functions: tuple[str, ...]  # those that it serves
    broken: dict[str, str]  # those that it cannot, and why


@contextmanager
def demo_node(functions: Path | None, port: int) -> Iterator[DemoNode]:
    """Start a node with the shipped functions (or a folder's) and two of the demonstration's own.

    Its state is in a temporary folder, so that nothing of it is left.  `port` 0 is any free one; a
    port that is taken raises ConfigurationError, and a node that does not start DemoFailed.
    """
    if functions is not None and not functions.is_dir():
        raise ConfigurationError(f"{functions} is no folder: give one of functions")
    simulated = not find_gpus()
    chosen = port or _free_port()
    _check_free(chosen)
    mine = (functions or shipped()).resolve()  # the node runs in a folder of its own
    folders = os.pathsep.join(str(folder) for folder in (mine, OWN))
    with tempfile.TemporaryDirectory(prefix="lumbre-demo-") as folder:
        settings = {
            "PORT": chosen,
            "STATE": Path(folder) / "state",
            "FUNCTIONS": folders,
            "SIMULATE_GPU": int(simulated),
        }
        log = Path(folder) / "node.log"
        process = _start(settings, log)
        try:
            url = f"http://{LOOPBACK}:{chosen}"
            served = _wait(process, url, log)
            broken = {str(each["name"]): _why(each) for each in served if each["error"]}
            names = tuple(str(each["name"]) for each in served if not each["error"])
            yield DemoNode(url, simulated, log, names, broken)
        finally:
            end(process)


def _start(settings: dict[str, object], log: Path) -> subprocess.Popen[bytes]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LUMBRE_")}
    environment |= {f"LUMBRE_{name}": str(value) for name, value in settings.items()}
    paths = (str(PACKAGE.parent), os.environ.get("PYTHONPATH", ""))
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    launch = [sys.executable, "-I", "-S", str(LAUNCH)]
    with log.open("wb") as output:
        return subprocess.Popen(
            [*launch, sys.executable, "-m", "runtime", "up"],
            cwd=log.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> list[dict[str, object]]:
    """What it serves, once it is ready."""
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        if (status := process.poll()) is not None:
            raise DemoFailed(f"its node ended with status {status}; it said:\n{_tail(log)}")
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                items: list[dict[str, object]] = httpx.get(f"{url}/functions").json()["items"]
                return items
        except httpx.TransportError:
            pass  # not listening yet
        time.sleep(0.1)
    raise DemoFailed(f"its node was not ready after {START_LIMIT:.0f} s; it said:\n{_tail(log)}")


def _why(view: dict[str, object]) -> str:
    error = view["error"]
    return str(error.get("message")) if isinstance(error, dict) else str(error)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise ConfigurationError(
                f"port {port} is taken: end what listens there, or give another with --port"
            ) from error


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-LAST_WORDS:]
