"""A guarded server, played by small shell scripts, is gone with all it started."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.servers.guarded import PORTS, Guarded, ServerError, free_ports, run, until
from tests.support import ROOT, alive, eventually

# A server that starts a worker in a session of its own, whose parent ends at once: a daemon.
DAEMON = "setsid sh -c 'sleep 600 & echo $! > daemon' & wait; echo $$ > ready; sleep 600 & wait"
STUBBORN = "trap '' INT TERM QUIT; echo $$ > ready; while :; do sleep 600; done"
POLITE = "trap 'echo bye > parting; exit 3' QUIT; echo $$ > ready; while :; do sleep 0.01; done"


def started(folder: Path, script: str, end: signal.Signals = signal.SIGKILL) -> Guarded:
    process = Guarded(["sh", "-c", script], os.environ, folder, folder / "log", end)
    eventually(lambda: pid(folder, "ready"))
    return process


def pid(folder: Path, name: str) -> int:
    """The number in a file; 0 until it is there."""
    text = (folder / name).read_text().strip() if (folder / name).exists() else ""
    return int(text or 0)


PARENT = """
import os, signal, sys
from pathlib import Path
from loadtest.servers.guarded import Guarded
folder, script, end = Path(sys.argv[1]), sys.argv[2], signal.Signals(int(sys.argv[3]))
server = Guarded(["sh", "-c", script], os.environ, folder, folder / "log", end)
signal.pause()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for name in ("ready", "daemon"):
        if alive(left := pid(tmp_path, name)):
            os.kill(left, signal.SIGKILL)


def killed_parent(folder: Path, script: str, end: signal.Signals) -> None:
    """Have a process start a server, and kill that process."""
    line = [sys.executable, "-c", PARENT, str(folder), script, str(int(end))]
    parent = subprocess.Popen(line, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        eventually(lambda: pid(folder, "ready"))
    finally:
        parent.kill()
        parent.wait()


def test_a_killed_server_takes_its_daemons_with_it(folder: Path) -> None:
    process = started(folder, DAEMON)
    assert alive(process.pid)
    assert alive(pid(folder, "daemon"))
    process.kill()
    assert not process.alive
    assert not alive(pid(folder, "ready"))
    assert not alive(pid(folder, "daemon"))


def test_a_server_that_ends_by_itself_leaves_no_daemon_either(folder: Path) -> None:
    process = started(folder, DAEMON.replace("sleep 600 & wait", ""))
    assert process.wait(10)
    assert not alive(pid(folder, "daemon"))


@pytest.mark.parametrize("script", [DAEMON, STUBBORN])
def test_a_server_is_gone_when_who_started_it_was_killed(folder: Path, script: str) -> None:
    killed_parent(folder, script, signal.SIGKILL)
    eventually(lambda: not alive(pid(folder, "ready")))
    eventually(lambda: not alive(pid(folder, "daemon")))


def test_a_server_may_part_in_its_own_way_when_who_started_it_was_killed(folder: Path) -> None:
    killed_parent(folder, POLITE, signal.SIGQUIT)
    eventually(lambda: not alive(pid(folder, "ready")))
    assert (folder / "parting").read_text() == "bye\n"


def test_a_server_that_will_not_part_is_killed(folder: Path) -> None:
    killed_parent(folder, STUBBORN, signal.SIGQUIT)
    eventually(lambda: not alive(pid(folder, "ready")))


def test_a_stopped_server_is_killed_too(folder: Path) -> None:
    process = started(folder, DAEMON)
    process.send(signal.SIGSTOP)
    process.kill()
    assert not alive(process.pid)


def test_a_server_dies_with_its_guard(folder: Path) -> None:
    process = started(folder, "echo $$ > ready; exec sleep 600")
    os.kill(os.getsid(process.pid), signal.SIGKILL)
    eventually(lambda: not alive(process.pid))
    process.kill()


def test_a_server_has_no_standard_input_and_its_own_group(folder: Path) -> None:
    process = started(folder, "cat; echo $$ > ready; sleep 600")
    assert os.getpgid(process.pid) == process.pid
    assert os.getsid(process.pid) != os.getsid(0)
    process.kill()


def test_who_waits_for_a_server_that_ends_hears_what_it_said(folder: Path) -> None:
    (folder / "log").write_text("an earlier start\n")
    command = ["sh", "-c", "echo no such port; exit 1"]
    process = Guarded(command, os.environ, folder, folder / "log")
    with pytest.raises(ServerError, match="no such port") as caught:
        until("listens", process, lambda: False, 10)
    assert "an earlier start" not in str(caught.value)
    process.kill()


def test_who_waits_too_long_for_a_server_is_told(folder: Path) -> None:
    process = started(folder, "echo $$ > ready; echo still busy; sleep 600")
    with pytest.raises(ServerError, match=r"not ready after 0.1 s(.|\n)*still busy"):
        until("ready", process, lambda: False, 0.1)
    process.kill()


def test_a_program_that_is_not_there_is_named(folder: Path) -> None:
    process = Guarded(["/nowhere/server"], os.environ, folder, folder / "log")
    with pytest.raises(ServerError, match=r"/nowhere/server: .*No such file"):
        until("started", process, lambda: False, 10)
    process.kill()


def test_ports_are_free_and_below_those_of_outgoing_connections() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(port in PORTS and port < lowest for port in ports)


def test_a_failed_program_is_quoted_and_its_arguments_are_not() -> None:
    with pytest.raises(ServerError, match=r"sh ended with 4:\nwhat it says") as caught:
        run(["sh", "-c", "echo what it says >&2; exit 4", "password"])
    assert "password" not in str(caught.value)
