"""What a function returned, as bytes that can be sent.

bytes and `Blob` go as they are, tensors and arrays as `.npy`, everything else as JSON.
"""

import contextlib
import io
import math
from typing import Any

import orjson
import pydantic_core

from runtime.function import Blob
from runtime.model import JSON

NPY = "application/x-npy"
OCTETS = "application/octet-stream"


class ResultTooLarge(Exception):
    """The function returned more than a result may hold."""


class ResultNotSerializable(Exception):
    """The function returned something that has no JSON form."""


def serialize(result: Any, media_type: str) -> tuple[bytes, str]:
    """A result as bytes and their media type; plain bytes get the `media_type` of the annotation.

    NaN and infinities become null, since JSON has no word for them (RFC 8259 §6).
    """
    if isinstance(result, Blob):
        return bytes(result.data), result.media_type
    if isinstance(result, bytes | bytearray | memoryview):
        return bytes(result), media_type
    if (npy := _npy(result)) is not None:
        return npy, NPY
    return to_json(result), JSON


def to_json(value: Any) -> bytes:
    """JSON of a value; raises ResultNotSerializable naming its type and what to return instead."""
    try:
        if isinstance(value, dict | list | str | int | float | bool | None):
            # It is the faster one, but refuses sets, decimals, integers over 64 bits and more.
            with contextlib.suppress(orjson.JSONEncodeError):
                return orjson.dumps(value, default=_to_python, option=orjson.OPT_NON_STR_KEYS)
        return pydantic_core.to_json(value, inf_nan_mode="null", fallback=_to_python)
    except (TypeError, ValueError, pydantic_core.PydanticSerializationError) as error:
        raise ResultNotSerializable(
            f"the function returned {summary(value)}, which has no JSON form ({error}): return"
            " numbers, strings, lists, dicts, pydantic models, dataclasses, arrays, bytes or a Blob"
        ) from error


def summary(value: Any) -> str:
    return f"a {type(value).__name__}" + (f" of {len(value)}" if hasattr(value, "__len__") else "")


def _to_python(value: Any) -> Any:
    """What orjson and pydantic do not know: scalars and small arrays inside a JSON result."""
    if hasattr(value, "tolist"):  # NumPy scalars and arrays, torch tensors
        return _without_nan(value.tolist())
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="python")
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _without_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _npy(value: Any) -> bytes | None:
    """A tensor or array as the bytes of an .npy file; None for anything else."""
    kind = type(value)
    if kind.__module__.partition(".")[0] not in ("torch", "numpy") or not hasattr(value, "shape"):
        return None
    if not value.shape:
        return None  # a scalar is a JSON number
    import numpy

    buffer = io.BytesIO()
    try:
        numpy.save(buffer, _to_numpy(value), allow_pickle=False)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ResultNotSerializable(
            f"the function returned a {kind.__name__} that has no .npy form ({error}): return a"
            " dense array of numbers"
        ) from error
    return buffer.getvalue()


def _to_numpy(value: Any) -> Any:
    """An array as it is, a tensor as an array; what NumPy has no word for becomes float32."""
    if not hasattr(value, "detach"):
        return value
    value = value.detach().cpu().resolve_conj().resolve_neg()
    if value.dtype.is_floating_point and value.itemsize <= 2:
        value = value.float()
    return value.numpy()
