"""`lumbre invoke --device compare`: both devices side by side, on a terminal."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runtime.cli import app
from runtime.cli.session import UNFINISHED
from tests.support import NodeFactory, RunningNode, eventually

FUNCTIONS = Path(__file__).parent.parent / "compare_functions"


@pytest.fixture(scope="module")
def node(start_node: NodeFactory) -> Iterator[RunningNode]:
    yield start_node(FUNCTIONS, LUMBRE_SIMULATE_GPU="1", LUMBRE_GRACE="1")


def lumbre(node: RunningNode, *arguments: str, code: int = 0) -> tuple[str, str]:
    """What a command writes to standard output and error."""
    given = {"LUMBRE_URL": node.url, "COLUMNS": "200"}
    done = CliRunner().invoke(app, ("invoke", *arguments), env=given, prog_name="lumbre")
    assert done.exit_code == code, done.output
    return done.stdout, done.stderr


def test_both_runs_the_speedup_and_what_agrees_are_shown(node: RunningNode) -> None:
    shown, _ = lumbre(node, "twice", "n=4", "--device", "compare")
    header, cpu, gpu, verdict, *agreement = shown.splitlines()
    assert header.split() == ["device", "status", "run", "time", "result"]
    assert cpu.split()[:2] == ["cpu", "succeeded"] and '"product":8' in cpu
    assert gpu.split()[:3] == ["gpu", "(simulated)", "succeeded"]
    assert "×" in verdict and "simulated: it says nothing about a GPU" in verdict
    assert [line.strip() for line in agreement] == ["agree: product, about, name", "differ: rate"]


def test_as_json_it_is_what_the_node_said(node: RunningNode) -> None:
    shown, _ = lumbre(node, "twice", "n=4", "--device", "compare", "--json")
    told = json.loads(shown)
    assert told["gpu"]["result"]["product"] == 8
    assert told["agree"]["rate"] is False


def test_where_one_fails_it_says_why_and_so_does_the_exit_code(node: RunningNode) -> None:
    shown, _ = lumbre(node, "moody", "--device", "compare", code=1)
    assert "RuntimeError: no luck on this device" in shown
    assert "no speedup: not both ran to their end" in shown


def test_a_result_of_bytes_says_where_it_is(node: RunningNode) -> None:
    shown, _ = lumbre(node, "draw", "--device", "compare")
    assert "4 bytes of image/png: `lumbre result" in shown


def test_an_upload_reaches_both(node: RunningNode, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"\x89" * 300_000)
    shown, _ = lumbre(node, "measure", f"image=@{file}", "by=2", "--device", "compare")
    assert shown.count("600000") == 2 and "the results agree" in shown


def test_who_does_not_wait_gets_both_ids(node: RunningNode, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    shown, said = lumbre(node, "hold", f"gate={gate}", "--device", "compare", "--async")
    assert "queued on both" in said
    gate.touch()
    ids = shown.split()
    assert len(ids) == 2

    def devices() -> list[str]:
        records = [node.client.get(f"/invocations/{id}").json() for id in ids]
        return [r["device"] for r in records if r["status"] == "succeeded"]

    eventually(lambda: devices() == ["cpu", "gpu"])


def test_who_waits_too_shortly_exits_as_unfinished(node: RunningNode, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    asked = ("hold", f"gate={gate}", "--device", "compare", "--wait", "1")
    shown, _ = lumbre(node, *asked, code=UNFINISHED)
    gate.touch()
    assert len(shown.split()) == 2


@pytest.mark.parametrize("flag", ["--follow", "--output=x.json"])
def test_what_is_of_one_result_is_refused(node: RunningNode, flag: str) -> None:
    _, said = lumbre(node, "twice", "n=1", "--device", "compare", flag, code=2)
    assert "compare has two results" in said


def test_a_refusal_is_shown(node: RunningNode) -> None:
    _, said = lumbre(node, "grounded", "--device", "compare", code=1)
    assert "grounded has no gpu" in said
