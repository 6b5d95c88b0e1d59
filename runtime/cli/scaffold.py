"""`lumbre new`: a function that works, and a test that passes, to start from."""

import keyword
import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path

from runtime.errors import ConfigurationError
from runtime.function import NAME

FUNCTION = '''\
"""What {name} is for, in a line."""

from typing import Annotated

from pydantic import Field

from runtime import Context, function


@function(timeout=60)
def {name}(
    context: Context,
    n: Annotated[int, Field(ge=1, le=10_000_000, description="how many squares to add")] = 1000,
) -> int:
    """Add the first n squares."""
    context.log.info("adding %d squares", n)
    return sum(k * k for k in range(1, n + 1))
'''

GPU_FUNCTION = '''\
"""What {name} is for, in a line."""

from typing import Annotated

import torch
from pydantic import Field

from runtime import Context, function


@function(devices=("cpu", "gpu"), timeout=60, cost="n")
def {name}(
    context: Context,
    n: Annotated[int, Field(ge=1, le=100_000_000, description="how many numbers")] = 1_000_000,
) -> float:
    """Average n random numbers, on the device that the caller asks for."""
    numbers = torch.rand(n, device=context.device)
    return numbers.mean().item()
'''

TEST = '''\
"""Calls {name} as plain Python: no node, no replica, no queue."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "{folder}"))

from {name} import {name}  # noqa: E402

from runtime import Context  # noqa: E402


def test_{case}() -> None:
    {check}
'''

CASE = ("adds_the_first_squares", "assert {name}(Context.for_test(), n=3) == 1 + 4 + 9")
GPU_CASE = (
    "averages_what_is_uniform",
    'assert 0.4 < {name}(Context.for_test("cpu"), n=10_000) < 0.6',
)


def scaffold(name: str, functions: Path, tests: Path, *, gpu: bool) -> tuple[Path, Path]:
    """Write a function file and its test, and give their paths.

    ConfigurationError, and nothing is written, where the name cannot be a function's or either
    file exists.
    """
    check_name(name)
    function, test = functions / f"{name}.py", tests / f"test_{name}.py"
    for file in (function, test):
        if file.exists():
            raise ConfigurationError(f"{file} exists: choose another name, or remove it first")
    case, check = GPU_CASE if gpu else CASE
    folder = os.path.relpath(functions, tests)
    source = (GPU_FUNCTION if gpu else FUNCTION).format(name=name)
    _write(function, source)
    _write(test, TEST.format(name=name, folder=folder, case=case, check=check.format(name=name)))
    return function, test


def check_name(name: str) -> None:
    """Raise ConfigurationError unless a function, and the file it begins in, may be called so."""
    if not NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} cannot be a function's name: take lower case letters, digits and _, begin"
            " with a letter, and stay within 63"
        )
    if keyword.iskeyword(name):
        raise ConfigurationError(f"{name!r} is a word of Python's own: choose another name")
    if name.startswith("test_") or name.endswith("_test"):
        raise ConfigurationError(
            f"{name}.py would be taken for a test and not be served: choose another name"
        )
    if _is_importable(name):
        raise ConfigurationError(
            f"{name!r} is also a module that Python imports, and functions/{name}.py would hide it"
            " from every function: choose another name"
        )


def _is_importable(name: str) -> bool:
    """Whether `import name` finds a module that does not lie in the current folder."""
    if name in sys.stdlib_module_names or name == "runtime":
        return True
    here = Path.cwd()
    elsewhere = [entry for entry in sys.path if entry and Path(entry).resolve() != here]
    found = PathFinder.find_spec(name, elsewhere)
    return found is not None and found.origin is not None  # a bare folder hides nothing


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(file, "x", encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written ({error.strerror})") from None
