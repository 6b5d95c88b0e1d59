"""Processes of this machine, as /proc tells: whose child is whose, and who belongs to a run."""

import os
from pathlib import Path


def tree(root: int) -> dict[int, int]:
    """Every descendant of a process, with its parent."""
    parents = _parents()
    found: dict[int, int] = {}
    level = {root}
    while level:
        level = {pid for pid, parent in parents.items() if parent in level}
        found |= {pid: parents[pid] for pid in level}
    return found


def leaves(root: int) -> list[int]:
    """The descendants that have no children: of a worker these are its replicas, mostly."""
    found = tree(root)
    return sorted(found.keys() - set(found.values()))


def marked(variable: str, value: str) -> list[int]:
    """Live processes that were started with this in their environment."""
    mark = f"\0{variable}={value}\0".encode()
    found = []
    for pid in _parents():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:  # it has just ended, or is somebody else's
            continue
        if mark in b"\0" + environment and pid != os.getpid():
            found.append(pid)
    return found


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return "ended"


def _parents() -> dict[int, int]:
    """The parent of every process that is not a zombie."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if state != "Z":
                parents[int(entry.name)] = int(parent)
    return parents
