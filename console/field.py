"""One parameter of a function as a field of a form: which widget it has, and what that takes.

A widget holds text.  A value that its widget cannot hold (an empty text where empty means null,
say) is held as JSON instead, so that every value a schema takes can be shown and sent.
"""

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal

import orjson

from console.shape import Schema, in_words, resolved
from runtime.function import FunctionSpec

Kind = Literal["whole", "number", "checkbox", "choice", "text", "long", "json", "file"]

SHORT = 120  # characters; a text that may be longer gets more than one line
WHOLE = re.compile(r"[+-]?[0-9]+")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
# Parts of an `anyOf` that say no more than which numbers, so that one widget does for both.
_NUMBERS = ({"type": "integer"}, {"type": "number"})


class Absent(Enum):
    """What stands for a parameter that is not given."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


@dataclass(frozen=True, slots=True)
class Field:
    """One parameter; `default` counts only where `has_default`."""

    name: str
    kind: Kind
    words: str  # what it takes
    description: str
    required: bool
    nullable: bool
    has_default: bool = False
    default: Any = None
    low: float | None = None
    high: float | None = None
    step: float | None = None  # None: any
    min_length: int = 0
    choices: tuple[str, ...] = ()  # each as JSON
    media_type: str = ""

    @property
    def shown(self) -> str:
        """The default as JSON, cut where it is long."""
        text = json_text(self.default)
        return text if len(text) <= SHORT else f"{text[:SHORT]}…"

    def text(self, value: Any) -> str | None:
        """The text that its widget holds for a value; None where it can hold none for it."""
        if value is ABSENT or (self.kind == "json" and value is None and self.is_default(None)):
            return ""
        if value is None and self.kind in ("whole", "number", "text", "long"):
            return "" if self._empty() is None or self._is_default(None) else None
        if self.kind in ("whole", "number"):
            return _number_text(value)
        if self.kind in _TEXTS:
            return self._plain_text(value)
        if self.kind == "checkbox":
            return ("on" if value else "") if isinstance(value, bool) else None
        if self.kind == "choice":
            return text if (text := json_text(value)) in self.choices else None
        return pretty_text(value) if self.kind == "json" else None

    def value(self, text: str) -> Any:
        """The value that a text in its widget stands for, or ABSENT; ValueError says why none."""
        if self.kind == "checkbox":
            return text != ""
        if self.kind in _TEXTS:
            text = text.replace("\r\n", "\n")  # as every browser sends the end of a line
            return text if text else self.empty_text()
        text = text.strip()
        if not text:
            return self._empty()
        if self.kind in ("whole", "number"):
            return _number(text)
        return json_value(text)

    def is_default(self, value: Any) -> bool:
        """Whether leaving the parameter out gives the same."""
        return not self.required and self._is_default(value)

    def empty_text(self) -> Any:
        """What nothing in a text widget stands for: a text, null, or that nothing is given."""
        sure = self.required or (self.has_default and self.default is not None)
        return "" if sure and not self.nullable else self._empty()

    def _empty(self) -> Any:
        return None if self.required and self.nullable else ABSENT

    def _is_default(self, value: Any) -> bool:
        return self.has_default and json_text(value) == json_text(self.default)

    def _plain_text(self, value: Any) -> str | None:
        if not isinstance(value, str) or (not value and self.empty_text() != ""):
            return None
        kept = "\n\t" if self.kind == "long" else "\t"
        held = all(c in kept or unicodedata.category(c) not in ("Cc", "Cs") for c in value)
        return value if held else None


_TEXTS = ("text", "long")


def fields_of(spec: FunctionSpec) -> list[Field]:
    """The fields of a function's form, in the order of its parameters."""
    root = spec.input_schema
    required = frozenset(root.get("required", ()))
    properties: Mapping[str, Schema] = root["properties"]
    return [
        _file(name, schema, spec.binary[name], name in required)
        if name in spec.binary
        else _field(name, schema, root, name in required)
        for name, schema in properties.items()
    ]


def as_json(field: Field) -> Field:
    """The same parameter, to be written as JSON."""
    return Field(
        field.name,
        "json",
        field.words,
        field.description,
        field.required,
        nullable=False,  # null is written as such
        has_default=field.has_default,
        default=field.default,
    )


def json_text(value: Any) -> str:
    """A value as JSON on one line, the same for equal values."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def pretty_text(value: Any) -> str:
    """A value as JSON to read and to edit: on one line where that is short."""
    text = orjson.dumps(value).decode()
    if len(text) <= SHORT:
        return text
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def json_value(text: str) -> Any:
    """The value that a text of JSON stands for; ValueError says where it is none."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"is no JSON: {error}; a text needs quotation marks") from None


def _file(name: str, schema: Schema, media_type: str, required: bool) -> Field:
    words = "a file" if media_type == "application/octet-stream" else f"a file of {media_type}"
    return Field(
        name,
        "file",
        words,
        schema.get("description", ""),
        required,
        nullable=False,
        media_type=media_type,
    )


def _field(name: str, schema: Schema, root: Schema, required: bool) -> Field:
    found = resolved(schema, root)
    options = [resolved(option, root) for option in found.get("anyOf", ())]
    nullable = {"type": "null"} in options
    given = [option for option in options if option != {"type": "null"}]
    if len(given) == 1:
        found = {**given[0], **{key: value for key, value in found.items() if key != "anyOf"}}
    elif given and all(option in _NUMBERS for option in given):
        found = {"type": "number", **{k: v for k, v in found.items() if k != "anyOf"}}
    has_default, default = "default" in found, found.get("default")
    kind, choices = _kind(found, nullable, required or has_default)
    if nullable and has_default and default is not None and kind not in ("choice", "json"):
        kind = "json"  # where nothing stands for the default, null must be written
    low, high, step = _bounds(found) if kind in ("whole", "number") else (None, None, None)
    return Field(
        name,
        kind,
        in_words({key: value for key, value in schema.items() if key != "default"}, root),
        str(found.get("description", "")),
        required,
        nullable and kind != "json",
        has_default,
        default,
        low,
        high,
        step,
        found.get("minLength", 0),
        choices,
    )


def _kind(schema: Schema, nullable: bool, sure: bool) -> tuple[Kind, tuple[str, ...]]:
    """The widget and its choices; `sure` says that there is always a value."""
    values: list[Any] | None = schema.get("enum")
    if "const" in schema:
        values = [schema["const"]]
    kind = schema.get("type")
    if values is None and kind == "boolean" and (nullable or not sure):
        values = [True, False]
    if values is not None:
        texts = [json_text(value) for value in values]
        if nullable and "null" not in texts:
            texts.append("null")
        return "choice", tuple(texts)
    if kind == "boolean":
        return "checkbox", ()
    if kind == "integer":
        return "whole", ()
    if kind == "number":
        return "number", ()
    if kind == "string":
        limit = schema.get("maxLength")
        one_line = "format" in schema or "pattern" in schema or (limit and limit <= SHORT)
        return ("text" if one_line else "long"), ()
    return "json", ()


def _bounds(schema: Schema) -> tuple[float | None, float | None, float | None]:
    """Least, most and step as a browser knows them; what it does not know, the gateway checks."""
    whole = schema.get("type") == "integer"
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if above is not None and low is None:
        low = math.floor(above) + 1 if whole else above
    if below is not None and high is None:
        high = math.ceil(below) - 1 if whole else below
    step = schema.get("multipleOf") if whole else None
    if step and low is not None:  # browsers count their steps from the least
        low = math.ceil(low / step) * step
    return low, high, (step or 1) if whole else None


def _number_text(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return repr(value) if math.isfinite(value) else None


def _number(text: str) -> float:
    try:
        if not NUMBER.fullmatch(text):
            raise ValueError
        number: float = int(text) if WHOLE.fullmatch(text) else float(text)
        if not -(2**63) <= number < 2**64:
            number = float(number)  # as JSON that names a longer number is read
        if not math.isfinite(number):
            raise ValueError
    except (ValueError, OverflowError):
        raise ValueError(f"is {text[:40]!r}, which is no number") from None
    return number
