"""Where replicas of the suite run, on machines with and without a GPU."""

from pathlib import Path

import pytest

from loadtest.suite.places import find_places
from runtime.model import DEVICES, Device


def gpus(folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    tool = folder / "nvidia-smi"
    lines = "".join(f"echo '{i}, {name}, 100000'\n" for i, name in enumerate(names))
    tool.write_text(f"#!/bin/sh\n{lines}")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_a_gpu_is_used_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(tmp_path, monkeypatch, "NVIDIA H200", "NVIDIA T4")
    places = find_places(DEVICES, simulate_gpu=False, threads=3)
    assert (places.found["cpu"].gpu, places.found["cpu"].threads) == (None, 3)
    assert (places.found["gpu"].gpu, places.found["gpu"].simulated) == ("0", False)
    assert places.found["gpu"].room <= 0.9 * 100000 * 2**20
    assert places.notes == ["there are 2 GPUs: only the first, NVIDIA H200, was measured"]


def test_a_simulated_gpu_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(tmp_path, monkeypatch, "NVIDIA H200")
    places = find_places(DEVICES, simulate_gpu=True, threads=None)
    assert (places.found["gpu"].gpu, places.found["gpu"].simulated) == (None, True)
    assert "simulated" in places.notes[0]


def test_no_gpu_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(tmp_path, monkeypatch)
    places = find_places(DEVICES, simulate_gpu=False, threads=None)
    assert list(places.found) == ["cpu"]
    assert places.found["cpu"].threads >= 1
    assert places.absent == {"gpu": "no GPU here"}
    assert len(places.notes) == 1


def test_what_was_not_asked_for_is_absent_without_a_note() -> None:
    only: tuple[Device, ...] = ("cpu",)
    places = find_places(only, simulate_gpu=True, threads=None)
    assert (list(places.found), places.absent) == (["cpu"], {"gpu": "only the CPU was asked for"})
    assert places.notes == []
