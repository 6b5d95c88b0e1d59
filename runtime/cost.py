"""Relative work of an invocation, by an expression over its parameters such as `"n ** 3"`.

The expression is Python's in form, and evaluated here rather than by Python: numbers, names of
parameters, + - * / // % **, and min, max, len, sqrt, log and abs.  Nothing else can be said in it,
so a function file cannot make a gateway do anything by it but arithmetic on floats.
"""

import ast
import difflib
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from runtime.errors import ConfigurationError

MAX_LENGTH = 300  # characters
MAX_EXPONENT = 64.0

_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: lambda base, exponent: _power(base, exponent),
}
_SIGNS: dict[type[ast.unaryop], Callable[[float], float]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
# With how many arguments, at least and at most.
_FUNCTIONS: dict[str, tuple[Callable[..., float], int, int]] = {
    "min": (min, 2, 20),
    "max": (max, 2, 20),
    "len": (len, 1, 1),
    "sqrt": (math.sqrt, 1, 1),
    "log": (math.log, 1, 2),
    "abs": (abs, 1, 1),
}
_TAKES = "it takes numbers, parameters, + - * / // % ** and min, max, len, sqrt, log, abs"

Value = Callable[[Mapping[str, Any]], float]


class Cost:
    """A cost expression over the parameters of one function."""

    def __init__(self, text: str, schema: Mapping[str, Any]) -> None:
        """Read it; `schema` is the function's input schema, whose defaults stand in.

        ConfigurationError, with the part that is not understood, for what is no such expression.
        """
        properties = schema.get("properties", {})
        self._defaults = {
            name: said["default"] for name, said in properties.items() if "default" in said
        }
        self._value = _Reader(frozenset(properties)).read(text)

    def of(self, parameters: Mapping[str, Any], sizes: Mapping[str, int]) -> float | None:
        """The cost of an input, above 0; None where it has none: a division by 0, a missing value.

        `sizes` are the bytes of uploaded parameters, which `len` gives.
        """
        uploads = {name: range(size) for name, size in sizes.items()}  # whose len is the size
        try:
            value = float(self._value({**self._defaults, **parameters, **uploads}))
        except (ArithmeticError, ValueError, TypeError, KeyError):
            return None
        return value if math.isfinite(value) and value > 0 else None


class _Reader:
    """Makes of a syntax tree what evaluates it, and refuses what may not be in it."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def read(self, text: str) -> Value:
        if not isinstance(text, str) or not text.strip() or len(text) > MAX_LENGTH:
            raise ConfigurationError(
                f'is {text!r:.80}: give an expression over the parameters such as "n ** 3", of at'
                f" most {MAX_LENGTH} characters, or leave it out"
            )
        try:
            return self._of(ast.parse(text.strip(), mode="eval").body)
        except (SyntaxError, RecursionError, MemoryError) as error:
            what = getattr(error, "msg", None) or type(error).__name__
            raise ConfigurationError(f"is {text!r}, which cannot be read ({what})") from None

    def _of(self, node: ast.expr) -> Value:
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            number = _float(node.value)
            return lambda _: number
        if isinstance(node, ast.Name):
            name = self._known(node)
            return lambda values: _float(values[name])
        if isinstance(node, ast.BinOp) and (apply := _OPERATORS.get(type(node.op))):
            left, right = self._of(node.left), self._of(node.right)
            return lambda values: apply(left(values), right(values))
        if isinstance(node, ast.UnaryOp) and (sign := _SIGNS.get(type(node.op))):
            inner = self._of(node.operand)
            return lambda values: sign(inner(values))
        if isinstance(node, ast.Call):
            return self._call(node)
        raise ConfigurationError(f"has {ast.unparse(node)!r:.80}, which it does not take: {_TAKES}")

    def _call(self, node: ast.Call) -> Value:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        plain = not node.keywords and not any(isinstance(a, ast.Starred) for a in node.args)
        if name not in _FUNCTIONS or not plain:
            what = f"has {ast.unparse(node)!r:.80}, which it does not take: {_TAKES}"
            raise ConfigurationError(what)
        function, least, most = _FUNCTIONS[name]
        if not least <= len(node.args) <= most:
            wanted = f"{least}" if least == most else f"{least} to {most}"
            raise ConfigurationError(
                f"has {ast.unparse(node)!r:.80}: {name} takes {wanted} of them"
            )
        if name == "len":
            (argument,) = node.args
            if not isinstance(argument, ast.Name):
                raise ConfigurationError(
                    f"has {ast.unparse(node)!r:.80}: len takes the name of a parameter"
                )
            parameter = self._known(argument)
            return lambda values: float(len(values[parameter]))
        arguments = [self._of(argument) for argument in node.args]
        return lambda values: function(*(argument(values) for argument in arguments))

    def _known(self, node: ast.Name) -> str:
        if node.id in self._names:
            return node.id
        near = difflib.get_close_matches(node.id, self._names, 1)
        there_are = ", ".join(sorted(self._names)) or "none"
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {there_are}"
        raise ConfigurationError(f"has {node.id!r}, which is no parameter; {hint}")


def _float(value: Any) -> float:
    """A number; TypeError for what is none, text with digits included."""
    if isinstance(value, int | float):
        return float(value)
    raise TypeError(f"{type(value).__name__} is no number")


def _power(base: float, exponent: float) -> float:
    if abs(exponent) > MAX_EXPONENT:
        raise OverflowError(f"exponents are at most {MAX_EXPONENT:g}")
    return math.pow(base, exponent)
