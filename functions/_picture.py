"""Pictures in from PNG and JPEG, and out as PNG, with a bound on what they may unpack to."""

import io
import warnings
from dataclasses import dataclass

import numpy as np
from _npy import Empty
from numpy.typing import NDArray

from runtime import Blob, InvalidInput

MAX_PIXELS = 2**26  # a few float32 copies of that many RGB pixels are 3 GB


@dataclass(frozen=True, slots=True)
class Picture:
    """8 bits a colour, as (height, width, colours); transparency, where there is any, apart."""

    colours: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None
    profile: bytes | None  # ICC: which colours the numbers mean


def decode(data: bytes, empty: Empty = np.empty) -> Picture:
    """The picture in a PNG or JPEG file, turned upright as its camera says.

    `empty` makes the memory for its colours.

    Grey stays grey, palettes become RGB, CMYK becomes RGB, 16 bits become 8.  InvalidInput for
    bytes that are no such file, and for more than MAX_PIXELS, which is checked before unpacking.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _decode(data, empty)
    except InvalidInput:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise InvalidInput("image", f"is too large: send at most {MAX_PIXELS} pixels") from error
    except Exception as error:  # whatever the decoder stumbles over, the bytes are at fault
        raise InvalidInput("image", f"cannot be read ({error}): send a PNG or JPEG file") from error


def encode(picture: Picture) -> Blob:
    """The picture as a PNG; packed quickly rather than tightly (a third of the default's time)."""
    from PIL import Image

    pixels = picture.colours
    if picture.alpha is not None:
        pixels = np.concatenate([pixels, picture.alpha], axis=2)
    file = io.BytesIO()
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    image.save(file, "PNG", compress_level=1, icc_profile=picture.profile)
    return Blob(file.getvalue(), "image/png")


def _decode(data: bytes, empty: Empty) -> Picture:
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as file:
        width, height = file.size
        if width * height > MAX_PIXELS:
            raise InvalidInput("image", f"is {width} × {height}: send at most {MAX_PIXELS} pixels")
        profile = None if file.mode == "CMYK" else file.info.get("icc_profile")
        image = ImageOps.exif_transpose(file)
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip instead of scaling
        image = Image.fromarray((np.asarray(image) // 256).astype(np.uint8))
    transparent = image.has_transparency_data
    grey = image.mode in ("1", "L", "LA")
    target = ("LA" if transparent else "L") if grey else ("RGBA" if transparent else "RGB")
    pixels = np.asarray(image.convert(target)).reshape(image.height, image.width, -1)
    seen = pixels[..., :-1] if transparent else pixels
    # Copied, since Pillow's memory is read-only and torch wants to own what it shares.
    colours = empty(seen.size, seen.dtype).reshape(seen.shape)
    colours[...] = seen
    return Picture(colours, pixels[..., -1:] if transparent else None, profile)
