"""The environment of the peers: made once, and refused in words."""

from pathlib import Path

import pytest

from loadtest.budgets import environment
from loadtest.budgets.environment import Absent, prepare


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Commands that were run; they make the folder, and nothing else."""
    commands: list[tuple[str, ...]] = []

    def run(*command: str) -> None:
        commands.append(command)
        if "venv" in command:
            (Path(command[-1]) / "lib" / "python3.0" / "site-packages").mkdir(parents=True)

    monkeypatch.setattr(environment, "_run", run)
    return commands


def test_it_is_made_once_for_the_same_requirements(
    tmp_path: Path, ran: list[tuple[str, ...]]
) -> None:
    wanted = tmp_path / "requirements.txt"
    wanted.write_text("dramatiq==1\n")
    made = prepare(tmp_path / "peers", wanted)
    assert [command[2] for command in ran] == ["venv", "pip"]
    assert made.python == tmp_path / "peers" / "bin" / "python"
    assert (tmp_path / "peers/lib/python3.0/site-packages/shared.pth").read_text()
    prepare(tmp_path / "peers", wanted)
    assert len(ran) == 2


def test_other_requirements_make_it_anew(tmp_path: Path, ran: list[tuple[str, ...]]) -> None:
    wanted = tmp_path / "requirements.txt"
    wanted.write_text("dramatiq==1\n")
    prepare(tmp_path / "first", wanted)
    stamp = (tmp_path / "first" / "made-for").read_text()
    wanted.write_text("dramatiq==2\n")
    assert not environment.Environment(tmp_path / "first").ready(stamp.replace("==1", "==2"))


def test_what_cannot_be_run_is_absent_and_says_why(tmp_path: Path) -> None:
    with pytest.raises(Absent, match="no-such-program"):
        environment._run("no-such-program")
    with pytest.raises(Absent, match=r"No such file|can't open file"):
        environment._run("python3", str(tmp_path / "missing.py"))
