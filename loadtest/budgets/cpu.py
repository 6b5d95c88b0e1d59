"""How much CPU time processes have used, from /proc."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")  # of the kernel's counts, a second


def spent(pid: int) -> float:
    """Seconds of CPU that a process has used, without its children; 0 once it is gone."""
    fields = _fields(Path(f"/proc/{pid}"))
    return (int(fields[11]) + int(fields[12])) / TICK if fields else 0.0


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _fields(entry)):
            parents[int(entry.name)] = int(fields[1])
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found[1:]


def spent_by(groups: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Seconds of CPU that each group of processes has used."""
    return {name: sum(map(spent, pids)) for name, pids in groups.items()}


def _fields(process: Path) -> list[str]:
    """What /proc/PID/stat says after the name (proc(5)): state, parent, …; [] once it is gone."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
