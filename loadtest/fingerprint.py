"""What a benchmark ran on: the machine, the versions, the code."""

import os
import platform
import subprocess
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

Facts = list[tuple[str, str]]  # names and values

PACKAGES = ("torch", "uvicorn", "uvloop", "httptools", "starlette", "orjson", "sqlalchemy", "pika")
ROOT = Path(__file__).parent.parent


def fingerprint(scratch: Path | None, packages: Sequence[str] = PACKAGES) -> Facts:
    """Names and values that tell one machine and checkout from another.

    `scratch` is where the servers keep their state, since what an fsync costs depends on it; None
    where nothing is kept.
    """
    state = [("state on", f"{file_system(scratch)} ({scratch.parent})")] if scratch else []
    return [
        ("date", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())),
        ("revision", revision(ROOT)),
        ("CPU", cpu_model(Path("/proc/cpuinfo"))),
        ("cores", f"{len(os.sched_getaffinity(0))} of {os.cpu_count()}"),
        ("memory", f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"),
        ("kernel", f"{platform.system()} {platform.release()}"),
        *state,
        ("Python", f"{platform.python_version()} ({platform.python_implementation()})"),
        ("packages", ", ".join(f"{name} {_version(name)}" for name in packages)),
    ]


def load_average() -> str:
    """Runnable processes over the last 1, 5 and 15 minutes."""
    return ", ".join(f"{load:.2f}" for load in os.getloadavg())


def revision(checkout: Path) -> str:
    """The git revision of a checkout, and whether it has changes that are in no revision."""
    head = _git(checkout, "rev-parse", "--short=12", "HEAD")
    if not head:
        return "unknown (no git checkout)"
    return f"{head} with uncommitted changes" if _git(checkout, "status", "--porcelain") else head


def cpu_model(cpuinfo: Path) -> str:
    """The CPU's name as Linux gives it, or its architecture."""
    for line in cpuinfo.read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def file_system(folder: Path) -> str:
    """The type of the file system that a folder is on, such as `ext4` or `tmpfs`."""
    best, kind = "", "unknown"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, type_, *_ = line.split()
        if len(mount) >= len(best) and folder.resolve().is_relative_to(mount):
            best, kind = mount, type_
    return kind


def _git(checkout: Path, *arguments: str) -> str:
    command: Sequence[str] = ("git", "-C", str(checkout), *arguments)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
