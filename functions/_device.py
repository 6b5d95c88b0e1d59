"""Honest clocks, explicit precision and fast copies, shared by the functions of this folder.

A file whose name starts with `_` is no function.  Its siblings import it by its plain name, since
a function's own folder is on the import path when Lumbre loads it.
"""

import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from runtime import Context

Result = TypeVar("Result")

PINNED_LIMIT = 2**28  # bytes; torch keeps page-locked memory for the replica's whole life
EVENT_RESOLUTION = 0.5e-6  # seconds; CUDA's documentation of cudaEventElapsedTime


def kind(context: Context) -> Literal["cpu", "gpu"]:
    """What this invocation really computes on; a simulated GPU is a CPU."""
    return "gpu" if context.device.type == "cuda" else "cpu"


@contextmanager
def phase(context: Context, name: str) -> Iterator[None]:
    """Time a phase of the invocation; its clock stops only when the device has finished.

    That is the one wait for the device in a phase.  Nothing inside may read a number back, by
    `.item()`, `int(…)` or a mask as an index: the device would stand still in between.
    """
    with context.timer(name):
        yield
        if kind(context) == "gpu":
            torch.cuda.synchronize(context.device)


def measure(context: Context, work: Callable[[], Result], repeat: int) -> tuple[Result, float]:
    """Do `work` `repeat` times: its last result, and the median seconds it took.

    On a CPU the seconds are the clock's around each run.  On a GPU the runs are queued one behind
    another, and the seconds are the GPU's own from the end of one to the end of the next; the time
    to start a run shows only where it is longer than the run, and in the first.

    The first run of several, and any first run on a GPU, pays for loading kernels and for touching
    fresh memory.  So one more run goes first then, in the phase `warm_up`, and is not measured.
    """
    gpu = kind(context) == "gpu"
    if repeat > 1 or gpu:
        with phase(context, "warm_up"):
            work()
    result, seconds = (_by_events if gpu else _by_clock)(context, work, repeat)
    return result, statistics.median(seconds)


def _by_clock(
    context: Context, work: Callable[[], Result], repeat: int
) -> tuple[Result, list[float]]:
    seconds = []
    for _ in range(repeat):
        began = time.perf_counter()
        with phase(context, "compute"):
            result = work()
        seconds.append(time.perf_counter() - began)
    return result, seconds


def _by_events(
    context: Context, work: Callable[[], Result], repeat: int
) -> tuple[Result, list[float]]:
    """Events are recorded by the device itself as it passes them, so nobody waits in between."""
    marks = [
        torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        for _ in range(repeat + 1)
    ]
    with phase(context, "compute"):
        marks[0].record()
        for mark in marks[1:]:
            result = work()
            mark.record()
    milliseconds = [began.elapsed_time(ended) for began, ended in pairwise(marks)]
    return result, [max(each / 1000, EVENT_RESOLUTION) for each in milliseconds]


@contextmanager
def precision(*, tf32: bool = False) -> Iterator[None]:
    """Hold float32 products and convolutions to float32, or let them use TF32; then put it back.

    TF32 keeps 10 of float32's 23 mantissa bits in the factors and runs on a GPU's tensor cores;
    cuDNN would use it for float32 convolutions unasked.  cuDNN is held to deterministic algorithms
    as well, so that the same seed gives the same result.  A CPU computes float32 either way.

    How bfloat16 and float16 products are added up stays as torch has it: in float32, but cuBLAS may
    add the parts of a split sum in the format itself.
    """
    before = _set_precision("high" if tf32 else "highest")
    try:
        with torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=tf32
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _set_precision(new: str) -> str:
    """Set the precision of float32 products: what it was before.

    torch 2.9 warns, once in a process, that these names will go one day.  They are the only ones
    that 2.4 to 2.13 all have, and torch refuses a mixture with the newer names.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Please use the new API settings to control TF32")
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(new)
    return before


def pinned(context: Context, elements: int, dtype: torch.dtype) -> bool:
    """Whether a tensor that will be copied to or from the device pays to lie in pinned memory.

    A GPU copies page-locked memory directly and without blocking.  Locking takes time itself, but
    torch keeps and reuses what it locked, so a warm replica pays for it once.
    """
    return kind(context) == "gpu" and elements * dtype.itemsize <= PINNED_LIMIT


def landing(context: Context) -> Callable[[int, np.dtype[Any]], NDArray[Any]]:
    """Makes unwritten NumPy arrays, of a length and a type, to unpack an upload into.

    Unpacking copies every byte once.  It costs no second copy if that one ends in pinned memory,
    whereas pinning afterwards would (and PyTorch's guide to pinned memory finds that slower than
    not to pin).
    """

    def empty(length: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        size = length * dtype.itemsize
        pin = pinned(context, size, torch.uint8)
        memory: NDArray[Any] = torch.empty(size, dtype=torch.uint8, pin_memory=pin).numpy()
        return memory.view(dtype)

    return empty


def to_device(context: Context, *tensors: torch.Tensor) -> list[torch.Tensor]:
    """The tensors on this replica's device; timed as `transfer_in`, and no copy on a CPU."""
    with phase(context, "transfer_in"):
        return [tensor.to(context.device, non_blocking=True) for tensor in tensors]


def to_host(context: Context, *tensors: torch.Tensor) -> list[torch.Tensor]:
    """The tensors in the host's memory; timed as `transfer_out`, and no copy on a CPU."""
    with phase(context, "transfer_out"):
        return [_to_host(context, tensor) for tensor in tensors]


def _to_host(context: Context, tensor: torch.Tensor) -> torch.Tensor:
    if tensor.device.type == "cpu":
        return tensor
    pin = pinned(context, tensor.numel(), tensor.dtype)
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=pin)
    return host.copy_(tensor, non_blocking=True)
