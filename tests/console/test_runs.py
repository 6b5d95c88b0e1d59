"""A run is a process and a folder: one at a time, stopped by whoever may, gone with its gateway."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from console import run_process
from console import runs as module
from console.run_process import EVENTS
from console.runs import FILES, RESULTS, Asked, Runs
from loadtest.suite.results import read
from runtime.errors import Conflict, NotFound, Unavailable
from tests.console.benching import DOUBLE, NAP, ended, folder_of_functions, over
from tests.support import ROOT, eventually

SLOW = Asked(functions=("nap",), plan=NAP)


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    return folder_of_functions(tmp_path)


@pytest.fixture
async def runs(tmp_path: Path, functions: Path) -> AsyncIterator[Runs]:
    found = Runs(tmp_path / "benchmarks", [functions], simulate_gpu=True, busy=lambda: 3)
    yield found
    await found.close()


def _calls(folder: Path) -> int:
    events = folder / EVENTS
    return events.read_bytes().count(b'"sample"') if events.exists() else 0


async def test_a_run_writes_results_and_reports_and_says_what_it_was(runs: Runs) -> None:
    run = await over(runs, Asked(functions=("double",), seed=7, plan=DOUBLE))
    assert run.state == "ended"
    assert set(run.files) == set(FILES)
    assert read(run.folder).seed == 7
    assert run.command.startswith("lumbre bench double --functions ")
    assert "--seed 7 --quick --plan" in run.command and "--simulate-gpu" in run.command
    assert run.ended_at is not None and run.ended_at > run.began_at
    assert run.busiest == 3 and run.disturbed > 0
    assert [r.id for r in runs.latest(5)] == [run.id]
    assert Runs(run.folder.parent, []).read(run.id) == run, "it is there in a new process"


async def test_while_one_goes_on_a_second_is_refused_and_stopping_keeps_what_was_measured(
    runs: Runs,
) -> None:
    run = await runs.start(SLOW)
    with pytest.raises(Conflict, match=f"running already, /benchmarks/{run.id}"):
        await runs.start(Asked())
    current = runs.current()
    assert current is not None and current.id == run.id and current.state == "running"
    while _calls(run.folder) < 1:
        await asyncio.sleep(0.05)
    assert runs.stop(run.id).state in ("stopping", "stopped")
    run = await ended(runs, run.id)
    assert run.state == "stopped"
    results = read(run.folder)
    assert results.interrupted and results.cells[0].samples
    with pytest.raises(Conflict, match="has ended already"):
        runs.stop(run.id)
    assert runs.current() is None


async def test_what_does_not_end_when_it_is_told_to_is_killed(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GRACE", 0.3)
    run = await runs.start(SLOW)
    os.kill(run.pid, 19)  # SIGSTOP: it hears nothing any more
    runs.stop(run.id)
    run = await ended(runs, run.id)
    assert run.state == "stopped" and RESULTS not in run.files


async def test_a_run_that_cannot_begin_says_why(runs: Runs) -> None:
    run = await over(runs, Asked(functions=("nobody",)))
    assert run.state == "failed"
    assert "there is no function 'nobody'" in run.log()


async def test_closing_ends_what_runs(runs: Runs) -> None:
    run = await runs.start(SLOW)
    await runs.close()
    assert not runs.read(run.id).going_on
    assert not Path(f"/proc/{run.pid}").exists()


async def test_without_the_extra_nothing_is_started_and_it_is_said_what_to_install(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_process, "find_spec", lambda name: None)
    with pytest.raises(Unavailable, match=r"pip install 'lumbre\[loadtest\]'"):
        await runs.start(Asked())
    assert runs.ids() == []


@pytest.mark.parametrize("id", ["..", "20261123-185840-ed5", "../../etc", "20261123-185840-ed51"])
async def test_there_is_no_run_of_a_name_that_none_has(runs: Runs, id: str) -> None:
    with pytest.raises(NotFound, match="lists those there are"):
        runs.read(id)


GATEWAY = """
import asyncio, sys
from pathlib import Path
from console.runs import Asked, Runs
from tests.console.benching import NAP

async def main():
    runs = Runs(Path(sys.argv[1]), [Path(sys.argv[2])])
    run = await runs.start(Asked(functions=("nap",), plan=NAP))
    print(run.pid, flush=True)
    await asyncio.sleep(100)

asyncio.run(main())
"""


def test_a_gateway_that_is_killed_leaves_no_run_behind(tmp_path: Path, functions: Path) -> None:
    folder = tmp_path / "benchmarks"
    gateway = subprocess.Popen(
        [sys.executable, "-c", GATEWAY, str(folder), str(functions)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert gateway.stdout is not None
    with gateway.stdout as told:
        pid = int(told.readline())
    (run,) = Runs(folder, []).latest(2)
    eventually(lambda: _calls(run.folder), within=30)
    gateway.kill()
    gateway.wait()
    eventually(lambda: not Path(f"/proc/{pid}").exists(), within=20)
    eventually(lambda: not _left(folder), within=10)


def _left(folder: Path) -> list[str]:
    """Processes that name the folder in their command line: the run, its guard, its replicas."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(folder) in command:
                found.append(command.decode())
    return found
