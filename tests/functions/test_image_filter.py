"""The shipped function image_filter, against SciPy's filters and against closed forms."""

import io
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms
from scipy import ndimage  # type: ignore[import-untyped]

from runtime import Blob, Context, InvalidInput
from runtime.function import Arguments, FunctionSpec

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="session")
def image_filter(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("image_filter")


def packed(pixels: Any, form: str = "PNG", **how: Any) -> bytes:
    """A picture's file, from an array or a Pillow image."""
    file = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(file, form, **how)
    return file.getvalue()


def unpacked(result: Blob) -> Pixels:
    assert result.media_type == "image/png"
    with Image.open(io.BytesIO(result.data), formats=("PNG",)) as image:
        return np.asarray(image)


@pytest.fixture(scope="session")
def photo() -> Pixels:
    """45 × 70 pixels of coloured noise."""
    return np.random.default_rng(1).integers(0, 256, (45, 70, 3), dtype=np.uint8)


def reference(photo: Pixels, filter: str, sigma: float) -> NDArray[np.float64]:
    """SciPy's answer in float64, colour by colour; it calls mirror what NumPy calls reflect."""
    colours = [one_colour(photo[..., c].astype(np.float64), filter, sigma) for c in range(3)]
    return np.stack(colours, axis=2)


def one_colour(x: NDArray[np.float64], filter: str, sigma: float) -> Any:
    if filter == "gaussian_blur":
        return ndimage.gaussian_filter(x, sigma, mode="mirror", truncate=4.0)
    if filter == "sobel":
        return np.hypot(*(ndimage.sobel(x, axis=axis, mode="mirror") for axis in (0, 1)))
    kernel = {
        "sharpen": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
        "emboss": [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]],
    }[filter]
    return ndimage.correlate(x, np.array(kernel, float), mode="mirror")


def assert_rounded(got: Pixels, expected: NDArray[np.float64]) -> None:
    """Within half a step of 8 bits, and float32's rounding."""
    assert np.abs(got - expected.clip(0, 255)).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("filter", ["gaussian_blur", "sharpen", "sobel", "emboss"])
def test_every_filter_of_an_upload_is_scipys(
    image_filter: ModuleType, either: Context, photo: Pixels, filter: str
) -> None:
    result = image_filter.image_filter(either, filter=filter, sigma=1.7, image=packed(photo))
    assert_rounded(unpacked(result), reference(photo, filter, 1.7))
    assert set(either.phases) == {"decode", "transfer_in", "compute", "transfer_out", "encode"}


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (31, 31), (1, 9)])
def test_an_own_kernel_is_used_as_written_and_not_flipped(
    image_filter: ModuleType, either: Context, photo: Pixels, size: tuple[int, int]
) -> None:
    kernel = np.random.default_rng(2).normal(size=size) / 31
    result = image_filter.image_filter(either, kernel=kernel.tolist(), image=packed(photo))
    expected = ndimage.correlate(photo.astype(float), kernel[..., None], mode="mirror")
    assert_rounded(unpacked(result), expected)


def test_a_kernel_with_one_weight_moves_the_picture(
    image_filter: ModuleType, context: Context, photo: Pixels
) -> None:
    result = image_filter.image_filter(context, kernel=[[0, 0, 1]], image=packed(photo))
    assert (unpacked(result)[:, :-1] == photo[:, 1:]).all()


@pytest.mark.parametrize("filter", ["gaussian_blur", "sharpen", "emboss"])
def test_a_plain_picture_stays_as_it_is(
    image_filter: ModuleType, either: Context, filter: str
) -> None:
    plain = np.full((40, 50, 3), (10, 200, 77), np.uint8)
    result = image_filter.image_filter(either, filter=filter, image=packed(plain))
    assert (unpacked(result) == plain).all()


def test_sobel_of_a_ramp_is_eight_times_its_slope(
    image_filter: ModuleType, context: Context
) -> None:
    ramp = np.tile(np.arange(0, 90, 3, dtype=np.uint8), (20, 1))
    for picture in (ramp, ramp.T):
        result = unpacked(image_filter.image_filter(context, filter="sobel", image=packed(picture)))
        inside = result[1:-1, 1:-1]
        assert inside.shape and (inside == 8 * 3).all()


@settings(max_examples=60, deadline=None)
@given(st.floats(0.1, 10))
def test_a_blurs_weights_always_add_up_to_one_and_fall_outwards(
    image_filter: ModuleType, sigma: float
) -> None:
    bell = image_filter.gaussian(sigma)
    middle = len(bell) // 2
    assert len(bell) % 2 == 1 and middle >= 3.5 * sigma - 0.5
    assert bell.sum().item() == pytest.approx(1, abs=1e-6)
    assert torch.equal(bell, bell.flip(0)) and (bell[middle:].diff() <= 0).all()


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"], ids=lambda mode: str(mode)
)
def test_every_kind_of_picture_is_read(
    image_filter: ModuleType, context: Context, photo: Pixels, mode: str
) -> None:
    if mode == "I;16":
        image = Image.fromarray(photo[..., 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(photo).convert(mode)
    form = "JPEG" if mode == "CMYK" else "PNG"
    result = unpacked(image_filter.image_filter(context, kernel=[[1]], image=packed(image, form)))
    with Image.open(io.BytesIO(packed(image, form))) as sent:
        grey = mode in ("1", "L", "LA", "I;16")
        target = ("L" if grey else "RGB") + ("A" if mode.endswith("A") else "")
        expected = photo[..., 0] if mode == "I;16" else np.asarray(sent.convert(target))
    assert result.shape == expected.shape and (result == expected).all()


def test_transparency_is_kept_while_colours_change(
    image_filter: ModuleType, context: Context, photo: Pixels
) -> None:
    alpha = np.random.default_rng(3).integers(0, 256, photo.shape[:2], dtype=np.uint8)
    sent = packed(np.dstack([photo, alpha]))
    result = unpacked(image_filter.image_filter(context, filter="sharpen", image=sent))
    assert (result[..., 3] == alpha).all()
    assert_rounded(result[..., :3], reference(photo, "sharpen", 0))


def test_a_transparent_colour_of_a_palette_stays_transparent(
    image_filter: ModuleType, context: Context
) -> None:
    image = Image.fromarray(np.tile(np.arange(2, dtype=np.uint8), (4, 2)), "L").convert("P")
    sent = packed(image, transparency=1)
    result = unpacked(image_filter.image_filter(context, kernel=[[1]], image=sent))
    assert (result[..., 3] == np.where(np.arange(4) % 2, 0, 255)).all()


def test_a_photo_comes_back_upright(image_filter: ModuleType, context: Context) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: the camera was turned, rotate by 90° clockwise
    dark_above = np.repeat([[[20] * 3], [[220] * 3]], 16, axis=0).repeat(64, axis=1)
    sent = packed(dark_above.astype(np.uint8), "JPEG", exif=exif, quality=95)
    result = unpacked(image_filter.image_filter(context, kernel=[[1]], image=sent))
    assert result.shape == (64, 32, 3)
    assert result[:, :12].mean() > 200 and result[:, 20:].mean() < 40


def test_a_colour_profile_is_kept(
    image_filter: ModuleType, context: Context, photo: Pixels
) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    result = image_filter.image_filter(context, image=packed(photo, icc_profile=profile))
    with Image.open(io.BytesIO(result.data)) as image:
        assert image.info["icc_profile"] == profile


def test_random_pictures_tell_the_speed(image_filter: ModuleType, either: Context) -> None:
    result = image_filter.image_filter(either, n=40, batch=3, repeat=3)
    assert (result.n, result.batch, result.filter, result.repeat) == (40, 3, "gaussian_blur", 3)
    assert result.device == ("gpu" if either.device.type == "cuda" else "cpu")
    assert result.megapixels_per_second == pytest.approx(3 * 40 * 40 / result.seconds / 1e6)
    assert set(either.phases) == {
        "generate",
        "transfer_in",
        "warm_up",
        "compute",
        "transfer_out",
    }


@pytest.mark.parametrize("filter", ["gaussian_blur", "sharpen", "sobel", "emboss"])
def test_the_checksum_is_that_of_scipys_pictures(
    image_filter: ModuleType, either: Context, filter: str
) -> None:
    result = image_filter.image_filter(either, filter=filter, n=32, batch=2, seed=9)
    noise = torch.rand(2, 32, 32, 3, generator=torch.Generator().manual_seed(9)).numpy()
    expected = sum(reference(picture, filter, 2.0).sum() for picture in noise)
    assert result.checksum == pytest.approx(expected, rel=1e-5)


FILTERS = ["gaussian_blur", "sharpen", "sobel", "emboss"]
# Half a step of the last bit for each time something is rounded: the picture is exact, its kernel
# is rounded, and the result of each pass; a blur has two, and sobel a length on top.
ROUNDED = [("float32", 2**-24 * 30), ("bfloat16", 2**-8 * 5), ("float16", 2**-11 * 5)]


@pytest.mark.parametrize(("dtype", "allowed"), ROUNDED)
@pytest.mark.parametrize("filter", FILTERS)
def test_every_dtype_filters_as_exactly_as_it_can(
    image_filter: ModuleType, either: Context, filter: str, dtype: str, allowed: float
) -> None:
    result = image_filter.image_filter(either, filter=filter, n=80, batch=2, dtype=dtype, repeat=2)
    assert result.dtype == dtype
    most = max(kernel.abs().sum().item() for kernel in image_filter.kernels_of(filter, 2.0))
    assert 0 < result.max_error <= allowed * most


@pytest.mark.parametrize(("dtype", "allowed"), ROUNDED)
@pytest.mark.parametrize("filter", FILTERS)
def test_cpu_and_gpu_make_the_same_pictures(
    image_filter: ModuleType,
    context: Context,
    gpu: Context,
    filter: str,
    dtype: str,
    allowed: float,
) -> None:
    one, other = (
        image_filter.image_filter(device, filter=filter, n=80, batch=2, dtype=dtype, repeat=2)
        for device in (context, gpu)
    )
    assert other.checksum == pytest.approx(one.checksum, rel=allowed)
    assert other.max_error == pytest.approx(one.max_error, rel=1) and other.seconds > 0


@pytest.mark.parametrize("side", [17, 40, 64, 81, 200])
@pytest.mark.parametrize("filter", FILTERS)
def test_a_corner_is_exact_whether_or_not_it_is_the_whole_picture(
    image_filter: ModuleType, filter: str, side: int
) -> None:
    kernels = image_filter.kernels_of(filter, 2.0)
    pictures = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(side))
    weights = [image_filter.for_colours(kernel.double(), 3) for kernel in kernels]
    result = image_filter.apply(filter, weights, pictures.double())
    assert image_filter.max_error(filter, kernels, pictures, result) < 1e-12
    result[0, 2, 0, min(side, 64) - 1] += 0.25
    assert image_filter.max_error(filter, kernels, pictures, result) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("filter", "checksum"), [("gaussian_blur", 27628.529), ("sobel", 69293.332)]
)
def test_the_numbers_of_a_seed_stay_what_they_were(
    image_filter: ModuleType, context: Context, filter: str, checksum: float
) -> None:
    result = image_filter.image_filter(context, filter=filter, n=96, batch=2, seed=4)
    assert result.checksum == pytest.approx(checksum, rel=1e-6)


def test_a_kernel_past_the_end_of_float16_is_refused(
    image_filter: ModuleType, context: Context
) -> None:
    heavy = {"kernel": [[30000.0, -20000.0, 16000.0]], "n": 8, "batch": 1}
    with pytest.raises(
        InvalidInput, match=r"ends at 65504, .* up to 66000: take bfloat16"
    ) as raised:
        image_filter.image_filter(context, dtype="float16", **heavy)
    assert raised.value.errors[0][0] == "/dtype"
    assert image_filter.image_filter(context, dtype="bfloat16", **heavy).dtype == "bfloat16"


def test_an_own_kernel_is_named_as_such(image_filter: ModuleType, context: Context) -> None:
    result = image_filter.image_filter(context, kernel=[[2]], n=8, batch=1, seed=1)
    noise = torch.rand(1, 8, 8, 3, generator=torch.Generator().manual_seed(1))
    assert result.filter == "kernel"
    assert result.checksum == pytest.approx(2 * noise.sum().item(), rel=1e-6)


def test_convolutions_are_held_to_float32(
    image_filter: ModuleType, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    apply = image_filter.apply

    def watched(*given: Any) -> torch.Tensor:
        flags = torch.backends.cudnn
        seen.append((flags.allow_tf32, flags.deterministic, flags.benchmark, flags.enabled))
        result: torch.Tensor = apply(*given)
        return result

    monkeypatch.setattr(image_filter, "apply", watched)
    image_filter.image_filter(context, n=20, batch=1)
    assert seen[0] == (False, True, False, True)


@pytest.mark.parametrize(
    ("given_", "field", "said"),
    [
        ({"kernel": [[1, 2], [3, 4]]}, "/kernel", "is 2 × 2: give it odd sides"),
        ({"kernel": [[1], [2]]}, "/kernel", "is 2 × 1: give it odd sides"),
        ({"kernel": [[1, 2, 3], [1, 2, 3], [1, 2]]}, "/kernel/2", "has 2 numbers, but the first"),
        ({"n": 8192, "batch": 2}, "/batch", "is the most: lower either"),
        ({"n": 8, "sigma": 2.0}, "/n", "looks 8 pixels around: take sides of at least 9"),
        ({"image": b"no picture"}, "/image", "cannot be read .*: send a PNG or JPEG"),
        ({"image": b""}, "/image", "cannot be read"),
        ({"image": packed(np.zeros((5, 5), np.uint8))}, "/image", "5 × 5, but this filter looks"),
        ({"image": packed(np.zeros((5, 5), np.uint8), "GIF")}, "/image", "cannot be read"),
        ({"image": packed(np.eye(200, dtype=np.uint8))[:-40]}, "/image", "cannot be read"),
        (
            {"image": packed(np.zeros((9000, 8000), np.uint8))},
            "/image",
            "is 8000 × 9000: send at most 67108864 pixels",
        ),
        ({"image": packed(Image.new("1", (10000, 9500)))}, "/image", "is too large: send at most"),
        ({"image": packed(Image.new("1", (20000, 9500)))}, "/image", "is too large: send at most"),
    ],
)
def test_what_cannot_be_filtered_is_refused_with_the_way_out(
    image_filter: ModuleType, context: Context, given_: dict[str, Any], field: str, said: str
) -> None:
    with pytest.raises(InvalidInput, match=said) as raised:
        image_filter.image_filter(context, **given_)
    assert raised.value.errors[0][0] == field


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_bytes_at_all_make_a_stack_trace(image_filter: ModuleType, data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(["PNG", "JPEG"]))
    file = bytearray(packed(np.arange(300, dtype=np.uint8).reshape(20, 15), form))
    places = st.tuples(st.integers(0, len(file) - 1), st.integers(0, 255))
    for place, value in data.draw(st.lists(places, max_size=8)):
        file[place] = value
    end = data.draw(st.one_of(st.none(), st.integers(0, len(file))))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's about odd metadata, such as a broken EXIF block
        try:
            result = image_filter.image_filter(
                Context.for_test("cpu"), kernel=[[1]], image=bytes(file[:end])
            )
        except InvalidInput as error:
            assert error.errors[0][0] == "/image"
        else:
            assert isinstance(result, Blob)


def test_the_schema_bounds_the_kernel(
    described: Callable[[str], FunctionSpec], image_filter: ModuleType
) -> None:
    spec = described("image_filter")
    properties = spec.input_schema["properties"]
    assert spec.binary == {"image": "image/png"}
    assert properties["filter"]["enum"] == ["gaussian_blur", "sharpen", "sobel", "emboss"]
    assert properties["sigma"].items() >= {"minimum": 0.1, "maximum": 10}.items()
    assert "31" in str(properties["kernel"])
    assert all(p.get("description") for p in properties.values())
    assert "megapixels_per_second" in str(spec.output_schema)
    arguments = Arguments(image_filter.image_filter)
    assert arguments.build(b'{"kernel": [[1, 2.5, 3]]}', {})["kernel"] == [[1.0, 2.5, 3.0]]
    for wrong in (b"[]", b"[[]]", b'[["x"]]', b"[[" + b"1," * 31 + b"1]]"):
        with pytest.raises(InvalidInput):
            arguments.build(b'{"kernel": %s}' % wrong, {})
