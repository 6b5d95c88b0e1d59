"""How much of a GPU's memory a process holds, as nvidia-smi would tell it."""

import asyncio
import subprocess

import pytest

from runtime import gpu_memory
from runtime.gpu_memory import GpuMemory, held_by


def test_a_list_of_nvidia_smi_is_read() -> None:
    listed = "1234, 512\n 99 , 1024\n1234, 256\n77, [N/A]\n\n[Not Found]\n"
    assert held_by(listed) == {1234: 768 * 2**20, 99: 2**30}


async def settled(memory: GpuMemory) -> None:
    while memory._asking is not None:
        await asyncio.sleep(0.002)


async def test_it_is_asked_in_the_background_and_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def ask() -> str:
        asked.append(1)
        return f"7, {len(asked)}"

    memory = GpuMemory(ask)
    assert memory.of(7) is None, "nobody waits for it"
    await settled(memory)
    assert memory.of(7) == 2**20
    assert memory.of(8) is None
    await settled(memory)
    assert len(asked) == 1
    monkeypatch.setattr(gpu_memory, "ASK_EVERY", 0.0)
    memory.of(7)
    await settled(memory)
    assert memory.of(7) == 2 * 2**20
    await memory.close()
    before = len(asked)
    memory.of(7)
    await asyncio.sleep(0)
    assert len(asked) == before


async def test_where_it_does_not_answer_nobody_knows() -> None:
    def ask() -> str:
        raise subprocess.TimeoutExpired("nvidia-smi", 20)

    memory = GpuMemory(ask)
    memory.of(7)
    await settled(memory)
    assert memory.of(7) is None
    await memory.close()


async def test_where_there_is_no_nvidia_smi_it_is_not_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    memory = GpuMemory()
    assert memory.of(7) is None
    assert memory._asking is None
    await memory.close()
