"""What a run keeps of itself: JSON that says its format, and can be read again."""

from pathlib import Path
from typing import Any, TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError

from runtime.errors import LumbreError

T = TypeVar("T")


class UnreadableResults(LumbreError):
    """A file that no run has written, or of a format that this version cannot read."""

    title = "Unreadable results"


def dumps(adapter: TypeAdapter[T], value: T) -> bytes:
    """As JSON, indented, so that two runs can be compared by eye."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(adapter.dump_python(value, mode="json"), option=options)


def read(adapter: TypeAdapter[T], file: Path, version: int, command: str) -> T:
    """What `command` wrote to a file, of this version of its format.

    UnreadableResults says what is wrong with it, and what to do.
    """
    raw = _json(file, command)
    found = raw.get("format") if isinstance(raw, dict) else None
    if found != version:
        raise UnreadableResults(
            f"{file} has format {found!r}, and this version reads {version}: run `{command}`"
        )
    try:
        return adapter.validate_python(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = "/".join(str(part) for part in first["loc"])
        raise UnreadableResults(f"{file}: {where}: {first['msg']}: was it edited?") from error


def _json(file: Path, command: str) -> Any:
    try:
        return orjson.loads(file.read_bytes())
    except OSError as error:
        raise UnreadableResults(
            f"{file} cannot be read ({error.strerror or error}): `{command}` writes one"
        ) from error
    except orjson.JSONDecodeError as error:
        raise UnreadableResults(f"{file} is no JSON ({error}): give what a run wrote") from error
