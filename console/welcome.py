"""What somebody sees who has just started Lumbre: what to run first, or how to write a function."""

from collections.abc import Iterable
from typing import Any

import orjson

from console.curl import curl
from console.field import Field, fields_of
from runtime.function import FunctionSpec

PLAIN = ("whole", "number", "choice", "text", "long", "checkbox")  # kinds of fields
EXAMPLE = '''\
from runtime import Context, function

@function
def hello(context: Context, name: str = "world") -> str:
    """Greet somebody."""
    return f"Hello, {name}!"
'''


def first_call(specs: Iterable[FunctionSpec], base: str, *, keyed: bool) -> str | None:
    """The curl command for the function that is easiest to call; None where all want more.

    `base` is this node's URL; `keyed` says that an API key is asked for.
    """
    calls = ((spec, parameters_of(spec)) for spec in specs)
    known = [(spec, given) for spec, given in calls if given is not None]
    if not known:
        return None
    spec, given = min(known, key=lambda call: _effort(*call))
    return curl(spec, base, "auto", given, {}, keyed=keyed)


def parameters_of(spec: FunctionSpec) -> dict[str, Any] | None:
    """Parameters that a function can be called with, as few as show what it takes.

    What is required, else the first that has a default; None where a file or some JSON is needed.
    """
    fields = fields_of(spec)
    given: dict[str, Any] = {}
    for field in fields:
        if field.required:
            value = _sample(field)
            if value is None:
                return None
            given[field.name] = value
    if not given:
        for field in fields:
            if field.kind in PLAIN and field.has_default and field.default is not None:
                return {field.name: field.default}
    return given


def _effort(spec: FunctionSpec, given: dict[str, Any]) -> tuple[int, bool, bool, str]:
    """What is easier to try comes first: little to give, no files, a number to play with."""
    required = sum(field.required for field in fields_of(spec))
    plays = any(isinstance(value, int | float) for value in given.values())
    return required, bool(spec.binary), not plays, spec.name


def _sample(field: Field) -> Any:
    """A value for a parameter that must be given; None where it cannot be made up."""
    if field.kind in ("whole", "number"):
        value = min(1.0 if field.high is None else field.high, 1.0)
        value = max(value, value if field.low is None else field.low)
        return int(value) if field.kind == "whole" else value
    if field.kind in ("text", "long"):
        return "hello".ljust(field.min_length, "o")
    if field.kind == "choice":
        return orjson.loads(field.choices[0])
    return True if field.kind == "checkbox" else None
