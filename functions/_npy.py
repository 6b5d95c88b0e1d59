"""Arrays in and out as NumPy's `.npy` files, without pickle and without trusting the header."""

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime import Blob, InvalidInput

NPY = "application/x-npy"
FLOATS = frozenset({"float16", "float32", "float64"})
Empty = Callable[[int, np.dtype[Any]], NDArray[Any]]  # makes an unwritten array


def read_npy(
    field: str, data: bytes, name: str = "the upload", empty: Empty = np.empty
) -> NDArray[np.floating]:
    """The array in a `.npy` file, writable and in native byte order; `empty` gives it its memory.

    float16, float32 and float64 stay what they are; integers and booleans become float64, which
    holds integers up to 2⁵³ exactly.  Anything else raises InvalidInput for `field`, and so does a
    header that promises more than the file holds: no memory is taken on its word.
    """
    try:
        shape, fortran, dtype, offset = _header(data)
    except Exception as error:  # whatever the parser stumbles over, the bytes are at fault
        raise InvalidInput(
            field, f"{name} is no .npy file ({error}): send what numpy.save(file, array) writes"
        ) from error
    if dtype.name not in FLOATS and dtype.kind not in "biu":
        raise InvalidInput(
            field, f"{name} holds {dtype}: send float16, float32, float64, integers or booleans"
        )
    count = math.prod(shape)
    if count < 1:
        raise InvalidInput(field, f"{name} is empty, of shape {shape}: send at least one number")
    if count * dtype.itemsize > len(data) - offset:
        raise InvalidInput(
            field, f"{name} is cut off: shape {shape} of {dtype} is longer than the file; send all"
        )
    flat = empty(count, dtype.newbyteorder("=") if dtype.name in FLOATS else np.dtype(np.float64))
    flat[:] = np.frombuffer(data, dtype, count, offset)
    return flat.reshape(shape, order="F" if fortran else "C")


def npy_blob(array: NDArray[np.floating]) -> Blob:
    """The array as the bytes of a `.npy` file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return Blob(file.getvalue(), NPY)


def _header(data: bytes) -> tuple[tuple[int, ...], bool, np.dtype[np.generic], int]:
    """Shape, Fortran order, type, and where the numbers begin (format 1.0 and 2.0).

    Format 3.0 differs only in the names of structured types, which are no numbers anyway.
    """
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"format {version[0]}.{version[1]}")
    if any(side < 0 for side in shape):
        raise ValueError(f"shape {shape}")
    return shape, fortran, dtype, file.tell()
