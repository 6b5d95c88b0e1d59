"""`lumbre keys`, and the commands that send a key: run in this process, on ledgers of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from runtime.cli import app
from runtime.keys import FORM
from tests.runtime.gateway.asking import FUNCTIONS
from tests.support import ROOT, NodeFactory, eventually


class Result:
    """What a command printed, and said about it."""

    def __init__(self, out: str, said: str) -> None:
        self.out = out
        self.said = said

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def lumbre(*arguments: str, code: int = 0, **environment: str) -> Result:
    done = CliRunner().invoke(app, arguments, env=environment, prog_name="lumbre")
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return Result(done.stdout, done.stderr)


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("LUMBRE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "160")


def test_a_key_is_printed_once_and_told_how_to_use() -> None:
    made = lumbre("keys", "create", "laptop", "--scope", "invoke", "--scope", "read")
    text = made.out.strip()
    assert FORM.fullmatch(text)
    assert "LUMBRE_API_KEY" in made.said and "Authorization: Bearer" in made.said
    assert "shown this once" in made.said and text not in made.said
    listed = lumbre("keys", "list")
    assert "laptop" in listed.out and "invoke, read" in listed.out and "valid" in listed.out
    assert text.rpartition("_")[2] not in lumbre("keys", "list", "--json").out


def test_a_key_has_the_rate_and_the_end_that_were_asked_for() -> None:
    made = lumbre(
        *("keys", "create", "ci", "--scope", "invoke", "--rate", "2.5", "--expires", "36h"),
        "--json",
    ).json
    assert FORM.fullmatch(made.pop("key"))
    (listed,) = lumbre("keys", "list", "--json").json
    assert listed == made
    assert (listed["rate"], listed["scopes"], listed["state"]) == (2.5, ["invoke"], "valid")
    assert "hash" not in listed and "session_hash" not in listed
    assert "2.5/s" in lumbre("keys", "list").out


def test_a_revoked_key_stays_in_the_list_as_one() -> None:
    id = lumbre("keys", "create", "old", "--scope", "read", "--json").json["id"]
    lumbre("keys", "create", "new", "--scope", "read")
    assert "it was the last one" not in lumbre("keys", "revoke", id).said
    first, second = lumbre("keys", "list", "--json").json
    assert (first["state"], second["state"]) == ("revoked", "valid")
    assert "it was the last one" in lumbre("keys", "revoke", second["id"]).said
    assert "there is no key 'nobody'" in lumbre("keys", "revoke", "nobody", code=1).said


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("ci",), 2, "invoke, read, admin"),
        (("ci", "--scope", "everything"), 2, "'everything'"),
        (("ci", "--scope", "read", "--expires", "soon"), 2, "write 90m, 12h, 30d or 4w"),
        (("ci", "--scope", "read", "--expires", "0d"), 2, "write 90m, 12h, 30d or 4w"),
        (("ci", "--scope", "read", "--rate", "0"), 1, "rate: is 0"),
        (("", "--scope", "read"), 1, "name: must be"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused_and_not_made(
    arguments: tuple[str, ...], code: int, said: str
) -> None:
    assert said in lumbre("keys", "create", *arguments, code=code).said
    assert "no keys" in lumbre("keys", "list").said


def test_the_ledger_is_the_one_that_the_settings_or_flags_name(tmp_path: Path) -> None:
    lumbre("keys", "create", "a", "--scope", "read", LUMBRE_STATE="one")
    lumbre("keys", "create", "b", "--scope", "read", "--state", "two")
    url = f"sqlite:///{tmp_path / 'three.db'}"
    lumbre("keys", "create", "c", "--scope", "read", "--ledger-url", url)
    assert [key["name"] for key in lumbre("keys", "list", "--json", LUMBRE_STATE="two").json] == [
        "b"
    ]
    found = lumbre("keys", "list", "--json", LUMBRE_LEDGER_URL=url).json
    assert [key["name"] for key in found] == ["c"]
    assert (tmp_path / "one" / "ledger.db").exists()


@pytest.mark.parametrize("verb", ["create", "list", "revoke"])
def test_the_help_of_every_command_has_an_example(verb: str) -> None:
    shown = lumbre("keys", verb, "--help").out
    assert f"lumbre keys {verb}" in shown.partition("Examples:")[2]


def test_commands_and_load_tests_send_the_key_to_a_node_that_asks_for_one(
    start_node: NodeFactory, tmp_path: Path
) -> None:
    node = start_node(FUNCTIONS)
    made = lumbre(
        "keys",
        "create",
        "cli",
        "--scope",
        "invoke",
        "--scope",
        "read",
        LUMBRE_STATE=str(node.state),
    )
    here: dict[str, Any] = {"LUMBRE_URL": node.url}
    eventually(lambda: httpx.get(f"{node.url}/functions").status_code == 401)
    assert "API key needed (401)" in lumbre("invoke", "add", "a=1", code=1, **here).said
    here["LUMBRE_API_KEY"] = made.out.strip()
    assert lumbre("invoke", "add", "a=1", **here).out.strip() == "2"
    assert "add" in lumbre("functions", **here).out
    assert (
        "has spaces" in lumbre("functions", code=1, LUMBRE_URL=node.url, LUMBRE_API_KEY="a b").said
    )
    command = ["loadtest", "add", "a=1", "-c", "2", "--seconds", "1", "--quiet", "--out", "out"]
    done = subprocess.run(
        [sys.executable, "-m", "runtime", *command],
        cwd=tmp_path,
        env={**os.environ, **here, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    written = "".join(path.read_text() for path in (tmp_path / "out").iterdir())
    assert made.out.strip() not in written
