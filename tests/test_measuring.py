"""The commands that measure, as people run them: `lumbre demo`, `bench` and `report`.

`lumbre loadtest` is held by tests/loadtest/test_runner.py, and by the user guide's test.
"""

import csv
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import orjson
import pytest

from loadtest.suite.results import read
from tests.support import ROOT, eventually

LUMBRE = (sys.executable, "-m", "runtime")
LOAD_TEST = {
    "load_test.json",
    "load_test.csv",
    "load_test_series.csv",
    "LOAD_TEST_REPORT.md",
    "load_test.html",
}
BENCH = {
    "job_results.json",
    "performance_comparison.csv",
    "performance_comparison.png",
    "BENCHMARK_REPORT.md",
}


def environment() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("LUMBRE_")}
    own.pop("DISPLAY", None)
    return own | {"PYTHONPATH": str(ROOT)}


def lumbre(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (*LUMBRE, *arguments),
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=110,
    )


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


# ── lumbre demo ───────────────────────────────────────────────────────────────────────────────


def test_the_demo_shows_scaling_failures_and_both_devices_and_leaves_only_its_report(
    tmp_path: Path,
) -> None:
    done = lumbre("demo", "--seconds=10", "--port=0", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (url,) = re.findall(r"a node is up: (\S+)", done.stderr)
    assert not answers(url)
    written = tmp_path / "results" / "demo"
    assert {file.name for file in written.iterdir()} == LOAD_TEST
    assert [file.name for file in tmp_path.iterdir()] == ["results"]
    outcome = orjson.loads((written / "load_test.json").read_bytes())
    wave = [each for each in outcome["decided"] if each["function"] == "wave"]
    assert max(each["after"] for each in wave) > 1
    assert {each["name"] for each in outcome["faults"]} == {"failed"}
    succeeded = [each for each in outcome["groups"] if each["status"] == "succeeded"]
    assert {"cpu", "gpu"} <= {each["device"] for each in succeeded if each["function"] == "matmul"}
    assert outcome["audit"]["holds"]
    assert "CPU / GPU" in done.stdout


def test_a_demo_that_is_ended_early_leaves_no_node(tmp_path: Path) -> None:
    process = subprocess.Popen(
        (*LUMBRE, "demo", "--seconds=100", "--port=0"),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with process:
        url = ""
        while not url:
            line = process.stderr.readline()
            assert line, "the demo ended before its node was up"
            url = "".join(re.findall(r"a node is up: (\S+)", line))
        with httpx.Client(base_url=url) as client:
            eventually(lambda: client.get("/audit").json()["accepted"] > 5, within=30)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "it was stopped after" in " ".join(said.split())
    assert not answers(url)
    assert (tmp_path / "results" / "demo" / "load_test.html").is_file()


@pytest.mark.parametrize("command", [("loadtest", "f"), ("demo", "--seconds=5"), ("bench",)])
def test_without_the_extra_it_is_said_what_to_install(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    for name in ("hdrh", "yaml"):
        (tmp_path / f"{name}.py").write_text(
            f"raise ModuleNotFoundError('No module named {name}', name={name!r})"
        )
    own = environment()
    own["PYTHONPATH"] = f"{tmp_path}:{own['PYTHONPATH']}"
    done = subprocess.run(
        (*LUMBRE, *command), cwd=tmp_path, env=own, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "pip install 'lumbre[loadtest]'" in done.stderr
    assert "Traceback" not in done.stderr


# ── lumbre bench, lumbre report ───────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def benched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which somebody has run the benchmark of one function, on a simulated GPU too."""
    folder = tmp_path_factory.mktemp("bench")
    plan = folder / "cases.yaml"
    plan.write_text(
        """
limit: 0.5
most: 8
cold: 1
cases:
  - case: vector_add float32
    function: vector_add
    axis: n
    ladder: [1000, 100000]
    seconds: seconds
    parameters: {repeat: 5}
    work: {amount: "3 * 4 * n", times: repeat, unit: B, ceiling: copy}
    parity: [{field: max_error, at_most: 1e-7}]
"""
    )
    given = ("vector_add", "--simulate-gpu", "--plan", str(plan), "--quick", "--ieee")
    done = lumbre("bench", *given, "--functions", str(ROOT / "functions"), folder=folder)
    assert done.returncode == 0, done.stderr
    assert "simulated" in done.stdout
    return folder / "results"


def test_bench_writes_the_reports_that_are_promised(benched: Path) -> None:
    assert {file.name for file in benched.iterdir()} >= BENCH
    assert (benched / "ieee" / "paper.tex").is_file()
    results = read(benched)
    assert {(cell.device, cell.size) for cell in results.cells} == {
        (device, size) for device in ("cpu", "gpu") for size in (1000, 100000)
    }
    assert all(cell.samples for cell in results.cells)
    assert all(parity.holds for parity in results.parities)
    with (benched / "performance_comparison.csv").open() as file:
        assert {row["simulated"] for row in csv.DictReader(file)} == {"yes"}


def test_reports_are_made_again_from_the_raw_json_alone(benched: Path, tmp_path: Path) -> None:
    raw = tmp_path / "job_results.json"
    raw.write_bytes((benched / "job_results.json").read_bytes())
    done = lumbre("report", str(tmp_path), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    for name in BENCH - {"performance_comparison.png"}:
        assert (tmp_path / name).read_bytes() == (benched / name).read_bytes(), name
    assert (tmp_path / "performance_comparison.png").is_file()


def test_a_run_compared_with_itself_has_not_changed(benched: Path, tmp_path: Path) -> None:
    done = lumbre("report", "compare", str(benched), str(benched), "-o.", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "within noise" in done.stdout
    assert "0 slower, 0 faster" in done.stdout
    assert (tmp_path / "BENCHMARK_COMPARISON.md").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("report", "nowhere"), "nowhere"),
        (("report", "compare", "one"), "compare BEFORE AFTER"),
        (("report", "one", "two"), "one folder"),
        (("bench", "--device", "tpu"), "cpu, gpu or both"),
        (("bench", "nosuch", "--functions", str(ROOT / "functions")), "nosuch"),
        (("bench", "--functions", "nowhere"), "nowhere"),
        (("bench", "--plan", "nowhere.yaml"), "nowhere.yaml"),
        (("demo", "--seconds", "1"), "at least 5"),
        (("demo", "--functions", "nowhere"), "nowhere"),
        (("demo", "--out", "/proc/report"), "/proc/report"),
        (("bench", "--out", "/proc/report"), "/proc/report"),
        (("loadtest", "f", "--out", "/proc/report"), "/proc/report"),
    ],
)
def test_what_cannot_be_done_is_said_without_a_trace(
    arguments: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    done = lumbre(*arguments, folder=tmp_path)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
