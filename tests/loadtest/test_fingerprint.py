"""What tells one machine and checkout from another."""

import subprocess
from pathlib import Path

from loadtest.fingerprint import cpu_model, file_system, fingerprint, revision


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    command = ("git", "-C", str(folder), *identity, *arguments)
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_nothing_of_the_fingerprint_is_empty(tmp_path: Path) -> None:
    told = dict(fingerprint(tmp_path))
    assert all(told.values())
    assert told["Python"].startswith("3.")
    assert "uvloop 0." in told["packages"]


def test_a_revision_says_when_it_is_not_all(tmp_path: Path) -> None:
    git(tmp_path, "init")
    git(tmp_path, "commit", "--allow-empty", "-m", "first")
    head = git(tmp_path, "rev-parse", "HEAD")[:12]
    assert revision(tmp_path) == head
    (tmp_path / "new").touch()
    assert revision(tmp_path) == f"{head} with uncommitted changes"


def test_without_a_checkout_there_is_no_revision(tmp_path: Path) -> None:
    assert revision(tmp_path) == "unknown (no git checkout)"


def test_the_innermost_file_system_counts() -> None:
    assert file_system(Path("/proc/self")) == "proc"


def test_the_cpu_is_named_as_linux_names_it(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: AMD EPYC 9B14: 96\nmodel\t: 17\n")
    assert cpu_model(cpuinfo) == "AMD EPYC 9B14: 96"
    cpuinfo.write_text("processor\t: 0\n")
    assert cpu_model(cpuinfo) != ""
