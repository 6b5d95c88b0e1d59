"""`lumbre audit`, against real nodes, and where there is only a ledger."""

import asyncio
import json
import os
import re
import sqlite3
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from rich.console import Console
from typer.testing import CliRunner

from runtime import migrate
from runtime.audit import Audit
from runtime.auditor import Balance, Reckoning, reckoning_view
from runtime.census import Pending, Unfinished
from runtime.cli import app, terminal
from runtime.ledger import Ledger
from runtime.model import Invocation, Message, Payload, Status, new_id
from tests.support import NodeFactory, RunningNode

AGES_AGO = 1.0  # unix seconds
NOBODY = "9"  # the discard port, which nothing serves
GREET = '''
from runtime import function


@function
def greet(name: str = "world") -> str:
    """Greet somebody."""
    return f"Hello {name}"
'''

T = TypeVar("T")


def lumbre(*arguments: str, code: int = 0, **env: str | None) -> Any:
    """Run a command in this process, and see that it ends with `code`."""
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "150", **env}, prog_name="lumbre")
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def make(status: Status, function: str = "greet") -> Invocation:
    message = Message(new_id(), function, "cpu", Payload(b"{}"), AGES_AGO)
    finished_at = 2.0 if status is Status.SUCCEEDED else None
    return Invocation(message, "auto", "v", status, finished_at=finished_at)


async def write(url: str, *invocations: Invocation) -> None:
    ledger = await Ledger.open(url)
    await ledger.write(list(invocations))
    await ledger.close()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in an empty folder, without the variables of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("LUMBRE_")]:
        monkeypatch.delenv(name)


# ── a node ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def node(start_node: NodeFactory, tmp_path_factory: pytest.TempPathFactory) -> RunningNode:
    folder = tmp_path_factory.mktemp("functions")
    (folder / "greet.py").write_text(GREET)
    return start_node(folder)


def test_the_audit_of_a_node_holds_and_shows_the_sum(node: RunningNode) -> None:
    lumbre("invoke", "greet", LUMBRE_URL=node.url)
    found = json.loads(lumbre("audit", "--json", LUMBRE_URL=node.url).stdout)
    assert found["holds"]
    assert found["accepted"] == sum(found["by_status"].values()) > 0
    shown = lumbre("audit", LUMBRE_URL=node.url).stdout
    assert "holds: every accepted invocation is accounted for" in shown
    assert re.search(r"succeeded +\d+", shown)


def test_what_no_queue_has_is_named_and_runs_once_it_is_put_back(node: RunningNode) -> None:
    lost = make(Status.QUEUED)
    run(write(f"sqlite:///{node.state}/ledger.db", lost))
    shown = lumbre("audit", LUMBRE_URL=node.url, code=1).stdout
    assert f"{lost.id} is queued, and no message of it is anywhere (greet.cpu, attempt 1)" in shown
    assert "lumbre audit --repair" in shown
    assert re.search(r"^greet.cpu +1 +0 +0 +0 +0 +1$", shown, re.M)
    repaired = lumbre("audit", "--repair", LUMBRE_URL=node.url, code=1).stdout
    assert "put into their queues once more: 1" in repaired
    assert "Hello world" in lumbre("result", lost.id, "--wait", "20", LUMBRE_URL=node.url).stdout
    assert "holds: every" in lumbre("audit", LUMBRE_URL=node.url).stdout


# ── a ledger alone ────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A ledger of two invocations in the state folder of the current folder."""
    file = tmp_path / ".lumbre" / "ledger.db"
    run(write(f"sqlite:///{file}", make(Status.SUCCEEDED), make(Status.QUEUED)))
    return file


def test_without_a_node_audit_reads_this_machines_ledger(ledger: Path) -> None:
    done = lumbre("audit", "--json", LUMBRE_PORT=NOBODY)
    found = json.loads(done.stdout)
    assert found["accepted"] == 2
    assert found["by_status"]["queued"] == 1
    assert found["queues"] is None
    assert f"read from {ledger}\n" in done.stderr
    assert "holds: every" in lumbre("audit", LUMBRE_PORT=NOBODY).stdout


def test_a_ledger_of_other_roles_is_read_and_queues_are_said_not_to_be(ledger: Path) -> None:
    done = lumbre("audit", LUMBRE_BROKER_URL="amqp://guest:secret@127.0.0.1:9/", LUMBRE_PORT=NOBODY)
    assert f"read from {ledger}, and its queues were not asked" in done.stderr
    assert "secret" not in done.output


def test_a_ledger_in_postgresql_is_read_and_its_password_is_not_shown(postgres_url: str) -> None:
    migrate.upgrade(postgres_url)
    run(write(postgres_url, make(Status.QUEUED)))
    done = lumbre("audit", LUMBRE_LEDGER_URL=postgres_url, LUMBRE_PORT=NOBODY)
    assert re.search(r"read from postgresql://\w+:\*{3}@", done.stderr)
    assert re.search(r"accepted +1$", done.stdout, re.M)


def test_an_audit_that_does_not_hold_exits_1_and_says_what_is_wrong(ledger: Path) -> None:
    connection = sqlite3.connect(ledger)
    with connection:
        connection.execute("DELETE FROM invocations WHERE status = 'succeeded'")
        connection.execute("UPDATE invocations SET attempt = 0")
    connection.close()
    shown = lumbre("audit", code=1, LUMBRE_PORT=NOBODY).stdout
    assert "does not hold:" in shown
    assert "2 invocations were accepted, and 1 are held" in shown
    assert "its attempt is 0" in shown


def test_without_a_node_and_a_ledger_audit_says_so_and_makes_none(tmp_path: Path) -> None:
    stderr = lumbre("audit", code=1, LUMBRE_PORT=NOBODY).stderr
    assert f"there is no ledger {tmp_path / '.lumbre' / 'ledger.db'} to read" in stderr
    assert stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_without_a_node_nothing_can_be_put_back(ledger: Path) -> None:
    done = lumbre("audit", "--repair", code=1, LUMBRE_PORT=NOBODY)
    assert "start one with `lumbre up`; only a node can put back what is lost" in done.stderr
    assert done.stdout == ""


# ── what is shown ─────────────────────────────────────────────────────────────────────────────


def shown(found: Reckoning) -> str:
    console = Console(width=150, color_system=None)
    with console.capture() as capture:
        console.print(terminal.audit(reckoning_view(found)))
    return capture.get()


def balanced(**by_status: int) -> Audit:
    counts = {status: by_status.get(status, 0) for status in Status}
    return Audit(sum(counts.values()), counts, 0, 0, ())


def test_what_moves_is_a_number_with_a_reason_and_no_fault() -> None:
    balance = Balance("nap", "gpu", Unfinished(queued=5, running=2), ready=3, leased=2)
    quiet = Balance("other", "cpu", Unfinished(), ready=0, leased=0)
    between = {"results": 1, "retry.1m": 1, "retry.2m": 0}
    told = shown(
        Reckoning(balanced(queued=5, running=2), (), (balance, quiet), between, "the workers")
    )
    assert re.search(r"^nap.gpu +5 +2 +0 +3 +2 +2$", told, re.M)
    assert "other.cpu" not in told
    assert "2 missing: 1 in results, 1 in retry.1m; messages move" in told
    assert "leased: the workers" in told
    assert "holds: every" in told


def test_what_is_on_its_way_is_shown() -> None:
    told = shown(Reckoning(balanced(), (), (), {"results": 1, "retry.1m": 2, "retry.2m": 0}, "w"))
    assert "on their way: 1 in results, 2 in retry.1m\n" in told


def test_a_queue_that_is_not_there_is_told_from_an_empty_one() -> None:
    gone = Balance("nap", "gpu", Unfinished(queued=1), ready=None, leased=0)
    told = shown(Reckoning(balanced(queued=1), (), (gone,), {}, "the workers"))
    assert re.search(r"^nap.gpu +1 +0 +0 +none +0 +1$", told, re.M)
    assert "there is no queue nap.gpu" in told


def test_what_retention_took_out_is_in_the_sum() -> None:
    told = shown(Reckoning(Audit(7, {Status.SUCCEEDED: 2}, 5, 0, ())))
    assert re.search(r"^purged by retention +5$", told, re.M)
    assert re.search(r"^accepted +7$", told, re.M)


def test_a_long_list_of_what_is_lost_is_cut() -> None:
    lost = tuple(Pending(new_id(), "nap", "cpu", "queued", 1, AGES_AGO, None) for _ in range(50))
    told = shown(Reckoning(balanced(queued=50), lost=lost))
    assert sum(each.id in told for each in lost) == 20
    assert "and 30 more, which --json names" in told
