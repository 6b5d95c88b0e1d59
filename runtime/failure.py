"""An exception as data, so that it can leave the process it happened in."""

import os
import traceback
from types import TracebackType
from typing import Any

from runtime.errors import InvalidInput

MAX_MESSAGE = 4 * 1024  # characters kept of what an exception says
MAX_TRACEBACK = 32 * 1024  # characters


def describe_failure(error: BaseException) -> dict[str, Any]:
    """An exception as data: type, message, traceback of the user's frames, fields at fault."""
    frames = traceback.format_exception(type(error), error, _user_frames(error))
    told: dict[str, Any] = {
        "type": _name(type(error)),
        "message": _sendable(_message(error), MAX_MESSAGE),
        "bases": [_name(c) for c in type(error).__mro__[:-1]],
        "traceback": _sendable("".join(frames), MAX_TRACEBACK),
    }
    if isinstance(error, InvalidInput):
        told["errors"] = [[_sendable(str(t), MAX_MESSAGE) for t in pair] for pair in error.errors]
    return told


def _message(error: BaseException) -> str:
    try:
        return str(error) or type(error).__name__
    except Exception as broken:  # the exception is the user's class, and so is its __str__
        return f"{type(error).__name__}, whose text cannot be told: {type(broken).__name__}"


def _sendable(text: str, most: int) -> str:
    """Text that fits into a frame and a ledger: its beginning and end, without lone surrogates."""
    if left_out := max(0, len(text) - most):
        text = f"{text[: most // 2]} [… {left_out:,} characters …] {text[-(most // 2) :]}"
    return text.encode(errors="replace").decode()


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
        "CUDA error" in _message(error)
    )
