"""Image filters: how fast a device convolves, and your own pictures blurred, sharpened, embossed.

A filter lays a small grid of weights, its kernel, over every pixel and adds up what lies below.
The kernel is used as written, not flipped; past its edges the picture is mirrored.
"""

from dataclasses import replace
from typing import Annotated, Literal

import torch
from _device import kind, measure, phase, pinned, precision, to_device, to_host
from _picture import MAX_PIXELS, decode, encode
from pydantic import BaseModel, Field
from torch.nn import functional

from runtime import Blob, Context, InvalidInput, MediaType, Scaling, function

MAX_SIDE = 31  # of a kernel

Row = Annotated[
    list[Annotated[float, Field(allow_inf_nan=False)]], Field(min_length=1, max_length=MAX_SIDE)
]
Kernel = Annotated[list[Row], Field(min_length=1, max_length=MAX_SIDE)]

SHARPEN = [[0.0, -1.0, 0.0], [-1.0, 5.0, -1.0], [0.0, -1.0, 0.0]]
EMBOSS = [[-2.0, -1.0, 0.0], [-1.0, 1.0, 1.0], [0.0, 1.0, 2.0]]
SOBEL = [[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]

# On a CPU, channels last was 20 times faster for three colours (torch 2.13, one thread, 3 × 3
# kernel); the other layout took ten times the picture's memory besides.  A GPU keeps torch's
# default, which is what its depthwise kernels are written for; not measured yet.
LAYOUT = {"cpu": torch.channels_last, "gpu": torch.contiguous_format}


class Filtered(BaseModel):
    """What filtering a batch of random pictures took."""

    n: int
    batch: int
    filter: str
    dtype: Literal["float32"] = "float32"
    device: Literal["cpu", "gpu"]
    repeat: int
    seconds: Annotated[float, Field(description="median of one batch, transfers left out")]
    megapixels_per_second: Annotated[float, Field(description="10⁶ pixels of three colours each")]
    checksum: Annotated[float, Field(description="sum of the result, equal up to rounding")]


@function(
    devices=("cpu", "gpu"),
    timeout=120,
    cost="repeat * batch * n ** 2",
    # A GPU replica is dear to start and quick to finish: let more wait for it, and keep it longer.
    scaling={"cpu": Scaling(target=2), "gpu": Scaling(target=8, cooldown=120)},
)
def image_filter(
    context: Context,
    filter: Annotated[
        Literal["gaussian_blur", "sharpen", "sobel", "emboss"],
        Field(description="what to do to the picture; sobel shows the strength of edges"),
    ] = "gaussian_blur",
    sigma: Annotated[
        float, Field(ge=0.1, le=10, description="standard deviation of the blur, in pixels")
    ] = 2.0,
    kernel: Annotated[
        Kernel | None, Field(description="your own weights instead, in rows; odd sides up to 31")
    ] = None,
    image: Annotated[
        bytes | None, MediaType("image/png"), Field(description="a PNG or JPEG file")
    ] = None,
    n: Annotated[int, Field(ge=1, le=8192, description="side of a random picture")] = 512,
    batch: Annotated[int, Field(ge=1, le=1024, description="random pictures at once")] = 4,
    repeat: Annotated[int, Field(ge=1, le=1000, description="batches to time")] = 1,
    seed: Annotated[int, Field(ge=0, lt=2**32, description="of the random pictures")] = 0,
) -> Filtered | Blob:
    """Filter an uploaded PNG or JPEG, or filter random RGB pictures and tell the speed.

    An uploaded picture comes back as a PNG, upright, with 8 bits a colour and its transparency as
    it was.  A picture, or all random pictures together, may have 2²⁶ pixels (67 million).

    The random pictures depend only on `n`, `batch` and `seed`, so that CPU and GPU filter the
    same ones.  With `repeat` above 1, and always on a GPU, a batch that is not measured goes first.
    """
    name = filter if kernel is None else "kernel"
    kernels = kernels_of(filter, sigma) if kernel is None else [own_kernel(kernel)]
    if image is not None:
        return filter_upload(context, image, name, kernels)
    check_reach("n", kernels, n, n)
    pictures = random_pictures(context, n, batch, seed)
    x, *kernels = to_device(context, pictures, *kernels)
    x = x.contiguous(memory_format=LAYOUT[kind(context)])
    with precision():
        result, seconds = measure(context, lambda: apply(name, kernels, x), repeat)
    return Filtered(
        n=n,
        batch=batch,
        filter=name,
        device=kind(context),
        repeat=repeat,
        seconds=seconds,
        megapixels_per_second=batch * n * n / seconds / 1e6,
        checksum=to_host(context, result).sum(dtype=torch.float64).item(),
    )


def apply(name: str, kernels: list[torch.Tensor], pictures: torch.Tensor) -> torch.Tensor:
    """The filtered pictures: one kernel after the other, or for sobel the gradient's length."""
    if name == "sobel":
        across, down = (convolve(pictures, kernel) for kernel in kernels)
        return torch.hypot(across, down)
    for kernel in kernels:
        pictures = convolve(pictures, kernel)
    return pictures


def convolve(pictures: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Every colour of every picture (batch, colours, height, width) under the same kernel."""
    height, width = kernel.shape
    colours = pictures.shape[1]
    padding = (width // 2, width // 2, height // 2, height // 2)
    padded = functional.pad(pictures, padding, mode="reflect")
    return functional.conv2d(padded, kernel.expand(colours, 1, height, width), groups=colours)


def kernels_of(filter: str, sigma: float) -> list[torch.Tensor]:
    """The kernels of a filter; a blur is two, since rows and columns can be blurred in turn."""
    if filter == "gaussian_blur":
        bell = gaussian(sigma)
        return [bell[None, :], bell[:, None]]
    if filter == "sobel":
        return [torch.tensor(SOBEL), torch.tensor(SOBEL).T]
    return [torch.tensor(SHARPEN if filter == "sharpen" else EMBOSS)]


def gaussian(sigma: float) -> torch.Tensor:
    """Weights of the normal distribution out to 4 standard deviations; their sum is 1."""
    radius = int(4 * sigma + 0.5)
    x = torch.arange(-radius, radius + 1, dtype=torch.float64)
    bell = torch.exp(-0.5 * (x / sigma) ** 2)
    return (bell / bell.sum()).float()


def own_kernel(rows: list[list[float]]) -> torch.Tensor:
    """The caller's kernel; InvalidInput unless its rows are equally long and its sides odd."""
    height, width = len(rows), len(rows[0])
    for number, row in enumerate(rows):
        if len(row) != width:
            raise InvalidInput(
                f"/kernel/{number}",
                f"has {len(row)} numbers, but the first row has {width}: make them equal",
            )
    if height % 2 == 0 or width % 2 == 0 or max(height, width) > MAX_SIDE:
        raise InvalidInput(
            "kernel",
            f"is {height} × {width}: give it odd sides of at most {MAX_SIDE}, so that it has a"
            " middle; a row or column of zeros may be added",
        )
    return torch.tensor(rows, dtype=torch.float32)


def check_reach(field: str, kernels: list[torch.Tensor], height: int, width: int) -> None:
    """Raise InvalidInput where a kernel reaches past the mirror image of so small a picture."""
    reach = max(max(kernel.shape) // 2 for kernel in kernels)
    if reach >= min(height, width):
        raise InvalidInput(
            field,
            f"makes a picture of {height} × {width}, but this filter looks {reach} pixels around:"
            f" take sides of at least {reach + 1}, or a smaller sigma or kernel",
        )


def random_pictures(context: Context, n: int, batch: int, seed: int) -> torch.Tensor:
    """Uniform noise in [0, 1), of shape (batch, 3, n, n), its colours side by side in memory."""
    if batch * n * n > MAX_PIXELS:
        raise InvalidInput(
            "batch", f"× n² is {batch * n * n} pixels, and {MAX_PIXELS} is the most: lower either"
        )
    generator = torch.Generator().manual_seed(seed)
    pin = pinned(context, batch * n * n * 3, torch.float32)
    with context.timer("generate"):
        noise = torch.rand(batch, n, n, 3, generator=generator, pin_memory=pin)
    return noise.permute(0, 3, 1, 2)


def filter_upload(context: Context, image: bytes, name: str, kernels: list[torch.Tensor]) -> Blob:
    """The uploaded picture, filtered, as a PNG."""
    with context.timer("decode"):
        picture = decode(image)
    check_reach("image", kernels, *picture.colours.shape[:2])
    x, *kernels = to_device(context, torch.from_numpy(picture.colours), *kernels)
    with precision(), phase(context, "compute"):
        x = x.permute(2, 0, 1)[None].float()
        y = apply(name, kernels, x.contiguous(memory_format=LAYOUT[kind(context)]))
        y = y[0].permute(1, 2, 0).round().clamp(0, 255).byte()
    colours = to_host(context, y).numpy()
    with context.timer("encode"):
        return encode(replace(picture, colours=colours))
