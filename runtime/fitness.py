"""Whether a GPU computes what a CPU does, looked at in its replica before that takes work.

A GPU that has fallen off its bus, or whose memory is broken, takes a job in no time, fails it and
asks for the next: a replica that finds this out before it says ready costs nobody an invocation.
"""

from typing import Any

SIDE = 256  # of the matrices; three of them are 768 KiB
TOLERANCE = 1e-3  # relative; the products are small whole numbers, which TF32 holds exactly
MAX_REASON = 300  # characters


class UnfitGpu(RuntimeError):
    """A GPU that cannot be allocated from, or that computes something else than the CPU."""


def check_gpu(index: str, device: str = "cuda") -> None:
    """Allocate, multiply, compare with the CPU and free; UnfitGpu tells what went wrong.

    Creates the CUDA context, which the first invocation then need not.  `index` is what messages
    call the GPU.
    """
    try:
        wrong = _wrong_elements(device)
    except Exception as error:  # torch and its drivers raise what they like
        reason = f"{error}".strip().partition("\n")[0] or type(error).__name__
        raise UnfitGpu(_failed(index, reason[:MAX_REASON])) from None
    if wrong:
        text = f"{wrong:,} of {SIDE * SIDE:,} elements of a matrix product differ from the CPU's"
        raise UnfitGpu(_failed(index, text))


def _failed(index: str, why: str) -> str:
    return f"GPU {index} failed its fitness check: {why}"


def _wrong_elements(device: str) -> int:
    import torch

    steps = torch.arange(SIDE * SIDE, dtype=torch.float32).reshape(SIDE, SIDE)
    first, second = steps % 7 - 3, steps % 5 - 2
    there = torch.matmul(first.to(device), second.to(device))
    if there.is_cuda:
        torch.cuda.synchronize(there.device)
    here: Any = torch.matmul(first, second)
    same = torch.isclose(there.cpu(), here, rtol=TOLERANCE, atol=TOLERANCE)
    if there.is_cuda:
        del there
        torch.cuda.empty_cache()  # the function may want all of the GPU's memory
    return int((~same).sum())
