"""An exception as data, so that it can leave the process it happened in."""

import os
import traceback
from types import TracebackType
from typing import Any

from runtime.errors import InvalidInput


def describe_failure(error: BaseException) -> dict[str, Any]:
    """An exception as data: type, message, traceback of the user's frames, fields at fault."""
    told: dict[str, Any] = {
        "type": _name(type(error)),
        "message": str(error) or type(error).__name__,
        "bases": [_name(c) for c in type(error).__mro__[:-1]],
        "traceback": "".join(traceback.format_exception(type(error), error, _user_frames(error))),
    }
    if isinstance(error, InvalidInput):
        told["errors"] = [list(pair) for pair in error.errors]
    return told


def _user_frames(error: BaseException) -> TracebackType | None:
    frames = error.__traceback__
    while frames and os.path.dirname(frames.tb_frame.f_code.co_filename) == os.path.dirname(
        __file__
    ):
        frames = frames.tb_next
    return frames


def _name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else _dotted(kind)


def _dotted(kind: type) -> str:
    module = kind.__module__
    if module.startswith(("lumbre_function_", "runtime.")):
        return kind.__qualname__
    return f"{module}.{kind.__qualname__}"


def spoils_the_process(error: BaseException) -> bool:
    """Whether a replica should not go on after this: it is out of memory, or was told to exit."""
    names = {c.__name__ for c in type(error).__mro__}
    return bool(names & {"OutOfMemoryError", "MemoryError", "AcceleratorError", "SystemExit"}) or (
        "CUDA error" in str(error)
    )
