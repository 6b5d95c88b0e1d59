"""`lumbre letters`, `replay-letters` and `discard-letters`, against a real node."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from runtime.cli import app
from tests.support import ROOT, NodeFactory, RunningNode, eventually

MORTALS = ROOT / "tests" / "runtime" / "letter_functions"


@pytest.fixture(scope="module")
def node(start_node: NodeFactory) -> RunningNode:
    return start_node(MORTALS)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Until this file is there, mortals die."""
    return tmp_path / "saved"


@pytest.fixture(autouse=True)
def empty(node: RunningNode) -> Iterator[None]:
    yield
    for function in ("mortal", "mortal_bytes"):
        lumbre(node, "discard-letters", function, "--all", code=None)


def lumbre(node: RunningNode, *arguments: str, code: int | None = 0) -> Result:
    """Run a command in this process, and see that it ends with `code`."""
    given = {"LUMBRE_URL": node.url, "COLUMNS": "200"}
    done = CliRunner().invoke(app, arguments, env=given, prog_name="lumbre")
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert code is None or done.exit_code == code, done.output
    return done


def die(node: RunningNode, saved: Path, **parameters: Any) -> str:
    """The id of an invocation that has died."""
    body = {"saved": str(saved), **parameters}
    id = node.client.post("/invoke/mortal", json=body).headers["Invocation-Id"]
    eventually(lambda: id in ids(node))
    return id


def ids(node: RunningNode) -> list[str]:
    items = json.loads(lumbre(node, "letters", "mortal", "--json").stdout)["items"]
    return [item["id"] for item in items]


def result_of(node: RunningNode, id: str) -> Any:
    return node.client.get(f"/invocations/{id}/result", headers={"Prefer": "wait=10"}).json()


def test_letters_are_listed_with_why_they_died(node: RunningNode, saved: Path) -> None:
    assert "no dead letters" in lumbre(node, "letters").stderr
    id, other = die(node, saved), die(node, saved)
    shown = lumbre(node, "letters").stdout
    (line,) = [line for line in shown.splitlines() if id in line]
    assert "mortal.cpu" in line
    assert "exit status 9" in line
    first = lumbre(node, "letters", "mortal", "--limit", "1")
    assert other not in first.stdout
    assert "--limit" in first.stderr
    assert lumbre(node, "letters", "ephemeral").stdout == ""


def test_named_letters_are_replayed_and_their_new_ids_printed(
    node: RunningNode, saved: Path
) -> None:
    one, two, three = die(node, saved, n=1), die(node, saved, n=2), die(node, saved, n=3)
    saved.touch()
    done = lumbre(node, "replay-letters", "mortal", one, three)
    assert [result_of(node, new) for new in done.stdout.split()] == [1, 3]
    assert "2 replayed" in done.stderr
    assert ids(node) == [two]
    assert lumbre(node, "replay-letters", "mortal", one, three).stdout == done.stdout


def test_all_letters_are_replayed(node: RunningNode, saved: Path) -> None:
    several = [die(node, saved, n=n) for n in range(3)]
    saved.touch()
    lines = lumbre(node, "replay-letters", "mortal", "--all", "--json").stdout.splitlines()
    *each, end = map(json.loads, lines)
    assert [line["id"] for line in each] == several
    assert end == {"replayed": 3, "kept": 0, "stopped": None}
    assert ids(node) == []


def test_a_letter_is_replayed_with_some_parameters_changed(node: RunningNode, saved: Path) -> None:
    one, two = die(node, saved, n=1), die(node, saved, n=2)
    saved.touch()
    news = lumbre(node, "replay-letters", "mortal", one, two, "padding=x", "n=5").stdout.split()
    assert [result_of(node, new) for new in news] == [5, 5]
    given = node.client.get(f"/invocations/{news[0]}").json()["input"]["parameters"]
    assert given == {"saved": str(saved), "n": 5, "padding": "x"}


def test_a_letter_stays_where_what_is_changed_is_no_good(node: RunningNode, saved: Path) -> None:
    id = die(node, saved)
    refused = lumbre(node, "replay-letters", "mortal", id, "n=many", code=1)
    assert "n: " in refused.stderr
    unknown = lumbre(node, "replay-letters", "mortal", id, "no-such-id", "m=1", code=1)
    assert "no-such-id" in unknown.stderr
    assert ids(node) == [id]


def test_letters_are_thrown_away(node: RunningNode, saved: Path) -> None:
    one, two, three = (die(node, saved) for _ in range(3))
    done = lumbre(node, "discard-letters", "mortal", two, "no-such-id", code=1)
    assert done.stdout == f"{two}\n"
    assert "no-such-id stays" in done.stderr
    assert ids(node) == [one, three]
    assert "2 discarded" in lumbre(node, "discard-letters", "mortal", "--all").stderr
    assert ids(node) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("replay-letters", "mortal"), "--all"),
        (("replay-letters", "mortal", "n=1"), "ids"),
        (("replay-letters", "mortal", "ID", "--all"), "--all"),
        (("replay-letters", "mortal", "--all", "n=1"), "--all"),
        (("replay-letters", "mortal", "ID", f"n=@{__file__}"), "uploaded"),
        (("discard-letters", "mortal"), "--all"),
        (("discard-letters", "mortal", "ID", "--all"), "--all"),
    ],
)
def test_an_order_that_says_too_little_or_too_much_is_refused(
    arguments: tuple[str, ...], told: str, node: RunningNode
) -> None:
    assert told in lumbre(node, *arguments, code=2).stderr


def test_a_function_that_is_not_there_is_told(node: RunningNode) -> None:
    assert "no_such" in lumbre(node, "replay-letters", "no_such", "--all", code=1).stderr
