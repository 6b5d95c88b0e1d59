"""What the suite runs on: cores, threads, memory, clocks, libraries, and what else runs there."""

import math
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from loadtest.fingerprint import cpu_model, fingerprint
from loadtest.suite.results import Facts

PACKAGES = ("torch", "numpy", "pydantic", "scikit-learn", "pillow", "safetensors")
BUSY = 0.5  # cores: a load above it before the run is other work
CPUFREQ = Path("/sys/devices/system/cpu/cpu0/cpufreq")
SIBLINGS = Path("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list")
QUOTA = Path("/sys/fs/cgroup/cpu.max")
QUOTA_V1 = Path("/sys/fs/cgroup/cpu")

# What nvidia-smi is asked, and what its answer is called here.
ASKED = {
    "driver_version": "driver",
    "clocks.sm": "SM clock, MHz",
    "clocks.max.sm": "SM clock at most, MHz",
    "clocks.mem": "memory clock, MHz",
    "clocks.max.mem": "memory clock at most, MHz",
    "power.limit": "power limit, W",
    "persistence_mode": "persistence mode",
    "ecc.mode.current": "ECC",
    "mig.mode.current": "MIG",
}


def machine_facts() -> Facts:
    """The machine, the versions and the code, as this process sees them."""
    return fingerprint(None, PACKAGES)


def cores() -> int:
    """Cores this process may use: those it may run on, or its control group's share if less.

    Threads beyond a quota are put to sleep in the middle of their work: slower than fewer of them.
    """
    allowed = len(os.sched_getaffinity(0))
    return max(1, min(allowed, math.floor(quota(QUOTA, QUOTA_V1) or allowed)))


def quota(v2: Path, v1: Path) -> float | None:
    """Cores a control group may use on average; None where there is no limit."""
    try:
        limit, period = v2.read_text().split()
    except (OSError, ValueError):
        try:
            limit = (v1 / "cpu.cfs_quota_us").read_text().strip()
            period = (v1 / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if limit in ("max", "-1"):
        return None
    return int(limit) / int(period)


def cpu_name() -> str:
    return cpu_model(Path("/proc/cpuinfo"))


def cpu_facts(torch: dict[str, Any] | None) -> Facts:
    """The CPU's clock and governor where they can be read, and torch's libraries."""
    facts: Facts = [("cores", f"{cores()} of {os.cpu_count()}")]
    if siblings := _read(SIBLINGS):
        facts.append(("threads a core", str(len(_numbers(siblings)))))
    if governor := _read(CPUFREQ / "scaling_governor"):
        facts.append(("governor", governor))
    if most := _read(CPUFREQ / "cpuinfo_max_freq"):
        facts.append(("clock at most", f"{int(most) / 1e6:.2f} GHz"))
    if clock := _clock(Path("/proc/cpuinfo")):
        facts.append(("clock before the run", clock))
    return facts + (torch_facts(torch) if torch else [])


def torch_facts(told: dict[str, Any]) -> Facts:
    """What `suite_torch` told, in lines."""
    return [
        ("torch", str(told["version"])),
        ("torch threads", str(told["threads"])),
        ("instructions", str(told["capability"])),
        ("libraries", libraries(str(told["config"]))),
    ]


def libraries(config: str) -> str:
    """BLAS, MKL, oneDNN and OpenMP of `torch.__config__.show()`, in one line."""
    found = []
    if blas := re.search(r"BLAS_INFO=(\w+)", config):
        found.append(f"BLAS {blas[1]}")
    for name, pattern in (
        ("MKL", r"Math Kernel Library Version (\S+?)(?:-Product)?\s"),
        ("oneDNN", r"MKL-DNN (v\S+)"),
        ("OpenMP", r"OpenMP (\d+)"),
    ):
        if version := re.search(pattern, config):
            found.append(f"{name} {version[1]}")
    return ", ".join(found) or "not told"


def gpu_facts(index: str, torch: dict[str, Any]) -> Facts:
    """What torch and nvidia-smi say of one GPU."""
    gpu = dict(torch["gpu"] or {})
    facts: Facts = [("torch", str(torch["version"]))]
    if memory := gpu.pop("memory", None):
        facts.append(("memory", f"{memory / 2**30:.1f} GiB"))
    facts += [(name, str(value)) for name, value in gpu.items() if name != "name"]
    return facts + _asked(index)


def other_work(load: str) -> str | None:
    """A note where other work was running before the run; `load` as `load_average` tells it."""
    before = float(load.partition(",")[0])
    if before <= BUSY:
        return None
    return (
        f"other work was running: the load was {before:.2f} before the run; timings are longer and"
        " more spread than on an idle machine"
    )


def _asked(index: str) -> Facts:
    """What nvidia-smi answers; what a GPU has not, or may not be asked, is left out."""
    if not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", f"--query-gpu={','.join(ASKED)}", f"--id={index}"]
    try:
        answer = subprocess.run(
            [*query, "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    values = [value.strip() for value in answer.stdout.strip().split(",")]
    if len(values) != len(ASKED):
        return []
    return [
        (name, value)
        for name, value in zip(ASKED.values(), values, strict=True)
        if value and not value.startswith("[")
    ]


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def _numbers(ranges: str) -> list[int]:
    """`0,64` or `0-1` as Linux lists CPUs."""
    found: list[int] = []
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def _clock(cpuinfo: Path) -> str | None:
    """The clock of the first core as Linux tells it; that of a virtual machine is nominal."""
    found = re.search(r"^cpu MHz\s*:\s*(\d+\.?\d*)", _read(cpuinfo), re.MULTILINE)
    return f"{float(found[1]) / 1000:.2f} GHz" if found else None
