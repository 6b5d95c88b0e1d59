"""Functions that do what the user guide warns of, each on request."""

import ctypes
import datetime
import decimal
import enum
import os
import sys
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel

from runtime import Blob, Context, InvalidInput, MediaType, Resources, Retry, Scaling, function

LONGEST = 60.0  # seconds; no test waits that long
AGAIN = Retry(max_attempts=2, backoff=0)
MEMORY = Resources(memory=400 * 2**20)


class Pair(BaseModel):
    a: int = 1


@dataclass
class Point:
    x: int = 1


class Colour(enum.Enum):
    RED = "red"


class OutOfMemoryError(RuntimeError):
    """What torch raises; it is known by its name, since a machine may have no GPU."""


class Opaque:
    """Something that no JSON can tell."""


def misbehave(how: str) -> Any:
    """Do what the user guide's table says, by its first words."""
    print("last words", flush=True)
    match how:
        case "raises an exception":
            raise ValueError("no such luck")
        case "raises `InvalidInput`":
            raise InvalidInput("how", "is bad")
        case "calls `sys.exit()`":
            sys.exit("enough")
        case "runs over its timeout" | "is cancelled":
            time.sleep(LONGEST)
        case "calls `os._exit()`":
            os._exit(3)
        case "crashes with a segmentation fault":
            ctypes.string_at(0)
        case "holds more than `Resources(memory=…)`":
            held = b"x" * (600 * 2**20)
            time.sleep(LONGEST)
            return len(held)
        case "raises `MemoryError`":
            raise MemoryError("none left")
        case "runs out of CUDA memory":
            raise OutOfMemoryError("CUDA out of memory")
        case "forks":
            return os.fork()
        case "starts a thread":
            threading.Thread(target=print, args=("from a thread",)).start()
        case "floods its output":
            print("x" * 2_000_000)
        case "returns NaN":
            return float("nan")
        case "returns an array or a tensor":
            return give("numpy.arange(3)")
        case "returns what has no JSON form":
            return Opaque()
        case "returns 100 MB":
            return b"x" * 100_000_000
    return None


@function(max_attempts=2, timeout=20, resources=MEMORY)
def once(how: str) -> Any:
    """Misbehave, without retries."""
    return misbehave(how)


@function(max_attempts=2, timeout=20, resources=MEMORY, retries=AGAIN)
def again(how: str) -> Any:
    """Misbehave, with one retry."""
    return misbehave(how)


@function(timeout=0.3, retries=AGAIN)
def overtime(how: str) -> Any:
    """Misbehave for longer than there is time."""
    return misbehave(how)


@function
class FailsInSetup:
    """Never become ready."""

    def setup(self, context: Context) -> None:
        raise RuntimeError("the weights are not there")

    def __call__(self) -> None: ...


@function
class HangsInSetup:
    """Take longer to become ready than any test waits."""

    def setup(self, context: Context) -> None:
        time.sleep(LONGEST)

    def __call__(self) -> None: ...


@function(scaling=Scaling(max_replicas=1))
def hold(gate: str) -> None:
    """Run until there is a file at `gate`."""
    deadline = time.monotonic() + LONGEST
    while not Path(gate).exists() and time.monotonic() < deadline:
        time.sleep(0.005)


@function
def give(code: str) -> Any:
    """Return what an expression is."""
    import numpy

    names = {"Pair": Pair, "Point": Point, "Colour": Colour, "Blob": Blob, "numpy": numpy}
    return eval(code, names | {"datetime": datetime, "decimal": decimal, "uuid": uuid})


@function
def give_picture() -> Annotated[bytes, MediaType("image/png")]:
    """Return bytes whose media type the annotation says."""
    return b"png"


@function(devices=("gpu",))
def where(context: Context) -> bool:
    """Say whether this GPU is a simulated one."""
    return context.simulated
