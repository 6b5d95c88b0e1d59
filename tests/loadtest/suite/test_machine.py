"""What the suite says of the machine it ran on."""

import os
from pathlib import Path

import pytest

from loadtest.suite import machine
from loadtest.suite.machine import cores, cpu_facts, gpu_facts, libraries, other_work, quota

CONFIG = """PyTorch built with:
  - GCC 13.3
  - Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build 20240605 for Intel(R) 64
  - Intel(R) MKL-DNN v3.12.0 (Git Hash 80afa71049cd69a3df32adcccb623b12cd7baa22)
  - OpenMP 201511 (a.k.a. OpenMP 4.5)
  - Build settings: BLAS_INFO=mkl, BUILD_TYPE=Release, USE_MKL=ON
"""


def test_libraries_are_one_line() -> None:
    assert libraries(CONFIG) == "BLAS mkl, MKL 2024.2, oneDNN v3.12.0, OpenMP 201511"
    assert libraries("") == "not told"


def test_a_control_groups_share_of_the_cores_is_read(tmp_path: Path) -> None:
    file, none = tmp_path / "cpu.max", tmp_path / "none"
    file.write_text("1600000 100000\n")
    assert quota(file, none) == 16
    file.write_text("max 100000\n")
    assert quota(file, none) is None
    assert quota(none, none) is None
    old = tmp_path / "cpu"
    old.mkdir()
    (old / "cpu.cfs_period_us").write_text("100000\n")
    (old / "cpu.cfs_quota_us").write_text("250000\n")
    assert quota(none, old) == 2.5
    (old / "cpu.cfs_quota_us").write_text("-1\n")
    assert quota(none, old) is None


def test_no_more_threads_than_the_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "cpu.max"
    monkeypatch.setattr(machine, "QUOTA", file)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    file.write_text("1650000 100000\n")
    assert cores() == 16
    file.write_text("50000 100000\n")
    assert cores() == 1
    file.write_text("max 100000\n")
    assert cores() == 64


def test_torch_and_the_cpu_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"version": "2.13.0", "threads": 2, "capability": "AVX512", "config": CONFIG}
    facts = dict(cpu_facts(told))
    assert facts["torch"] == "2.13.0"
    assert facts["instructions"] == "AVX512"
    assert facts["libraries"].startswith("BLAS mkl")
    assert "torch" not in dict(cpu_facts(None))


def test_a_gpu_is_told_by_torch_and_nvidia_smi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    said = "570.1, 345, 1980, 3201, 3201, 700.00, Enabled, Enabled, [N/A]"
    tool.write_text(f"#!/bin/sh\ncase \"$*\" in *--id=3*) echo '{said}';; esac\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    gpu = {"name": "NVIDIA H200", "memory": 140 * 2**30, "SMs": 132, "CUDA": "12.8"}
    facts = dict(gpu_facts("3", {"version": "2.13.0", "gpu": gpu}))
    assert facts["memory"] == "140.0 GiB"
    assert facts["SMs"] == "132"
    assert facts["driver"] == "570.1"
    assert facts["power limit, W"] == "700.00"
    assert "MIG" not in facts
    assert "name" not in facts


def test_a_tool_that_fails_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nexit 9\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert gpu_facts("0", {"version": "2.13.0", "gpu": None}) == [("torch", "2.13.0")]


def test_other_work_before_the_run_is_told() -> None:
    assert other_work("0.50, 3.00, 3.00") is None
    assert "the load was 0.51 before the run" in str(other_work("0.51, 0.00, 0.00"))
