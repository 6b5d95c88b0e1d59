"""`lumbre batch`, `batches` and `results`, against a real node."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from runtime.cli import app
from runtime.cli.client import Client, Lost
from tests.support import ROOT, NodeFactory, RunningNode, eventually

FUNCTIONS = ROOT / "tests" / "runtime" / "http_functions"
ID = re.compile(r"[0-9a-f]{32}")


@pytest.fixture(scope="module")
def node(start_node: NodeFactory) -> RunningNode:
    return start_node(FUNCTIONS)


def lumbre(node: RunningNode, *arguments: str, code: int = 0, stdin: bytes | None = None) -> Result:
    """Run a command in this process, and see that it ends with `code`."""
    given = {"LUMBRE_URL": node.url, "COLUMNS": "200"}
    done = CliRunner().invoke(app, arguments, input=stdin, env=given, prog_name="lumbre")
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done


def inputs(folder: Path, *items: Any) -> str:
    file = folder / "inputs.ndjson"
    file.write_text("".join(f"{json.dumps(item)}\n" for item in items))
    return str(file)


def outcomes(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def finish(node: RunningNode, id: str) -> None:
    eventually(lambda: node.client.get(f"/batches/{id}").json()["finished"])


def test_a_file_is_sent_as_a_batch_and_its_id_is_printed(node: RunningNode, tmp_path: Path) -> None:
    done = lumbre(node, "batch", "add", inputs(tmp_path, {"a": 1}, {"a": 2}), "--device", "cpu")
    id = done.stdout.strip()
    assert ID.fullmatch(id)
    assert f"2 items accepted: `lumbre results {id}`" in done.stderr
    view = node.client.get(f"/batches/{id}").json()
    assert (view["total"], view["requested_device"]) == (2, "cpu")
    again = lumbre(node, "batch", "add", inputs(tmp_path, {"a": 1}), "--json")
    assert json.loads(again.stdout)["total"] == 1


def test_waiting_prints_the_results_and_writing_them_waits(
    node: RunningNode, tmp_path: Path
) -> None:
    file = inputs(tmp_path, *({"a": n} for n in range(50)))
    done = lumbre(node, "batch", "add", file, "--wait")
    assert sorted(line["result"] for line in outcomes(done.stdout)) == list(range(1, 51))
    assert done.stderr.strip() == "50 succeeded"
    output = tmp_path / "results.ndjson"
    assert lumbre(node, "batch", "add", file, "-o", str(output)).stdout == ""
    assert len(outcomes(output.read_text())) == 50


def test_inputs_may_come_from_standard_input(node: RunningNode) -> None:
    done = lumbre(node, "batch", "add", "-", "--wait", stdin=b'{"a": 1}\n{"a": 4}')
    assert sorted(line["result"] for line in outcomes(done.stdout)) == [2, 5]
    assert outcomes(lumbre(node, "batch", "add", "--wait", stdin=b'{"a": 1}').stdout)


def test_what_failed_is_counted_and_is_exit_code_1(node: RunningNode, tmp_path: Path) -> None:
    file = inputs(tmp_path, {}, {"message": "x"}, {"message": "y"})
    done = lumbre(node, "batch", "fail", file, "--wait", code=1)
    assert done.stderr.strip() == "3 failed"
    assert {line["error"]["type"] for line in outcomes(done.stdout)} == {"ValueError"}


def test_a_wrong_line_is_told_and_nothing_is_sent(node: RunningNode, tmp_path: Path) -> None:
    file = inputs(tmp_path, {"a": 1}, {"a": "x"})
    done = lumbre(node, "batch", "add", file, code=1)
    assert "items/1/a" in done.stderr
    assert "(line 2)" in done.stderr
    done = lumbre(node, "batch", "add", file, "--json", code=1)
    assert json.loads(done.stdout)["errors"][0]["pointer"] == "/items/1/a"
    assert (
        "no-such-file cannot be read" in lumbre(node, "batch", "add", "no-such-file", code=2).stderr
    )
    target = str(tmp_path / "no-folder" / "file")
    before = len(node.client.get("/batches?limit=1000").json()["items"])
    done = lumbre(node, "batch", "add", inputs(tmp_path, {"a": 1}), "-o", target, code=2)
    assert "is no place for a file" in done.stderr
    assert len(node.client.get("/batches?limit=1000").json()["items"]) == before


def test_the_same_key_is_the_same_batch(node: RunningNode, tmp_path: Path) -> None:
    file = inputs(tmp_path, {"a": 1})
    ids = {lumbre(node, "batch", "add", file, "--key", "cli").stdout for _ in range(3)}
    assert len(ids) == 1
    other = lumbre(node, "batch", "add", inputs(tmp_path, {"a": 2}), "--key", "cli", code=1)
    assert "idempotency key" in other.stderr


def test_batches_are_shown_one_a_line_and_one_by_itself(node: RunningNode, tmp_path: Path) -> None:
    id = lumbre(node, "batch", "fail", inputs(tmp_path, {}, {})).stdout.strip()
    finish(node, id)
    line = next(s for s in lumbre(node, "batches").stdout.splitlines() if s.startswith(id))
    assert re.search(r"finished +2 of 2 \(100%\) +2 +fail", line)
    assert len(lumbre(node, "batches", "--limit", "1").stdout.splitlines()) == 2
    shown = lumbre(node, "batches", id).stdout
    assert "2 failed" in shown
    assert json.loads(lumbre(node, "batches", id, "--json").stdout)["id"] == id
    assert json.loads(lumbre(node, "batches", "--json").stdout)["items"][0]["id"] == id
    assert "no batch" in lumbre(node, "batches", "nonsense", code=1).stderr


def test_results_are_read_later_in_any_way(node: RunningNode, tmp_path: Path) -> None:
    file = inputs(tmp_path, *({"a": n} for n in range(5)))
    id = lumbre(node, "batch", "add", file).stdout.strip()
    finish(node, id)
    done = lumbre(node, "results", id, "--in-order", "--after", "1")
    assert [line["index"] for line in outcomes(done.stdout)] == [2, 3, 4]
    output = tmp_path / "out"
    lumbre(node, "results", id, "--now", "-o", str(output))
    assert len(outcomes(output.read_text())) == 5
    assert "no batch" in lumbre(node, "results", "nonsense", code=1).stderr


def test_what_is_not_over_is_exit_code_3_and_a_batch_is_cancelled_like_an_invocation(
    node: RunningNode, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    id = lumbre(node, "batch", "hold", inputs(tmp_path, {"gate": str(gate)})).stdout.strip()
    done = lumbre(node, "results", id, "--now", code=3)
    assert (done.stdout, done.stderr.strip()) == ("", "none yet")
    assert lumbre(node, "cancel", id).stdout == f"{id} cancelled\n"
    finish(node, id)
    assert "1 cancelled" in lumbre(node, "results", id, code=1).stderr
    assert "there is no invocation" in lumbre(node, "cancel", "nonsense", code=1).stderr
    over = lumbre(node, "batch", "add", "-", stdin=b'{"a": 1}').stdout.strip()
    finish(node, over)
    assert "all of its items are over" in lumbre(node, "cancel", over, code=1).stderr


def test_results_are_written_as_they_come_and_an_interrupt_says_how_to_go_on(
    node: RunningNode, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    items = [{}, {"gate": str(gate)}]
    command = [sys.executable, "-m", "runtime", "batch", "quick_or_held", "--wait"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LUMBRE_")}
    environment |= {"LUMBRE_URL": node.url, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [*command, inputs(tmp_path, *items)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout and process.stderr
        assert json.loads(process.stdout.readline())["index"] == 0
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        (id,) = re.findall(r"batch ([0-9a-f]{32}) goes on", process.stderr.read().decode())
    gate.touch()
    assert len(outcomes(lumbre(node, "results", id).stdout)) == 2


def test_a_node_that_is_lost_meanwhile_is_said_so(start_node: NodeFactory, tmp_path: Path) -> None:
    node = start_node(FUNCTIONS)
    items = [{}, {"gate": str(tmp_path / "gate")}]
    body = {"function": "quick_or_held", "items": items}
    id = node.client.post("/batches", json=body).json()["id"]
    with Client(node.url) as client:
        lines = client.lines(f"/batches/{id}/results")
        assert json.loads(next(lines))["index"] == 0
        node.kill()
        with pytest.raises(Lost):
            next(lines)
    (tmp_path / "gate").touch()
    node.start()
    assert len(outcomes(lumbre(node, "results", id).stdout)) == 2


def test_lines_are_split_at_newlines_only(node: RunningNode, tmp_path: Path) -> None:
    """Other line separators may stand in a JSON string as they are."""
    items = [{"path": str(tmp_path / "x"), "line": "a\u2028b\u0085c"}]
    sent = node.client.post("/batches", json={"function": "append", "items": items}).json()
    done = lumbre(node, "results", sent["id"])
    assert len(done.stdout.split("\n")) == 2
    items = [{"note": "a\u2028b\u0085c"}]
    sent = node.client.post("/batches", json={"function": "echo", "items": items}).json()
    with Client(node.url) as client:
        (line,) = client.lines(f"/batches/{sent['id']}/results")
    assert json.loads(line)["result"]["note"] == "a\u2028b\u0085c"
