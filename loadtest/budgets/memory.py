"""How much memory a process has, from /proc/PID/smaps_rollup."""

from pathlib import Path

PRIVATE = ("Private_Clean", "Private_Dirty", "Private_Hugetlb")


def resident(pid: int) -> int:
    """Bytes of a process that are in memory, shared ones included."""
    return _fields(pid)["Rss"]


def proportional(pid: int) -> int:
    """Bytes of a process that are in memory, shared ones divided by those who share them."""
    return _fields(pid)["Pss"]


def private(pid: int) -> int:
    """Bytes that are in memory for this process alone, and would be free without it."""
    fields = _fields(pid)
    return sum(fields.get(name, 0) for name in PRIVATE)


def _fields(pid: int) -> dict[str, int]:
    fields = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, size, *_ = line.split()
        fields[name.rstrip(":")] = int(size) * 1024
    return fields
