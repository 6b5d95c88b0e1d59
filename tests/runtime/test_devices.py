"""GPUs are found without CUDA, and slots are never given out twice."""

import os
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import devices
from runtime.devices import (
    Gpu,
    GpuSlots,
    Machine,
    core_limit,
    find_gpus,
    find_machine,
    memory_limit,
)
from runtime.settings import Settings


def fake_nvidia_smi(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


LISTED = "echo '0, NVIDIA H200, 143771'; echo '1, NVIDIA H200, 143771'"


def test_gpus_are_those_that_nvidia_smi_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_nvidia_smi(tmp_path, LISTED, monkeypatch)
    assert find_gpus() == (
        Gpu("0", "NVIDIA H200", 143771 * 2**20),
        Gpu("1", "NVIDIA H200", 143771 * 2**20),
    )


def test_gpus_that_are_made_invisible_are_none_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_nvidia_smi(tmp_path, LISTED, monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert [gpu.index for gpu in find_gpus()] == ["1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert find_gpus() == ()


def test_a_driver_that_fails_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nvidia_smi(tmp_path, "echo 'driver mismatch' >&2; exit 9", monkeypatch)
    assert find_gpus() == ()
    machine = find_machine(Settings())
    assert (machine.devices, machine.gpu_slots) == (("cpu",), 0)


def test_cores_are_those_of_the_control_group_or_those_that_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = len(os.sched_getaffinity(0))
    monkeypatch.setattr(devices, "CPU_QUOTA", str(tmp_path / "cpu.max"))
    assert core_limit() == bound  # no control group
    for quota, cores in (("max 100000", bound), ("50000 100000", 1), ("9900000 100000", bound)):
        (tmp_path / "cpu.max").write_text(f"{quota}\n")
        assert core_limit() == find_machine(Settings()).cores == cores
    assert find_machine(Settings(cores=7)).cores == 7


def test_several_replicas_may_share_a_gpu_if_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_nvidia_smi(tmp_path, LISTED, monkeypatch)
    machine = find_machine(Settings(gpus=3))
    assert (machine.devices, machine.gpu_slots) == (("cpu", "gpu"), 6)
    slots = GpuSlots(machine)
    assert sorted(slots.take() or "" for _ in range(6)) == ["0"] * 3 + ["1"] * 3
    assert slots.take() is None


def test_a_simulated_gpu_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = find_machine(Settings(simulate_gpu=True))
    assert (machine.simulated, machine.devices) == (True, ("cpu", "gpu"))
    assert machine.max_replicas("gpu", 100) == machine.gpu_slots == 2


def test_devices_may_be_held_to_fewer_than_there_are() -> None:
    assert find_machine(Settings(simulate_gpu=True, devices="cpu")).devices == ("cpu",)
    assert find_machine(Settings(simulate_gpu=True, devices="cpu, gpu")).devices == ("cpu", "gpu")


def test_the_memory_limit_is_within_the_machine() -> None:
    assert 2**26 < memory_limit() < 2**50


@given(st.integers(1, 8), st.lists(st.booleans(), max_size=60))
def test_slots_are_never_given_out_twice(count: int, takes: list[bool]) -> None:
    gpus = tuple(Gpu(str(i), "g", 1) for i in range(count))
    slots = GpuSlots(Machine(2, 1, gpus, False, ("cpu", "gpu"), count))
    held: list[str] = []
    for take in takes:
        if take:
            index = slots.take()
            assert (index is None) == (len(held) == count)
            if index is not None:
                assert index not in held
                held.append(index)
        elif held:
            slots.give_back(held.pop(0))


def test_who_waits_for_a_slot_is_called_once_when_there_is_one() -> None:
    slots = GpuSlots(Machine(2, 1, (Gpu("0", "g", 1),), False, ("cpu", "gpu"), 1))
    called: list[str] = []
    index = slots.take()
    assert index is not None

    def first() -> None:
        called.append("first")

    slots.wait(first, first=True)
    slots.wait(first, first=True)
    slots.give_back(index)
    slots.give_back("0")
    assert called == ["first"]


def test_who_has_no_slot_is_called_before_who_wants_another_one() -> None:
    slots = GpuSlots(Machine(2, 1, (Gpu("0", "g", 1),), False, ("cpu", "gpu"), 1))
    called: list[str] = []
    callbacks = {name: partial(called.append, name) for name in ("more", "one", "two", "none")}
    for name in ("more", "one", "two", "none"):
        slots.wait(callbacks[name], first=name != "more")
    slots.wait(callbacks["one"], first=True)  # again: it keeps its place
    slots.give_back("0")
    assert called == ["one", "two", "none", "more"]
