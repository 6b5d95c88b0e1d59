"""Image filters: how fast a device convolves, and your own pictures blurred, sharpened, embossed.

A filter lays a small grid of weights, its kernel, over every pixel and adds up what lies below.
The kernel is used as written, not flipped; past its edges the picture is mirrored.
"""

from dataclasses import replace
from typing import Annotated, Literal

import torch
from _device import kind, landing, measure, phase, pinned, precision, to_device, to_host
from _picture import MAX_PIXELS, decode, encode
from pydantic import BaseModel, Field
from torch.nn import functional

from runtime import Blob, Context, InvalidInput, MediaType, Scaling, function

MAX_SIDE = 31  # of a kernel
CORNER = 64  # pixels of the first picture's top left, along each side, that are checked

# No TF32 here: a colour has one kernel of its own, which is no product of matrices, and tensor
# cores have nothing to multiply.
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

Row = Annotated[
    list[Annotated[float, Field(allow_inf_nan=False)]], Field(min_length=1, max_length=MAX_SIDE)
]
Kernel = Annotated[list[Row], Field(min_length=1, max_length=MAX_SIDE)]

SHARPEN = [[0.0, -1.0, 0.0], [-1.0, 5.0, -1.0], [0.0, -1.0, 0.0]]
EMBOSS = [[-2.0, -1.0, 0.0], [-1.0, 1.0, 1.0], [0.0, 1.0, 2.0]]
SOBEL = [[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]

# On a CPU, channels last was 20 times faster for three colours (torch 2.13, one thread, 3 × 3
# kernel); the other layout took ten times the picture's memory besides.  On a GPU torch's own
# depthwise kernel takes each colour as a plane by itself, and mirroring makes planes of any layout;
# channels last would go to cuDNN instead (aten/src/ATen/native/Convolution.cpp).  Not measured yet.
LAYOUT = {"cpu": torch.channels_last, "gpu": torch.contiguous_format}


class Filtered(BaseModel):
    """What filtering a batch of random pictures took."""

    n: int
    batch: int
    filter: str
    dtype: str
    device: Literal["cpu", "gpu"]
    repeat: int
    seconds: Annotated[float, Field(description="median of one batch, transfers left out")]
    megapixels_per_second: Annotated[float, Field(description="10⁶ pixels of three colours each")]
    checksum: Annotated[float, Field(description="sum of the result, equal up to rounding")]
    max_error: Annotated[
        float, Field(description="against float64, in a corner of the first picture")
    ]


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
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"],
        Field(description="number format of the random pictures and of what is made of them"),
    ] = "float32",
    repeat: Annotated[int, Field(ge=1, le=1000, description="batches to time")] = 1,
    seed: Annotated[int, Field(ge=0, lt=2**32, description="of the random pictures")] = 0,
) -> Filtered | Blob:
    """Filter an uploaded PNG or JPEG, or filter random RGB pictures and tell the speed.

    An uploaded picture comes back as a PNG, upright, with 8 bits a colour and its transparency as
    it was; it is filtered in float32.  A picture, or all random pictures together, may have 2²⁶
    pixels (67 million).

    The random pictures depend only on `n`, `batch`, `dtype` and `seed`, so that CPU and GPU filter
    the same ones.  With `repeat` above 1, and always on a GPU, a batch that is not measured goes
    first.  bfloat16 and float16 move half the bytes, add up in float32, and round the pictures,
    the kernel and each pass to 8 and 11 bits: see `max_error`.
    """
    name = filter if kernel is None else "kernel"
    kernels = kernels_of(filter, sigma) if kernel is None else [own_kernel(kernel)]
    if image is not None:
        return filter_upload(context, image, name, kernels)
    check_reach("n", kernels, n, n)
    check_range(kernels, DTYPES[dtype])
    pictures = random_pictures(context, n, batch, DTYPES[dtype], seed)
    x, *weights = to_device(
        context, pictures, *(for_colours(kernel, 3).to(pictures.dtype) for kernel in kernels)
    )
    x = x.contiguous(memory_format=LAYOUT[kind(context)])
    with precision():
        result, seconds = measure(context, lambda: apply(name, weights, x), repeat)
    (result,) = to_host(context, result)
    return Filtered(
        n=n,
        batch=batch,
        filter=name,
        dtype=dtype,
        device=kind(context),
        repeat=repeat,
        seconds=seconds,
        megapixels_per_second=batch * n * n / seconds / 1e6,
        checksum=result.sum(dtype=torch.float64).item(),
        max_error=max_error(name, kernels, pictures, result),
    )


def apply(name: str, weights: list[torch.Tensor], pictures: torch.Tensor) -> torch.Tensor:
    """The filtered pictures: one kernel after the other, or for sobel the gradient's length."""
    if name == "sobel":
        across, down = (convolve(pictures, kernel) for kernel in weights)
        return torch.hypot(across, down)
    for kernel in weights:
        pictures = convolve(pictures, kernel)
    return pictures


def convolve(pictures: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Every colour of every picture (batch, colours, height, width) under its own kernel.

    On a CPU, bfloat16 and float16 are convolved in float32 and rounded once, at the end: that is
    what torch's kernel on a GPU does, and not every CPU knows these formats.
    """
    if pictures.device.type == "cpu" and pictures.dtype.itemsize == 2:
        return convolve(pictures.float(), kernel.float()).to(pictures.dtype)
    colours, _, height, width = kernel.shape
    padding = (width // 2, width // 2, height // 2, height // 2)
    padded = functional.pad(pictures, padding, mode="reflect")
    return functional.conv2d(padded, kernel, groups=colours)


def for_colours(kernel: torch.Tensor, colours: int) -> torch.Tensor:
    """The same kernel for each colour, as conv2d wants it: (colours, 1, height, width)."""
    return kernel.expand(colours, 1, *kernel.shape).contiguous()


def max_error(
    name: str, kernels: list[torch.Tensor], pictures: torch.Tensor, result: torch.Tensor
) -> float:
    """The largest |result − exact| in a corner of the first picture, exact being in float64.

    So much more than the corner is filtered that its own edges, where it ends inside the picture,
    are mirrored out of reach.
    """
    side = min(pictures.shape[-1], CORNER + reach(kernels))
    seen = side if side == pictures.shape[-1] else CORNER
    weights = [for_colours(kernel.double(), 3) for kernel in kernels]
    exact = apply(name, weights, pictures[:1, :, :side, :side].double())
    wrong = result[:1, :, :seen, :seen].double() - exact[:, :, :seen, :seen]
    return wrong.abs().max().item()


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


def reach(kernels: list[torch.Tensor]) -> int:
    """How many pixels around a pixel a filter looks at, at most."""
    return max(max(kernel.shape) // 2 for kernel in kernels)


def check_range(kernels: list[torch.Tensor], dtype: torch.dtype) -> None:
    """Raise InvalidInput where pictures between 0 and 1 would leave the range of the format."""
    most = max(kernel.double().abs().sum().item() for kernel in kernels)
    limit = torch.finfo(dtype).max
    if dtype == torch.float16 and most > limit:
        raise InvalidInput(
            "dtype",
            f"float16 ends at {limit:.0f}, and the weights add up to {most:.0f}: take bfloat16",
        )


def check_reach(field: str, kernels: list[torch.Tensor], height: int, width: int) -> None:
    """Raise InvalidInput where a kernel reaches past the mirror image of so small a picture."""
    around = reach(kernels)
    if around >= min(height, width):
        raise InvalidInput(
            field,
            f"makes a picture of {height} × {width}, but this filter looks {around} pixels around:"
            f" take sides of at least {around + 1}, or a smaller sigma or kernel",
        )


def random_pictures(
    context: Context, n: int, batch: int, dtype: torch.dtype, seed: int
) -> torch.Tensor:
    """Uniform noise in [0, 1), of shape (batch, 3, n, n), its colours side by side in memory."""
    if batch * n * n > MAX_PIXELS:
        raise InvalidInput(
            "batch", f"× n² is {batch * n * n} pixels, and {MAX_PIXELS} is the most: lower either"
        )
    generator = torch.Generator().manual_seed(seed)
    pin = pinned(context, batch * n * n * 3, dtype)
    with context.timer("generate"):
        noise = torch.rand(batch, n, n, 3, generator=generator, dtype=dtype, pin_memory=pin)
    return noise.permute(0, 3, 1, 2)


def filter_upload(context: Context, image: bytes, name: str, kernels: list[torch.Tensor]) -> Blob:
    """The uploaded picture, filtered, as a PNG."""
    with context.timer("decode"):
        picture = decode(image, landing(context))
    height, width, colours = picture.colours.shape
    check_reach("image", kernels, height, width)
    x, *weights = to_device(
        context,
        torch.from_numpy(picture.colours),
        *(for_colours(kernel, colours) for kernel in kernels),
    )
    with precision(), phase(context, "compute"):
        x = x.permute(2, 0, 1)[None].float()
        y = apply(name, weights, x.contiguous(memory_format=LAYOUT[kind(context)]))
        y = y[0].permute(1, 2, 0).round().clamp(0, 255).byte().contiguous()
    (filtered,) = to_host(context, y)
    with context.timer("encode"):
        return encode(replace(picture, colours=filtered.numpy()))
