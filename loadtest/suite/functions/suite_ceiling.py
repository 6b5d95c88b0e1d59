"""The most that a device does of one kind of work, by a large plain torch call."""

import statistics
import time
from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import BaseModel, Field

from runtime import Context, InvalidInput, function

DISCARDED, REPEATED = 3, 10
SMALLEST, LARGEST = 1024, 16384  # rows and columns
FORMATS = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
COPIED = {"cpu": 2**30, "cuda": 2**32}  # bytes; far more than any cache holds
TRANSFERRED = 2**30  # bytes


class Measured(BaseModel):
    """How often the work was done, and how fast each time."""

    rates: Annotated[list[float], Field(description="FLOP/s or bytes/s of each repetition")]
    detail: str


@function(name="suite_ceiling", devices=("cpu", "gpu"), timeout=600)
def suite_ceiling(
    context: Context,
    name: Annotated[str, Field(description="matmul FORMAT, copy, transfer_in or transfer_out")],
    seconds: Annotated[float, Field(gt=0, description="that larger and larger ones may take")],
    room: Annotated[int, Field(ge=2**20, description="bytes of memory that may be taken")],
) -> Measured:
    """Do one kind of work, ten times after three that are discarded, and tell the rates.

    Products grow from 1024 × 1024 until the next would take too long; the fastest size counts.
    """
    kind, _, format = name.partition(" ")
    if kind == "matmul" and format in FORMATS:
        return largest_product(context.device, format, seconds, room)
    if name == "copy":
        return copy(context.device, room)
    if kind in ("transfer_in", "transfer_out") and context.device.type == "cuda":
        return transfer(context.device, room, inwards=kind == "transfer_in")
    raise InvalidInput("name", f"is {name!r}: there is no such ceiling on {context.device.type}")


def largest_product(device: torch.device, format: str, seconds: float, room: int) -> Measured:
    """The size of product that a device multiplies fastest, as far as the time allows."""
    torch.set_float32_matmul_precision("high" if format == "tf32" else "highest")
    began, n = time.perf_counter(), SMALLEST
    found = [(n, product(device, FORMATS[format], n))]
    while n < LARGEST and 4 * (2 * n) ** 2 * FORMATS[format].itemsize <= room:
        each = 2 * n**3 / statistics.median(found[-1][1])
        left = seconds - (time.perf_counter() - began)
        if 8 * each * (DISCARDED + REPEATED) > left:
            break
        n *= 2
        found.append((n, product(device, FORMATS[format], n)))
    n, rates = max(found, key=lambda one: statistics.median(one[1]))
    return Measured(rates=rates, detail=f"{n} × {n} product, {REPETITIONS}")


REPETITIONS = f"{REPEATED} repetitions after {DISCARDED} discarded"


def product(device: torch.device, dtype: torch.dtype, n: int) -> list[float]:
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    out = torch.zeros_like(a)
    return rates(device, 2 * n**3, lambda: torch.matmul(a, b, out=out))


def copy(device: torch.device, room: int) -> Measured:
    """Bytes read and written within the device's memory."""
    size = min(COPIED[device.type], room // 4)
    # Filled, since memory that nobody wrote to yet is one page of zeros, read from the cache.
    source, target = (torch.full((size,), 1, dtype=torch.uint8, device=device) for _ in range(2))
    told = f"{size / 1e9:.2g} GB copied, bytes read and written, {REPETITIONS}"
    if device.type == "cpu":
        told += "; that a CPU may read what it is about to overwrite is not counted"
    return Measured(rates=rates(device, 2 * size, lambda: target.copy_(source)), detail=told)


def transfer(device: torch.device, room: int, *, inwards: bool) -> Measured:
    """Bytes copied between pinned memory of the host and the device."""
    size = min(TRANSFERRED, room // 4)
    host = torch.full((size,), 1, dtype=torch.uint8).pin_memory()
    there = torch.full((size,), 1, dtype=torch.uint8, device=device)
    target, source = (there, host) if inwards else (host, there)
    work = rates(device, size, lambda: target.copy_(source, non_blocking=True))
    return Measured(rates=work, detail=f"{size / 1e9:.2g} GB, pinned, {REPETITIONS}")


def rates(device: torch.device, amount: float, work: Callable[[], object]) -> list[float]:
    """The amount over the seconds of each repetition, the device's last kernel included."""
    found = []
    for number in range(DISCARDED + REPEATED):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        took = time.perf_counter() - began
        if number >= DISCARDED:
            found.append(amount / took)
    return found
