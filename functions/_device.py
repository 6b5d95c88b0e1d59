"""Honest clocks, explicit precision and fast copies, shared by the functions of this folder.

A file whose name starts with `_` is no function.  Its siblings import it by its plain name, since
a function's own folder is on the import path when Lumbre loads it.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeVar

import torch

from runtime import Context

Result = TypeVar("Result")

PINNED_LIMIT = 2**28  # bytes; torch keeps page-locked memory for the replica's whole life


def kind(context: Context) -> Literal["cpu", "gpu"]:
    """What this invocation really computes on; a simulated GPU is a CPU."""
    return "gpu" if context.device.type == "cuda" else "cpu"


@contextmanager
def phase(context: Context, name: str) -> Iterator[None]:
    """Time a phase of the invocation; its clock stops only when the device has finished."""
    with context.timer(name):
        yield
        if kind(context) == "gpu":
            torch.cuda.synchronize(context.device)


def measure(context: Context, work: Callable[[], Result], repeat: int) -> tuple[Result, float]:
    """Do `work` `repeat` times: its last result, and the median seconds it took.

    The first run of several, and any first run on a GPU, pays for loading kernels and for touching
    fresh memory.  So one more run goes first then, in the phase `warm_up`, and is not measured.
    """
    if repeat > 1 or kind(context) == "gpu":
        with phase(context, "warm_up"):
            work()
    seconds = []
    for _ in range(repeat):
        began = time.perf_counter()
        with phase(context, "compute"):
            result = work()
        seconds.append(time.perf_counter() - began)
    return result, statistics.median(seconds)


@contextmanager
def precision(*, tf32: bool = False) -> Iterator[None]:
    """Hold float32 products and convolutions to float32, or let them use TF32; then put it back.

    TF32 keeps 10 of float32's 23 mantissa bits in the factors and runs on a GPU's tensor cores;
    cuDNN would use it for float32 convolutions unasked.  cuDNN is held to deterministic algorithms
    as well, so that the same seed gives the same result.  A CPU computes float32 either way.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        with torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=tf32
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def pinned(context: Context, elements: int, dtype: torch.dtype) -> bool:
    """Whether a tensor that will be copied to or from the device pays to lie in pinned memory.

    A GPU copies page-locked memory directly and without blocking.  Locking takes time itself, but
    torch keeps and reuses what it locked, so a warm replica pays for it once.
    """
    return kind(context) == "gpu" and elements * dtype.itemsize <= PINNED_LIMIT


def to_device(context: Context, *tensors: torch.Tensor) -> list[torch.Tensor]:
    """The tensors on this replica's device; timed as `transfer_in`, and no copy on a CPU."""
    with phase(context, "transfer_in"):
        return [tensor.to(context.device, non_blocking=True) for tensor in tensors]


def to_host(context: Context, tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in the host's memory; timed as `transfer_out`, and no copy on a CPU."""
    with phase(context, "transfer_out"):
        if tensor.device.type == "cpu":
            return tensor
        host = torch.empty(
            tensor.shape,
            dtype=tensor.dtype,
            pin_memory=pinned(context, tensor.numel(), tensor.dtype),
        )
        return host.copy_(tensor, non_blocking=True)
