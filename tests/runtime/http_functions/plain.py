"""Functions of plain Python whose whole job is to be asked for over HTTP."""

import hashlib
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from runtime import Context, function
from runtime.errors import InvalidInput
from runtime.function import Blob, MediaType


class Layer(BaseModel):
    """One layer of `shape`."""

    width: int
    scale: float = 1.0


class Inner(BaseModel):
    depth: int


class Outer(BaseModel):
    inner: Inner


@function
def add(a: int, b: int = 1) -> int:
    """Add two numbers.

    The second is 1 where it is not given.
    """
    return a + b


@function
def nothing() -> None:
    """Return nothing."""


@function
def echo(
    n: Annotated[int, Field(ge=1, le=100)] = 1,
    kind: Literal["round", "square"] = "round",
    level: Literal[1, 2] = 1,
    note: str | None = None,
    ratio: float = 0.5,
    layers: list[Layer] | None = None,
    named: dict[str, int] | None = None,
) -> dict[str, Any]:
    """Return the parameters as they came."""
    told = [layer.model_dump() for layer in layers or []]
    return {
        "n": n,
        "kind": kind,
        "level": level,
        "note": note,
        "ratio": ratio,
        "layers": told,
        "named": named or {},
    }


@function
def text(size: int) -> str:
    """Return that many letters."""
    return "x" * size


@function
def picture(size: int = 8) -> Annotated[bytes, MediaType("image/png")]:
    """Return bytes of the media type that the annotation says."""
    return bytes(range(256)) * (size // 256) + bytes(range(size % 256))


@function
def blob(media_type: str = "text/csv", size: int = 8) -> Blob:
    """Return bytes of a media type that is known only at run time."""
    return Blob(b"," * size, media_type)


@function
def either(raw: bool = False) -> Outer | Annotated[bytes, MediaType("image/png")] | None:
    """Return bytes, or a model within a model, or nothing."""
    return b"png" if raw else Outer(inner=Inner(depth=1))


@function
def keep(context: Context, size: int = 4) -> dict[str, str]:
    """Keep bytes beside the result."""
    return {"weights": context.output_blob("weights.bin", b"w" * size, "application/x-weights")}


@function
def digest(image: Annotated[bytes, MediaType("image/png")], scale: int = 1) -> dict[str, Any]:
    """Say what was uploaded."""
    return {"sha256": hashlib.sha256(image).hexdigest(), "size": len(image), "scale": scale}


@function
def equal(left: bytes, right: bytes, exact: bool = True) -> dict[str, Any]:
    """Compare two uploads."""
    return {"equal": left == right, "sizes": [len(left), len(right)], "exact": exact}


@function
def optional(data: bytes | None = None, n: int = 1) -> dict[str, Any]:
    """Take bytes, or none."""
    return {"size": None if data is None else len(data), "n": n}


@function
def told(context: Context) -> dict[str, Any]:
    """Say what the context says."""
    return {
        "id": context.invocation_id,
        "attempt": context.attempt,
        "traceparent": context.traceparent,
    }


@function
def timed(context: Context, phase: str) -> int:
    """Spend a moment in a phase of any name."""
    with context.timer(phase):
        return 1


@function
def append(path: str, line: str = "ran") -> int:
    """Leave a line in a file, so that a test can count how often this ran."""
    with open(path, "a") as file:
        file.write(f"{line}\n")
    return len(Path(path).read_text().splitlines())


@function
def fail(message: str = "no such luck", output: str = "") -> None:
    """Raise."""
    if output:
        print(output)
        print(output.upper(), file=sys.stderr)
    raise ValueError(message)


@function
def picky(data: bytes) -> None:
    """Refuse what only the function can judge."""
    raise InvalidInput("data", f"{len(data)} bytes are no image")


@function(max_attempts=2)
def crash() -> None:
    """End the replica on every attempt."""
    print("about to end", flush=True)
    os._exit(3)
