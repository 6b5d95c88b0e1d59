"""The command: what it writes, what it answers, and how little it needs."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
import yaml

from loadtest.suite import __main__ as suite
from loadtest.suite.results import read
from tests.loadtest.suite import runs
from tests.support import ROOT, eventually

FUNCTIONS = Path(__file__).parent / "bench_functions"
ABSENT = (
    "starlette uvicorn typer pika sqlalchemy httpx pydantic_settings hdrh httptools uvloop"
    " fsspec watchfiles prometheus_client"
)
HOOK = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT.split()!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}: a bare machine", name=name)
sys.meta_path.insert(0, Absent())
"""


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine that has torch's part of the dependencies and no GPU."""
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(HOOK)
    path = f"{hook}{os.pathsep}{ROOT}"
    return dict(os.environ, PYTHONPATH=path, CUDA_VISIBLE_DEVICES="", COLUMNS="200")


def plan(folder: Path, **more: object) -> Path:
    file = folder / "plan.yaml"
    few = {"least": 3, "most": 3, "discard": 1, "cold": 1, "ceilings": False}
    nap = {"case": "nap", "function": "nap", "axis": "n", "ladder": [1, 2], "seconds": "seconds"}
    file.write_text(yaml.safe_dump(few | {"cases": [nap | more]}))
    return file


def command(folder: Path, *more: str) -> list[str]:
    given = ["--plan", str(folder / "plan.yaml"), "--functions", str(FUNCTIONS)]
    fixed = ["--out", str(folder / "out"), "--seed", "1", "--function", "nap"]
    return [sys.executable, "-m", "loadtest.suite", *given, *fixed, *more]


def ran(
    folder: Path, environment: dict[str, str], *more: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(folder, *more),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_help_needs_nothing_that_a_bare_machine_has_not(
    tmp_path: Path, bare: dict[str, str]
) -> None:
    done = ran(tmp_path, bare, "--help")
    assert done.returncode == 0, done.stderr
    assert "--simulate-gpu" in done.stdout


def test_a_bare_machine_measures_and_writes(tmp_path: Path, bare: dict[str, str]) -> None:
    plan(tmp_path)
    done = ran(tmp_path, bare, "--events", "--simulate-gpu")
    assert done.returncode == 0, done.stderr
    events = [orjson.loads(line)["event"] for line in done.stdout.splitlines()]
    assert (events[0], events[-1]) == ("began", "ended")
    results = read(tmp_path / "out")
    assert {len(cell.samples) for cell in results.cells} == {3}
    assert results.seed == 1
    assert (tmp_path / "out" / "BENCHMARK_REPORT.md").exists()


def test_where_nothing_could_be_measured_the_exit_status_says_so(
    tmp_path: Path, bare: dict[str, str]
) -> None:
    plan(tmp_path, parameters={"way": "slow"}, seconds="none")
    done = ran(tmp_path, bare)
    assert done.returncode == 1
    assert "5 calls failed, 0 samples; failures" in done.stderr
    assert not any(cell.samples for cell in read(tmp_path / "out").cells)


def test_a_plan_that_is_wrong_is_told_without_a_traceback(
    tmp_path: Path, bare: dict[str, str]
) -> None:
    plan(tmp_path, ladderr=[1])
    done = ran(tmp_path, bare)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "case 'nap'/ladderr: there is no such field" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_what_there_is(
    tmp_path: Path, bare: dict[str, str], number: signal.Signals
) -> None:
    plan(tmp_path, ladder=[1, 60_000], timeout=100)
    with (tmp_path / "events").open("w+") as events:
        process = subprocess.Popen(
            command(tmp_path, "--events"), cwd=tmp_path, env=bare, stdout=events
        )
        try:
            eventually(lambda: "began" in (tmp_path / "events").read_text(), within=60)
            process.send_signal(number)
            assert process.wait(60) == 1  # nothing was measured by then
        finally:
            process.kill()
    results = read(tmp_path / "out")
    assert results.interrupted is not None
    assert {cell.stopped for cell in results.cells} == {"interrupted"}


def test_a_folder_that_cannot_be_written_to_is_said_without_a_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(suite, "_measured", lambda *_, **__: runs.made(cases=runs.FOUR[:1]))
    assert suite.main(["--out", str(tmp_path / "file")]) == suite.WRONG
    assert "cannot be written" in capsys.readouterr().err
