"""A function that fails, with a traceback through code of its own and of others."""

import json

from runtime import function


def _read(text: str) -> int:
    return int(json.loads(text)["number"])


@function(devices=("cpu",))
def fails(text: str = "no json") -> int:
    """Read the number in a JSON text; anything else is a failure with a traceback."""
    return _read(text)
