"""Vector addition: how fast a device reads and writes its memory, and what the copies cost.

Adding is one operation for three numbers moved, so no device is limited by its arithmetic here.
What a GPU gains by its faster memory, the copies to it and back may cost again: compare `seconds`
with the phases `transfer_in` and `transfer_out` in the invocation's timings.
"""

from typing import Annotated, Literal

import numpy as np
import torch
from _device import kind, landing, measure, phase, pinned, to_device, to_host
from _npy import NPY, npy_blob, read_npy
from pydantic import BaseModel, Field

from runtime import Blob, Context, InvalidInput, MediaType, Scaling, function

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
SAMPLE = 100_000  # elements that are checked


class Sum(BaseModel):
    """What adding two random vectors took, and how exact it was."""

    n: int
    dtype: str
    device: Literal["cpu", "gpu"]
    repeat: int
    seconds: Annotated[float, Field(description="median of one addition, transfers left out")]
    gb_per_second: Annotated[
        float, Field(description="10⁹ bytes read and written a second: 3 numbers an element")
    ]
    checksum: Annotated[float, Field(description="sum of the result; about n")]
    max_error: Annotated[float, Field(description="against float64, on a sample of elements")]


@function(
    devices=("cpu", "gpu"),
    timeout=120,
    cost="repeat * n",
    scaling={"cpu": Scaling(target=4), "gpu": Scaling(target=8, cooldown=120)},
)
def vector_add(
    context: Context,
    n: Annotated[int, Field(ge=1, le=200_000_000, description="elements")] = 10_000_000,
    dtype: Annotated[
        Literal["float32", "float64", "bfloat16", "float16"], Field(description="number format")
    ] = "float32",
    seed: Annotated[int, Field(ge=0, lt=2**32, description="of the random vectors")] = 0,
    repeat: Annotated[int, Field(ge=1, le=1000, description="additions to time")] = 1,
    a: Annotated[bytes | None, MediaType(NPY), Field(description="an array as .npy file")] = None,
    b: Annotated[bytes | None, MediaType(NPY), Field(description="another of its shape")] = None,
) -> Sum | Blob:
    """Add two random vectors and tell the memory bandwidth, or add two uploaded arrays.

    The random numbers lie in [0, 1) and depend only on `n`, `dtype` and `seed`.  With `repeat`
    above 1, and always on a GPU, an addition that is not measured goes first.  At most
    200 million elements (4.8 GB in float64).  Vectors that fit into a device's cache tell the
    cache's bandwidth: an H200's holds 60 MB, and 5 million elements in float32 fill it.

    Uploaded arrays must have one shape; a + b comes back as a `.npy` file, in the wider of their
    formats (integers count as float64).
    """
    if a is not None or b is not None:
        return npy_blob(sum_of_uploads(context, a, b))
    left, right = random_vectors(context, n, DTYPES[dtype], seed)
    x, y = to_device(context, left, right)
    out = torch.zeros_like(x)  # written once already: fresh memory would be timed with the sum
    _, seconds = measure(context, lambda: torch.add(x, y, out=out), repeat)
    (result,) = to_host(context, out)
    return Sum(
        n=n,
        dtype=dtype,
        device=kind(context),
        repeat=repeat,
        seconds=seconds,
        gb_per_second=3 * n * result.itemsize / seconds / 1e9,
        checksum=result.sum(dtype=torch.float64).item(),
        max_error=max_error(left, right, result),
    )


def random_vectors(
    context: Context, n: int, dtype: torch.dtype, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Two vectors of n uniform numbers in [0, 1), in the host's memory."""
    generator = torch.Generator().manual_seed(seed)
    pin = pinned(context, n, dtype)
    with context.timer("generate"):
        left = torch.rand(n, generator=generator, dtype=dtype, pin_memory=pin)
        right = torch.rand(n, generator=generator, dtype=dtype, pin_memory=pin)
    return left, right


def max_error(a: torch.Tensor, b: torch.Tensor, result: torch.Tensor) -> float:
    """The largest |result − (a + b)| over evenly spaced elements, with a + b in float64."""
    step = -(-len(result) // SAMPLE)
    x, y, got = (v[::step].double().numpy() for v in (a, b, result))
    return float(np.abs(got - (x + y)).max())


def sum_of_uploads(context: Context, a: bytes | None, b: bytes | None) -> np.ndarray:
    """a + b of two `.npy` files of one shape."""
    if a is None or b is None:
        raise InvalidInput("b" if b is None else "a", "is missing: send both a and b, or neither")
    left, right = (
        torch.from_numpy(read_npy(field, data, empty=landing(context)))
        for field, data in (("a", a), ("b", b))
    )
    if left.shape != right.shape:
        raise InvalidInput(
            "b", f"has shape {tuple(right.shape)}, but a has {tuple(left.shape)}: make them equal"
        )
    x, y = to_device(context, left, right)
    with phase(context, "compute"):
        total = x + y
    (result,) = to_host(context, total)
    return result.numpy()
