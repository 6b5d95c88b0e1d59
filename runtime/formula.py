"""Arithmetic over the parameters of an input, as functions and plans write it: `2 * n ** 3`.

Numbers, names, + − * / // % **, signs, min, max, sqrt, log, log2, abs, and len of a name; nothing
else is evaluated, so what is read can do nothing but arithmetic.
"""

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass, field
from typing import Any

from runtime.errors import ConfigurationError

Number = int | float

LONGEST = 300  # characters of one formula
DEEPEST = 40  # operations inside each other
LARGEST = 1e300  # magnitude of anything on the way

BINARY: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
UNARY: dict[type[ast.unaryop], Callable[[Number], Number]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
# With how many arguments, at least and at most.
CALLS: dict[str, tuple[Callable[..., Number], int, int]] = {
    "min": (min, 2, 20),
    "max": (max, 2, 20),
    "sqrt": (math.sqrt, 1, 1),
    "log": (math.log, 1, 2),
    "log2": (math.log2, 1, 1),
    "abs": (abs, 1, 1),
}


class FormulaError(ConfigurationError):
    """A formula that cannot be read, or that has no value for these parameters."""

    title = "Formula error"


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula that was read; two of one text are equal."""

    text: str
    names: frozenset[str] = field(compare=False)
    _tree: ast.expr = field(compare=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> "Formula":
        """Read a formula; FormulaError says what in it is not arithmetic."""
        if len(text) > LONGEST:
            raise FormulaError(f"a formula of {len(text)} characters: write at most {LONGEST}")
        try:
            tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            raise FormulaError(f"{text!r} is no formula: write one such as 2 * n ** 3") from error
        return cls(text, frozenset(_names(text, tree, 0)), tree)

    def __call__(self, values: Mapping[str, Any]) -> Number:
        """Its value; whole numbers stay whole where no `/` is in the way.

        FormulaError where a name has no value or one that is no number, or where the result is
        none: a division by zero, a root of a negative number, a magnitude above 1e300.
        """
        if missing := sorted(self.names - values.keys()):
            known = ", ".join(sorted(values)) or "none"
            raise FormulaError(
                f"{self.text!r} names {missing[0]!r}, and the numbers here are: {known}"
            )
        try:
            return _checked(_value(self._tree, values))
        except (ArithmeticError, ValueError) as error:
            given = ", ".join(f"{name} = {_told(values[name])}" for name in sorted(self.names))
            raise FormulaError(f"{self.text!r} has no value for {given or 'it'}: {error}") from None


def _names(text: str, node: ast.expr, depth: int) -> set[str]:
    """The names in a tree, every node of which is one that may be evaluated."""
    if depth > DEEPEST:
        raise FormulaError(f"{text!r} is nested more than {DEEPEST} deep: write it flatter")
    match node:
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            return set()
        case ast.Name(id=name):
            return {name}
        case ast.UnaryOp(op=op, operand=operand) if type(op) in UNARY:
            return _names(text, operand, depth + 1)
        case ast.BinOp(left=left, op=binary, right=right) if type(binary) in BINARY:
            return _names(text, left, depth + 1) | _names(text, right, depth + 1)
        case ast.Call(func=ast.Name(id="len"), args=[ast.Name(id=name)], keywords=[]):
            return {name}
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in CALLS:
            _, least, most = CALLS[name]
            if not least <= len(args) <= most:
                raise FormulaError(f"{text!r} gives {name} {len(args)} numbers")
            return set().union(*(_names(text, arg, depth + 1) for arg in args))
    raise FormulaError(
        f"{text!r} has {ast.unparse(node)!r} in it: numbers, names, + - * / // % **,"
        f" {', '.join(CALLS)} and len of a name are what a formula may have"
    )


def _value(node: ast.expr, values: Mapping[str, Any]) -> Number:
    match node:
        case ast.Constant(value=int() | float() as number):
            return _checked(number)
        case ast.Name(id=name):
            return _number(name, values[name])
        case ast.UnaryOp(op=op, operand=operand):
            return UNARY[type(op)](_value(operand, values))
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _checked(_power(_value(left, values), _value(right, values)))
        case ast.BinOp(left=left, op=binary, right=right):
            return _checked(BINARY[type(binary)](_value(left, values), _value(right, values)))
        case ast.Call(func=ast.Name(id="len"), args=[ast.Name(id=name)]):
            return _length(name, values[name])
        case ast.Call(func=ast.Name(id=name), args=args):
            return CALLS[name][0](*(_value(arg, values) for arg in args))
    raise AssertionError(f"{ast.dump(node)} was let through")


def _number(name: str, value: Any) -> Number:
    if isinstance(value, int | float):
        return value
    raise ValueError(f"{name} is no number")


def _length(name: str, value: Any) -> int:
    if isinstance(value, Sized):
        return len(value)
    raise ValueError(f"{name} has no length")


def _told(value: Any) -> str:
    if not isinstance(value, int | float):
        return type(value).__name__
    return f"{value:g}" if abs(value) <= LARGEST else "more than 1e300"


def _power(base: Number, exponent: Number) -> Number:
    # Whole numbers have no overflow of their own: 9 ** 9 ** 9 would compute for hours.
    if abs(base) > 1 and exponent * math.log2(abs(base)) > math.log2(LARGEST):
        raise OverflowError("it is above 1e300")
    result = base**exponent
    if isinstance(result, complex):
        raise ValueError("a root of a negative number")
    number: Number = result
    return number


def _checked(value: Number) -> Number:
    if not abs(value) <= LARGEST:
        raise OverflowError("it is above 1e300")
    return value
