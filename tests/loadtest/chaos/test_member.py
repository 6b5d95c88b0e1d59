"""A process of a deployment, and who starts it again."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from loadtest.chaos import member as module
from loadtest.chaos.member import Member
from loadtest.chaos.processes import command_line, leaves, marked
from tests.support import eventually

ROOT = Path(__file__).parents[3]
# Says that it is up, and ends at SIGTERM with what the file `status` says.
PROGRAM = """
import signal, sys, time
def end(*_): sys.exit(int(open("status").read()))
signal.signal(signal.SIGTERM, end)
print("it is up", flush=True)
time.sleep(60)
"""


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture
def process(tmp_path: Path, complaints: list[str]) -> Iterator[Member]:
    (tmp_path / "status").write_text("0")
    environment = {**os.environ, "CHAOS_TEST": str(tmp_path)}
    command = [sys.executable, "-c", PROGRAM]
    with ThreadPoolExecutor(1) as spawner:
        member = Member("it", command, environment, tmp_path, spawner, complaints.append)
        member.start()
        eventually(lambda: member.ready)
        yield member
        (tmp_path / "status").write_text("0")
        member.stop()
        assert member.pid is None


def test_it_is_killed_and_comes_back(process: Member, complaints: list[str]) -> None:
    before = process.pid
    process.kill(0.0)
    assert process.pid != before
    eventually(lambda: process.ready)
    assert (process.starts, complaints) == (2, [])


def test_it_drains_and_comes_back(process: Member, complaints: list[str]) -> None:
    process.terminate(0.0)
    eventually(lambda: process.ready)
    assert (process.starts, complaints) == (2, [])


def test_a_drain_that_ends_badly_is_told(
    process: Member, complaints: list[str], tmp_path: Path
) -> None:
    (tmp_path / "status").write_text("3")
    process.terminate(0.0)
    assert len(complaints) == 1 and complaints[0].startswith("it exited with 3 at SIGTERM")


def test_a_drain_that_never_ends_is_told_and_ended(
    process: Member, complaints: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DRAIN_LIMIT", 0.2)
    assert process.pid
    os.kill(process.pid, signal.SIGSTOP)
    process.terminate(0.0)
    assert complaints == ["it did not end 0 s after SIGTERM"]
    eventually(lambda: process.ready)


def test_what_ends_by_itself_is_told_and_started_again(
    process: Member, complaints: list[str]
) -> None:
    assert process.pid
    process.supervise()
    assert process.starts == 1
    os.kill(process.pid, signal.SIGKILL)
    eventually(lambda: process.pid is None)
    process.supervise()
    assert process.starts == 2
    assert "ended by itself with -9" in complaints[0]


def test_it_is_paused_and_goes_on(process: Member) -> None:
    before = process.pid
    process.pause(0.05)
    assert process.pid == before and process.ready


def test_a_process_and_its_children_are_known_by_their_mark(
    process: Member, tmp_path: Path
) -> None:
    assert marked("CHAOS_TEST", str(tmp_path)) == [process.pid]
    assert marked("CHAOS_TEST", str(tmp_path)[:-1]) == []
    assert process.pid and "time.sleep" in command_line(process.pid)
    assert process.pid in leaves(os.getpid())


def test_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    """Even where that is killed before it can end anything."""
    script = f"""
import os, sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from loadtest.chaos.member import Member
with ThreadPoolExecutor(1) as spawner:
    command = [sys.executable, "-c", "import time; print('it is up', flush=True); time.sleep(60)"]
    member = Member("it", command, os.environ, Path({str(tmp_path)!r}), spawner, print)
    member.start()
    while not member.ready: time.sleep(0.01)
    os.kill(os.getpid(), 9)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CHAOS_TEST": f"{tmp_path}/orphan"}
    subprocess.run([sys.executable, "-c", script], env=environment, check=False)
    eventually(lambda: not marked("CHAOS_TEST", f"{tmp_path}/orphan"))
