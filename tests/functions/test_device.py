"""What the shipped functions share: clocks that wait once, precision put back, pinned memory.

The fake GPU below shows in which order we ask CUDA for things, and nothing about CUDA itself; what
a real one does is in the tests marked `gpu`.
"""

import time
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from runtime import Context


@pytest.fixture(scope="session")
def shared(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("_device")


class CudaContext(Context):
    """Says that it is on a GPU, whatever is there."""

    @property
    def device(self) -> torch.device:
        return torch.device("cuda")


class FakeCuda:
    """A device with a clock of its own, which notes in order what it is asked for."""

    def __init__(self) -> None:
        self.milliseconds = 0.0
        self.asked: list[str] = []

    def synchronize(self, device: torch.device) -> None:
        self.asked.append("wait")

    def event(self, *, enable_timing: bool) -> "FakeEvent":
        assert enable_timing
        return FakeEvent(self)

    def work(self, durations: Iterator[float]) -> Callable[[], int]:
        """A piece of work that takes the next of these milliseconds, and returns its number."""

        def work() -> int:
            self.asked.append("work")
            self.milliseconds += next(durations)
            return self.asked.count("work")

        return work


class FakeEvent:
    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda = cuda
        self.at = float("nan")

    def record(self) -> None:
        self.at = self.cuda.milliseconds
        self.cuda.asked.append("mark")

    def elapsed_time(self, end: "FakeEvent") -> float:
        assert self.cuda.asked[-1] == "wait"  # CUDA refuses before the events have happened
        return end.at - self.at


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()
    monkeypatch.setattr(torch.cuda, "synchronize", fake.synchronize)
    monkeypatch.setattr(torch.cuda, "Event", fake.event)
    return fake


def test_a_gpu_is_waited_for_once_a_phase_and_times_itself(
    shared: ModuleType, cuda: FakeCuda
) -> None:
    context = CudaContext("gpu")
    work = cuda.work(iter([100.0, 1.0, 9.0, 2.0]))
    assert shared.measure(context, work, 3) == (4, pytest.approx(0.002))
    assert cuda.asked == ["work", "wait", "mark", *["work", "mark"] * 3, "wait"]
    assert set(context.phases) == {"warm_up", "compute"}


def test_one_run_on_a_gpu_is_warmed_up_too(shared: ModuleType, cuda: FakeCuda) -> None:
    assert shared.measure(CudaContext("gpu"), cuda.work(iter([7.0, 3.0])), 1)[1] == 0.003
    assert cuda.asked == ["work", "wait", "mark", "work", "mark", "wait"]


def test_work_too_short_for_an_event_takes_the_shortest_time_it_can_tell(
    shared: ModuleType, cuda: FakeCuda
) -> None:
    work = cuda.work(iter([0.0] * 4))
    assert shared.measure(CudaContext("gpu"), work, 3)[1] == shared.EVENT_RESOLUTION > 0


def test_a_simulated_gpu_is_timed_by_the_clock(
    shared: ModuleType, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    assert shared.measure(Context("gpu", simulated=True), lambda: "done", 1)[1] > 0
    assert cuda.asked == []


def test_a_gpus_own_time_is_no_longer_than_the_phase(shared: ModuleType, gpu: Context) -> None:
    x = torch.rand(2000, 2000, device=gpu.device)
    product, seconds = shared.measure(gpu, lambda: x @ x, 20)
    assert 0 < 20 * seconds < 2 * gpu.phases["compute"]
    assert product.shape == x.shape


def test_torchs_advice_on_newer_names_is_not_passed_on(
    shared: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = torch.get_float32_matmul_precision

    def advising() -> str:
        warnings.warn("Please use the new API settings to control TF32 behavior", stacklevel=1)
        return asked()

    monkeypatch.setattr(torch, "get_float32_matmul_precision", advising)
    with shared.precision(tf32=True):
        assert asked() == "high"
    assert asked() == "highest"


def test_precision_is_put_back_after_a_failure(shared: ModuleType) -> None:
    before = (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)
    with pytest.raises(KeyError), shared.precision(tf32=not before[1]):
        raise KeyError
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before


DTYPES = ["uint8", "float16", "float32", "float64"]


@given(st.integers(1, 3000), st.sampled_from(DTYPES))
def test_an_upload_always_lands_in_memory_that_can_be_written(
    shared: ModuleType, length: int, dtype: str
) -> None:
    array = shared.landing(Context.for_test("cpu"))(length, np.dtype(dtype))
    array[:] = np.arange(length) % 200
    assert array.dtype == dtype and array.shape == (length,) and array.flags.writeable
    assert torch.equal(torch.from_numpy(array), torch.arange(length).fmod(200).to(_torch(dtype)))


def _torch(dtype: str) -> torch.dtype:
    found: torch.dtype = getattr(torch, dtype)
    return found


def test_only_what_goes_to_a_gpu_and_is_not_huge_is_pinned(shared: ModuleType) -> None:
    gpu, cpu = CudaContext("gpu"), Context.for_test("cpu")
    most = shared.PINNED_LIMIT // 4
    assert shared.pinned(gpu, most, torch.float32)
    assert not shared.pinned(gpu, most + 1, torch.float32)
    assert not shared.pinned(gpu, most, torch.float64)
    assert not shared.pinned(cpu, 1, torch.float32)
    assert not shared.pinned(Context("gpu", simulated=True), 1, torch.float32)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_upload_for_a_gpu_lands_in_pinned_memory(
    shared: ModuleType, gpu: Context, dtype: str
) -> None:
    array = shared.landing(gpu)(1000, np.dtype(dtype))
    array[:] = np.arange(1000) % 200
    sent = torch.from_numpy(array)
    assert sent.is_pinned()
    (there,) = shared.to_device(gpu, sent)
    assert there.device.type == "cuda"
    (back,) = shared.to_host(gpu, there)
    assert back.is_pinned() and torch.equal(back, sent)
    assert set(gpu.phases) == {"transfer_in", "transfer_out"}


def test_a_turned_tensor_comes_back_from_a_gpu_as_it_is(shared: ModuleType, gpu: Context) -> None:
    tensor: Any = torch.arange(24).reshape(2, 3, 4).permute(2, 0, 1)
    (there,) = shared.to_device(gpu, tensor)
    (back,) = shared.to_host(gpu, there)
    assert torch.equal(back, tensor)
