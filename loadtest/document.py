"""A YAML file that a person wrote, as a model; what is wrong with it is told by line and field."""

import difflib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from runtime.errors import ConfigurationError

MAX_BYTES = 10 * 2**20  # of a document; what people write is a thousandth of that
MAX_TOLD = 5  # faults that one error names
NOUNS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "tuple": "a list",
    "dict": "NAME: VALUE",
}
REMEDIES = {
    "less_than_equal": "write at most {le:,g}",
    "less_than": "write less than {lt:,g}",
    "greater_than_equal": "write at least {ge:,g}",
    "greater_than": "write more than {gt:,g}",
    "missing": "is missing: write it",
    "finite_number": "write a finite number",
    "literal_error": "write {expected}",
    "too_short": "write at least {min_length}",
    "too_long": "write at most {max_length:,}, not {actual_length:,}",
    "string_too_short": "is empty: write it",
}
TAG = "@"  # begins the tags of unions, which are in pydantic's paths and in no document


class Section(BaseModel):
    """A part of a document: it has its fields and no other, and does not change.

    An `examples` of a field that must be there is what the error about its absence tells to write.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_and_whole(cls, value: Any) -> Any:
        if isinstance(value, dict):
            fields = {field.alias or name: field for name, field in cls.model_fields.items()}
            for name in value:
                if name not in fields:
                    raise _fault(str(name), _unknown(str(name), list(fields)))
            for name, field in fields.items():
                if field.is_required() and name not in value:
                    example = f"{name}: {field.examples[0]}" if field.examples else "it"
                    raise _fault(name, f"is missing: write {example}")
        elif not isinstance(value, cls):
            raise _fault("", f"write {', '.join(_names(cls))} as NAME: VALUE, not {_short(value)}")
        return value


Model = TypeVar("Model", bound=Section)
Way = tuple[int | str, ...]  # keys and indices, from the top of a document


def _names(model: type[Section]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _unknown(name: str, fields: list[str]) -> str:
    if near := difflib.get_close_matches(name, fields, 1):
        return f"is no field here: did you mean {near[0]}?"
    return f"is no field here: write one of {', '.join(fields)}"


def _fault(field: str, text: str) -> PydanticCustomError:
    """An error about a field, which `_told` adds to the way; braces in the text mean nothing."""
    return PydanticCustomError("section", "{text}", {"text": text, "field": field})


def read(path: Path, model: type[Model]) -> Model:
    """The document in a file; ConfigurationError names the file, the line, the field and the fix.

    Keys that stand twice in one mapping are refused: YAML would silently take the last.
    """
    node = _parse(path)
    value = _value(path, node)
    if not isinstance(value, dict):
        raise ConfigurationError(
            f"{path}: holds no fields: write some of {', '.join(_names(model))}, each as"
            " NAME: VALUE on a line of its own"
        )
    return check(model, value, str(path), node)


def check(model: type[Model], value: Any, name: str, node: yaml.Node | None = None) -> Model:
    """The value as a model; ConfigurationError begins with `name` and tells the first faults.

    `node` is what the value was made from, for the numbers of lines.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        faults = _final(error.errors(include_url=False))
        told = [_told(fault, name, node) for fault in faults[:MAX_TOLD]]
        if more := len(faults) - len(told):
            told.append(f"{name}: and {more} more")
        raise ConfigurationError("\n".join(told)) from error


def _parse(path: Path) -> yaml.Node | None:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"{path}: cannot be read ({error.strerror or error}): name a YAML file that is there"
        ) from error
    if len(data) > MAX_BYTES:
        raise ConfigurationError(
            f"{path}: has {len(data):,} bytes: write at most {MAX_BYTES:,}, and keep data in files"
            " that it names"
        )
    try:
        return yaml.compose(data.decode("utf-8-sig"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is no text in UTF-8 ({error}): save it so") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise _unreadable(path, error) from error


def _value(path: Path, node: yaml.Node | None) -> Any:
    """What a node stands for, if nothing in it stands twice."""
    if node is None:
        return None
    _refuse_twins(path, node, set())
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _unreadable(path, error) from error
    finally:
        loader.dispose()


def _refuse_twins(path: Path, node: yaml.Node, seen: set[int]) -> None:
    if id(node) in seen:  # an alias; looked into where its anchor is
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_twins(path, item, seen)
    elif isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in keys:
                    raise ConfigurationError(
                        f"{path}:{_line(key)}: {key.value} stands twice: remove one of the two"
                    )
                keys.add(key.value)
            _refuse_twins(path, value, seen)


def _unreadable(path: Path, error: Exception) -> ConfigurationError:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
    line = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
    return ConfigurationError(
        f"{path}{line}: is no YAML ({problem}): check indentation, colons and quotes there"
    )


def _told(fault: ErrorDetails, name: str, node: yaml.Node | None) -> str:
    """One fault in a line: where it is, what is wrong, and what to write."""
    way = tuple(step for step in fault["loc"] if not str(step).startswith(TAG))
    if own := fault.get("ctx", {}).get("field"):
        way = (*way, own)
    line = _line_of(node, way)
    where = f"{name}:{line}" if line else name
    field = _field(way)
    return f"{where}: {field}: {_why(fault)}" if field else f"{where}: {_why(fault)}"


def _why(fault: ErrorDetails) -> str:
    """What is wrong and what to write, from what pydantic says."""
    kind, context, given = fault["type"], fault.get("ctx", {}), fault["input"]
    if kind == "value_error":
        return str(context["error"])
    said = "" if isinstance(given, dict | list | tuple) else f", not {_short(given)}"
    if remedy := REMEDIES.get(kind):
        return remedy.format(**context) + said
    if kind.startswith(("int_", "float_", "bool_", "string_", "tuple_", "dict_")):
        return f"write {NOUNS[kind.partition('_')[0]]}{said}"
    return fault["msg"].replace("Input should be", "write") + said


def _final(faults: list[ErrorDetails]) -> list[ErrorDetails]:
    """The faults but those that only follow from others.

    pydantic says that a list is too short as well when the items that it has are wrong.
    """
    ways = [fault["loc"] for fault in faults]
    return [
        fault
        for fault, way in zip(faults, ways, strict=True)
        if fault["type"] != "too_short"
        or not any(len(o) > len(way) and o[: len(way)] == way for o in ways)
    ]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _field(way: Way) -> str:
    """`stages[1].rate`, as people write it."""
    text = ""
    for step in way:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def _line_of(node: yaml.Node | None, way: Way) -> int | None:
    """The line of the node that a way leads to, or of the last one on the way that is there."""
    if node is None:
        return None
    line = _line(node)
    for step in way:
        found = _child(node, step)
        if found is None:
            break
        line, node = found
    return line


def _child(node: yaml.Node, step: int | str) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        item = node.value[step]
        return _line(item), item
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return _line(key), value
    return None


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
