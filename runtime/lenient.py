"""JSON of whatever there is: what JSON cannot hold is replaced rather than refused.

One odd value (a lone surrogate in an error's text, a huge number in its details) must not keep an
outcome, or a thousand others beside it, from being recorded.
"""

from typing import Any

import orjson


def dumps(value: Any) -> bytes:
    """JSON of a value; never fails."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return orjson.dumps(_clean(value))


def _clean(value: Any, depth: int = 0) -> Any:
    """The value as JSON can hold it; only for the rare one that orjson refuses."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    if depth > 50:  # orjson stops at 254
        return "…"
    if isinstance(value, dict):
        return {str(_clean(str(k))): _clean(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item, depth + 1) for item in value]
    return _clean(repr(value))
