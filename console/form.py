"""The form of a function: from values to what stands in its controls, and from these to values.

Whatever was typed is kept as it was, whether or not it can be read; a fault stands at its control.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from console.field import ABSENT, Field, as_json
from runtime.model import Part

VALUE, AS_JSON, FILE, KEPT = "value.", "json.", "file.", "kept."  # before a parameter's name


@dataclass(frozen=True, slots=True)
class Option:
    """One choice of a select."""

    value: str  # JSON; empty where nothing is chosen
    words: str


@dataclass(frozen=True, slots=True)
class Kept:
    """An upload of an earlier invocation, to be used again."""

    invocation: str
    size: int
    media_type: str


@dataclass(frozen=True, slots=True)
class Control:
    """One field as it is shown: `name` is that of its input, `text` is what stands in it."""

    field: Field
    name: str
    text: str = ""
    options: tuple[Option, ...] = ()
    fault: str | None = None
    kept: Kept | None = None
    keeps: bool = True  # whether the earlier upload is to be used

    @property
    def kind(self) -> str:
        return self.field.kind

    @property
    def needed(self) -> bool:
        """Whether nothing cannot be sent: a browser asks for it before it sends the form."""
        if self.field.kind in ("text", "long"):
            return self.field.required and self.field.min_length > 0 and not self.field.nullable
        given = self.kept is not None and self.keeps
        return self.field.required and not self.field.nullable and not given


@dataclass(frozen=True, slots=True)
class Read:
    """What a form says: parameters, whose files go with them, and what cannot be read."""

    parameters: dict[str, Any]
    kept: dict[str, str]  # bytes parameters → invocations whose upload is used
    faults: dict[str, str] = field(default_factory=dict)  # by parameter


def filled(
    fields: Iterable[Field], given: Mapping[str, Any], kept: Mapping[str, Kept]
) -> list[Control]:
    """The controls for some values; what is not among them shows its default."""
    return [_filled(each, given, kept.get(each.name)) for each in fields]


def as_typed(
    fields: Iterable[Field],
    typed: Mapping[str, str],
    kept: Mapping[str, Kept],
    faults: Mapping[str, str],
) -> list[Control]:
    """The controls as somebody left them, with what is wrong by parameter."""
    controls = []
    for each in fields:
        control = _as_typed(each, typed, kept.get(each.name))
        controls.append(replace(control, fault=faults.get(each.name)))
    return controls


def read(fields: Iterable[Field], typed: Mapping[str, str], uploaded: frozenset[str]) -> Read:
    """The parameters that a form says, without those that are as they would be anyway.

    `typed` are its texts by the names of their inputs, `uploaded` are the parameters that came
    with a file.  A checkbox that is not there is false.
    """
    found = Read({}, {})
    for each in fields:
        if each.kind == "file":
            if each.name not in uploaded and (earlier := typed.get(KEPT + each.name)):
                found.kept[each.name] = earlier
            continue
        held, text = _held(each, typed)
        try:
            value = held.value(text)
        except ValueError as error:
            found.faults[each.name] = str(error)
            continue
        if value is not ABSENT and not each.is_default(value):
            found.parameters[each.name] = value
    return found


def by_parameter(faults: Sequence[tuple[str, str]], fields: Iterable[Field]) -> dict[str, str]:
    """Faults by JSON pointer as sentences by parameter; under "" those of no field."""
    names = {each.name for each in fields}
    told: dict[str, list[str]] = {}
    for pointer, detail in faults:
        first, _, inside = pointer.removeprefix("/").partition("/")
        name = first.replace("~1", "/").replace("~0", "~")
        if name in names:
            told.setdefault(name, []).append(f"at /{inside}: {detail}" if inside else detail)
        else:
            told.setdefault("", []).append(f"{name}: {detail}" if name else detail)
    return {name: "; ".join(details) for name, details in told.items()}


def kept_of(parts: Iterable[Part], invocation: str) -> dict[str, Kept]:
    """The uploads of an invocation that a form can send once more."""
    return {
        part.name: Kept(invocation, part.size, part.media_type)
        for part in parts
        if part.key or part.data is not None
    }


def _filled(each: Field, given: Mapping[str, Any], kept: Kept | None) -> Control:
    if each.kind == "file":
        return Control(each, FILE + each.name, kept=kept)
    value = given.get(each.name, each.default if each.has_default else ABSENT)
    text = each.text(value)
    if text is None:
        each = as_json(each)
        text = each.text(value) or ""
    return _control(each, text)


def _as_typed(each: Field, typed: Mapping[str, str], kept: Kept | None) -> Control:
    if each.kind == "file":
        keeps = typed.get(KEPT + each.name, "") != ""
        return Control(each, FILE + each.name, kept=kept, keeps=keeps)
    held, text = _held(each, typed)
    if held.kind == "choice" and text and text not in held.choices:
        held = as_json(each)
    return _control(held, text)


def _held(each: Field, typed: Mapping[str, str]) -> tuple[Field, str]:
    """The field as it was shown, and what was typed."""
    if AS_JSON + each.name in typed and each.kind != "json":
        return as_json(each), typed[AS_JSON + each.name]
    prefix = AS_JSON if each.kind == "json" else VALUE
    return each, typed.get(prefix + each.name, "")


def _control(each: Field, text: str) -> Control:
    name = (AS_JSON if each.kind == "json" else VALUE) + each.name
    return Control(each, name, text, _options(each) if each.kind == "choice" else ())


def _options(each: Field) -> tuple[Option, ...]:
    options = [Option(choice, _named(choice)) for choice in each.choices]
    if not each.has_default:
        words = "choose…" if each.required else "not given"
        options.insert(0, Option("", words))
    return tuple(options)


def _named(choice: str) -> str:
    """A choice as people read it: a text without quotation marks, where that is still a text."""
    value = orjson.loads(choice)
    if value is None:
        return "nothing (null)"
    if not isinstance(value, str) or not value.strip():
        return choice
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError:
        return value
    return choice
