"""Matrix products: how fast a device multiplies, and the product of your own matrices."""

from typing import Annotated, Literal

import numpy as np
import torch
from _device import kind, landing, measure, phase, pinned, precision, to_device, to_host
from _npy import NPY, npy_blob, read_npy
from pydantic import BaseModel, Field

from runtime import Blob, Context, InvalidInput, MediaType, Scaling, function

DTYPES = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
RESULT_LIMIT = 64 * 2**20  # bytes; what Lumbre sends back at most
SAMPLE = 32  # rows and columns whose products are checked


class Product(BaseModel):
    """What multiplying two random n × n matrices took, and how exact it was."""

    n: int
    dtype: str
    device: Literal["cpu", "gpu"]
    repeat: int
    seconds: Annotated[float, Field(description="median of one product, transfers left out")]
    gflops: Annotated[float, Field(description="10⁹ operations a second, at 2n³ a product")]
    checksum: Annotated[float, Field(description="sum of the product, equal up to rounding")]
    relative_error: Annotated[float, Field(description="against float64, on a sample of entries")]


@function(
    devices=("cpu", "gpu"),
    timeout=300,
    cost="repeat * n ** 3",
    # A GPU replica is dear to start and quick to finish: let more wait for it, and keep it longer.
    scaling={"cpu": Scaling(target=2), "gpu": Scaling(target=8, cooldown=120)},
)
def matmul(
    context: Context,
    n: Annotated[int, Field(ge=1, le=16384, description="rows and columns")] = 1024,
    dtype: Annotated[
        Literal["float32", "tf32", "bfloat16", "float16"],
        Field(description="number format; tf32 is float32 on a GPU's tensor cores"),
    ] = "float32",
    seed: Annotated[int, Field(ge=0, lt=2**32, description="of the random matrices")] = 0,
    repeat: Annotated[int, Field(ge=1, le=1000, description="products to time")] = 1,
    a: Annotated[
        bytes | None, MediaType(NPY), Field(description="left factor, as a .npy file")
    ] = None,
    b: Annotated[
        bytes | None, MediaType(NPY), Field(description="right factor; left out, a times a")
    ] = None,
) -> Product | Blob:
    """Multiply two random n × n matrices and tell the speed, or multiply two uploaded ones.

    The random matrices depend only on `n`, `dtype` and `seed`, so that CPU and GPU multiply the
    same numbers.  With `repeat` above 1, and always on a GPU, a product that is not measured goes
    first.  A matrix of 16384 × 16384 is the largest (1 GiB in float32, and three or four of them).

    Uploaded matrices are multiplied in their own format (the wider, where they differ; integers
    count as float64), and a @ b comes back as a `.npy` file of at most 64 MiB.
    """
    if a is not None or b is not None:
        return npy_blob(product_of_uploads(context, a, b))
    left, right = random_matrices(context, n, DTYPES[dtype], seed)
    with precision(tf32=dtype == "tf32"):
        x, y = to_device(context, left, right)
        out = torch.zeros_like(x)  # written once already: no memory is asked for while it is timed
        product, seconds = measure(context, lambda: multiply(x, y, out), repeat)
    (result,) = to_host(context, product)
    return Product(
        n=n,
        dtype=dtype,
        device=kind(context),
        repeat=repeat,
        seconds=seconds,
        gflops=2 * n**3 / seconds / 1e9,
        checksum=result.sum(dtype=torch.float64).item(),
        relative_error=relative_error(left, right, result),
    )


def multiply(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
    """a @ b, in `out` where it is given.

    On a CPU, float16 is multiplied in float32 and rounded once, at the end.

    That is how tensor cores add up, too, and torch's own float16 product on a CPU was 60 times
    slower (torch 2.13, n = 1024, AVX-512 without FP16).
    """
    if a.dtype == torch.float16 and a.device.type == "cpu":
        product = a.float() @ b.float()
        return product.half() if out is None else out.copy_(product)
    return torch.matmul(a, b, out=out)


def random_matrices(
    context: Context, n: int, dtype: torch.dtype, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Two n × n matrices of standard normal numbers, in the host's memory."""
    generator = torch.Generator().manual_seed(seed)
    pin = pinned(context, n * n, dtype)
    with context.timer("generate"):
        left = torch.randn(n, n, generator=generator, dtype=dtype, pin_memory=pin)
        right = torch.randn(n, n, generator=generator, dtype=dtype, pin_memory=pin)
    return left, right


def relative_error(a: torch.Tensor, b: torch.Tensor, product: torch.Tensor) -> float:
    """‖product − a·b‖ / ‖a·b‖ (Frobenius) over a grid of entries, with a·b by NumPy in float64."""
    n = len(product)
    grid = torch.linspace(0, n - 1, min(n, SAMPLE)).long()
    exact = a[grid].double().numpy() @ b[:, grid].double().numpy()
    got = product[grid][:, grid].double().numpy()
    return float(np.linalg.norm(got - exact) / np.linalg.norm(exact))


def product_of_uploads(context: Context, a: bytes | None, b: bytes | None) -> np.ndarray:
    """a @ b of two `.npy` files, or a @ a where there is no b."""
    if a is None:
        raise InvalidInput("a", "is missing: send a and b, or a alone to get a @ a")
    left = matrix(context, "a", a)
    right = left if b is None else matrix(context, "b", b)
    check_shapes(left, right, alone=b is None)
    dtype = torch.promote_types(left.dtype, right.dtype)
    with precision():
        x, *rest = to_device(context, left, *([] if b is None else [right]))
        with phase(context, "compute"):
            product = multiply(x.to(dtype), (rest[0] if rest else x).to(dtype))
    (result,) = to_host(context, product)
    return result.numpy()


def matrix(context: Context, field: str, data: bytes) -> torch.Tensor:
    """The matrix in a `.npy` file; InvalidInput where it holds something else."""
    array = read_npy(field, data, empty=landing(context))
    if array.ndim != 2:
        raise InvalidInput(field, f"has shape {array.shape}: send a matrix, with 2 dimensions")
    return torch.from_numpy(array)


def check_shapes(left: torch.Tensor, right: torch.Tensor, *, alone: bool) -> None:
    """Raise InvalidInput unless left @ right exists and is small enough to be sent back."""
    (rows, inner), (height, columns) = left.shape, right.shape
    if inner != height:
        if alone:
            raise InvalidInput("b", f"is missing, and a is {rows} × {inner}: square it, or send b")
        raise InvalidInput("b", f"has {height} rows, but a has {inner} columns: make them equal")
    size = rows * columns * max(left.itemsize, right.itemsize)
    if size > RESULT_LIMIT:
        raise InvalidInput(
            "a",
            f"makes a product of {rows} × {columns}, {size / 2**20:.0f} MiB; at most"
            f" {RESULT_LIMIT // 2**20} MiB can be sent back: multiply fewer rows at a time",
        )
