"""Whole load tests: against a node whose function fails, a server that is no node, and Ctrl-C."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from loadtest import outcome as outcomes
from loadtest.plan import Plan
from loadtest.runner import run, run_plan
from loadtest.snapshot import Snapshot
from runtime.cli import app
from runtime.errors import ConfigurationError
from tests.loadtest.standin import Asked, Reply, StandIn, http, problem
from tests.support import ROOT, NodeFactory, RunningNode, eventually

FUNCTION = '''
from runtime import function


@function(devices=("cpu",))
def half(n: int = 0) -> int:
    """Fails for odd numbers."""
    if n % 2:
        raise ValueError(f"{n} is odd")
    return n
'''


@pytest.fixture(scope="module")
def node(start_node: NodeFactory, tmp_path_factory: pytest.TempPathFactory) -> RunningNode:
    folder = tmp_path_factory.mktemp("functions")
    (folder / "half.py").write_text(FUNCTION)
    return start_node(folder)


def plan(**more: object) -> Plan:
    given: dict[str, object] = {
        "name": "check",
        "stages": [{"kind": "closed", "connections": 2, "seconds": 60, "requests": 40}],
        "mix": [{"function": "half", "parameters": {"n": {"choice": [0, 1]}}}],
    }
    return Plan.model_validate(given | more)


class Watcher:
    def __init__(self) -> None:
        self.shots: list[Snapshot] = []

    def show(self, snapshot: Snapshot) -> None:
        self.shots.append(snapshot)


def test_a_function_that_fails_half_its_calls_gives_a_truthful_outcome(node: RunningNode) -> None:
    watcher = Watcher()
    stages = [{"kind": "constant", "rate": 40, "seconds": 2.5}]
    slo = "errors=1%,p99=30s"
    outcome = run_plan(plan(stages=stages, slo=slo), node.url, folder=Path(), watch=watcher)
    counts = {(g.function, g.device, g.status): g.count for g in outcome.groups}
    assert counts.keys() == {("half", "cpu", "succeeded"), ("half", "cpu", "failed")}
    assert sum(counts.values()) == 100
    assert all(25 < count < 75 for count in counts.values())
    (fault,) = outcome.faults
    assert fault.name == "failed" and fault.count == counts["half", "cpu", "failed"]
    assert "ValueError: 1 is odd" in fault.example
    assert fault.invocation is not None
    assert node.client.get(f"/invocations/{fault.invocation}").json()["status"] == "failed"
    assert all({"total", "queue", "start", "run"} <= g.phases.keys() for g in outcome.groups)
    assert len(outcome.colds) == 1 and outcome.colds[0].start > 0
    assert [(o.text, o.met) for o in outcome.objectives] == [
        ("errors=1%", False),
        ("p99=30s", True),
    ]
    assert outcome.audit is not None and outcome.audit["holds"]
    assert outcome.audit["by_status"]["failed"] == fault.count
    assert {"half"} == {seen.function for seen in outcome.observed}
    assert [(d.before, d.after) for d in outcome.decided][:1] == [(0, 1)]
    assert dict(outcome.node)["functions"] == "half (cpu)"
    assert "simulated" not in dict(outcome.node)
    assert outcome.interrupted is None and outcome.unanswered == 0 and outcome.notes == ()
    assert sum(second.intended for second in outcome.series) == 100
    assert sum(second.succeeded for second in outcome.series) == counts["half", "cpu", "succeeded"]
    assert watcher.shots and watcher.shots[-1].queues[0].function == "half"


async def test_an_outcome_is_the_same_after_its_way_through_json() -> None:
    async def answer(asked: Asked) -> Reply:
        if asked.number % 5 == 0:
            return problem(500, "lumbre:failed", "broke")
        return http(headers={"Server-Timing": "queue;dur=1, start;dur=2, run;dur=3"})

    async with StandIn(answer) as server:
        outcome = await run(plan(slo="p99=10s"), server.url, folder=Path())
    assert outcomes.OUTCOME.validate_json(outcomes.dumps(outcome)) == outcome
    assert outcome.plan == plan(slo="p99=10s").filled()
    assert any("the node was not observed" in note for note in outcome.notes)
    assert outcome.observed == () and outcome.audit is None
    assert [g.count for g in outcome.groups] == [8, 32]


async def test_a_server_that_dies_in_the_middle_is_reported() -> None:
    async def die(asked: Asked) -> Reply:
        if asked.number == 20:
            tasks.append(asyncio.create_task(server.stop()))
        return http()

    tasks: list[asyncio.Task[None]] = []
    stages = [{"kind": "constant", "rate": 100, "seconds": 60}]
    async with StandIn(die) as server:
        outcome = await run(plan(stages=stages), server.url, folder=Path(), silence=0.4)
        await asyncio.gather(*tasks)
    assert outcome.interrupted == f"the server at {server.url} has not answered since second 0"
    assert {"refused"} <= {fault.name for fault in outcome.faults}
    good = sum(group.count for group in outcome.groups if group.status == "succeeded")
    assert 19 <= good <= 21
    ended = sum(group.count for group in outcome.groups) + outcome.unanswered
    assert ended == sum(second.intended for second in outcome.series)


async def test_a_plan_that_cannot_be_sent_is_refused_before_anything_is() -> None:
    async with StandIn() as server:
        mix = [{"function": "half", "body": "absent.bin"}]
        with pytest.raises(ConfigurationError, match=r"absent\.bin"):
            await run(plan(mix=mix), server.url, folder=Path())
        assert server.requests == 0


async def test_a_function_that_the_node_does_not_have_is_refused_before_anything_is_sent(
    node: RunningNode,
) -> None:
    before = node.client.get("/audit").json()["accepted"]
    with pytest.raises(ConfigurationError, match="no function 'other'; there are: half"):
        await run(plan(mix=[{"function": "other"}]), node.url, folder=Path())
    assert node.client.get("/audit").json()["accepted"] == before


async def test_what_of_a_trace_cannot_be_sent_again_is_told(
    node: RunningNode, tmp_path: Path
) -> None:
    lines = [
        '{"created_at": "2026-11-23T12:00:00Z", "function": "half",'
        ' "input": {"parameters": {"n": 2}, "parts": {}}}',
        '{"created_at": "2026-11-23T12:00:01Z", "function": "half",'
        ' "input": {"parameters": {}, "parts": {"image": {}}}}',
    ]
    (tmp_path / "trace.ndjson").write_text("\n".join(lines))
    stages = [{"kind": "replay", "trace": "trace.ndjson"}]
    found = await run(plan(stages=stages, mix=[]), node.url, folder=tmp_path)
    assert sum(group.count for group in found.groups) == 1
    assert any("1 of 2 recorded" in note for note in found.notes), found.notes


# ── the command ───────────────────────────────────────────────────────────────────────────────


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "loadtest", *arguments]


@pytest.fixture
def long_load(node: RunningNode, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    out = f"--out={tmp_path}"
    line = command("half", "--rate=50", "--seconds=120", f"--url={node.url}", out)
    process = subprocess.Popen(
        line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it_with_what_was_measured(
    number: signal.Signals, long_load: subprocess.Popen[str], node: RunningNode
) -> None:
    def served() -> int:
        by_status = node.client.get("/audit").json()["by_status"]
        return int(by_status["succeeded"])

    before = served()
    eventually(lambda: served() > before + 20, within=30)
    long_load.send_signal(number)
    said, errors = long_load.communicate(timeout=30)
    assert long_load.returncode == 1
    assert "succeeded in" in said
    assert "it was stopped after" in " ".join(said.split())
    assert "Traceback" not in errors


def test_the_command_says_in_its_status_whether_the_slo_was_met(
    node: RunningNode, tmp_path: Path
) -> None:
    few = ("half", "--rate=20", "--seconds=0.5", f"--url={node.url}", "--quiet", f"-o{tmp_path}")
    met = subprocess.run(command(*few, "--slo=p50=30s"), cwd=ROOT, capture_output=True, text=True)
    assert met.returncode == 0, met.stderr
    assert str(tmp_path / "load_test.html") in met.stderr
    assert "SLO met" in met.stdout
    missed = CliRunner().invoke(app, ["loadtest", *few, "--slo=p50=1us"], prog_name="lumbre")
    assert missed.exit_code == 1
    assert "SLO missed: p50=1us" in missed.stdout


def test_the_module_is_the_command() -> None:
    done = subprocess.run(command("f", "--slo=fast"), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("lumbre: ") and "fast" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("f", "--url=http://127.0.0.1:9"), "no node answers at"),
        (("f", "--slo=fast"), "fast"),
        (("f", "n"), "'n' is no key=value"),
        (("--plan=absent.yaml",), "absent.yaml"),
        (("--plan=absent.yaml", "--rate=3"), "is what the plan says"),
        (("f", "image=@absent.png"), "absent.png"),
        ((), "give --plan FILE or a FUNCTION"),
    ],
)
def test_what_cannot_be_run_is_said_without_a_trace(arguments: tuple[str, ...], what: str) -> None:
    done = CliRunner().invoke(app, ["loadtest", *arguments], prog_name="lumbre")
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code in (1, 2)
    assert what in done.stderr
