"""From schemas to forms and back: whatever a schema takes can be shown, sent, and is the same."""

from collections.abc import Mapping
from enum import Enum
from types import GenericAlias
from typing import Annotated, Any, Literal

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic import Field as Takes

from console.field import Field, fields_of, json_text
from console.form import FILE, KEPT, Control, Kept, as_typed, by_parameter, filled, read
from runtime import Batching, MediaType, function
from runtime.function import FunctionSpec, describe
from runtime.intake import Validator

NOTHING = object()  # where there is no default


class Colour(Enum):
    RED = "red"
    BLUE = "blue"
    NONE = None


class Point(BaseModel):
    x: float
    y: float = 0.0
    name: str | None = None


class Tree(BaseModel):
    value: int
    under: "list[Tree]" = []


def spec_of(hints: Mapping[str, Any], defaults: Mapping[str, Any]) -> FunctionSpec:
    """A function with these parameters."""
    required = [name for name in hints if name not in defaults]
    names = [*required, *(name for name in hints if name in defaults)]
    said = ", ".join(f"{n}=DEFAULTS[{n!r}]" if n in defaults else n for n in names)
    scope: dict[str, Any] = {"DEFAULTS": dict(defaults)}
    exec(f"def subject({said}): pass", scope)
    subject = scope["subject"]
    subject.__annotations__ = dict(hints)
    return describe(function(subject), file="subject.py", attribute="subject")


def browser(controls: list[Control]) -> dict[str, str]:
    """What a browser sends of these controls, if nobody touches them."""
    sent = {}
    for control in controls:
        if control.kind == "checkbox":
            if control.text:
                sent[control.name] = "on"
        elif control.kind == "choice":
            options = [option.value for option in control.options]
            sent[control.name] = control.text if control.text in options else options[0]
        elif control.kind in ("long", "json"):
            sent[control.name] = control.text.replace("\n", "\r\n")
        elif control.kind != "file":
            sent[control.name] = control.text.replace("\n", "")
    return sent


# Types and their values; the values are as JSON has them.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
LEAF: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers(-(2**63), 2**63)),
    (Annotated[int, Takes(ge=3, le=30, multiple_of=3)], st.integers(1, 10).map(lambda n: 3 * n)),
    (Annotated[int, Takes(gt=-5, lt=2**32)], st.integers(-4, 2**32 - 1)),
    (float, NUMBER),
    (Annotated[float, Takes(gt=0, le=1)], st.floats(0, 1, exclude_min=True)),
    (int | float, st.integers(-9, 9) | NUMBER),
    (bool, st.booleans()),
    (str, TEXT),
    (Annotated[str, Takes(min_length=1, max_length=20)], TEXT.filter(bool)),
    (Annotated[str, Takes(pattern="^[a-c]*$")], st.text("abc")),
    (Literal["a", "b", "", "null", "1"], st.sampled_from(["a", "b", "", "null", "1"])),
    (Literal[1, "1", True], st.sampled_from([1, "1", True])),
    (Colour, st.sampled_from(["red", "blue", None])),
    (int | str, st.integers(-9, 9) | TEXT),
    (Point, st.fixed_dictionaries({"x": NUMBER, "name": TEXT | st.none()})),
    (Tree, st.fixed_dictionaries({"value": st.integers(0, 9), "under": st.just([{"value": 1}])})),
    (Any, st.recursive(st.none() | TEXT | NUMBER, lambda of: st.lists(of, max_size=3))),
]


@st.composite
def kinds(draw: st.DrawFn) -> tuple[Any, st.SearchStrategy[Any]]:
    hint, values = draw(st.sampled_from(LEAF))
    shape = draw(st.sampled_from(["plain", "plain", "null", "list", "dict"]))
    if shape == "null":
        return hint | None if hint is not Any else hint, values | st.none()
    if shape == "list":
        return GenericAlias(list, (hint,)), st.lists(values, max_size=4)
    if shape == "dict":
        return GenericAlias(dict, (str, hint)), st.dictionaries(TEXT, values, max_size=3)
    return hint, values


@st.composite
def functions(draw: st.DrawFn) -> tuple[FunctionSpec, dict[str, Any]]:
    """A function and what it is given; some parameters are left out where they may be."""
    hints, defaults, values = {}, {}, {}
    for name in draw(st.lists(st.sampled_from("abcdef"), unique=True)):
        hint, strategy = draw(kinds())
        hints[name] = hint
        if draw(st.booleans()):
            # Whatever a default is, JSON says it, or the schema does not.
            defaults[name] = orjson.loads(orjson.dumps(draw(strategy)))
        if name not in defaults or draw(st.booleans()):
            values[name] = draw(strategy)
    return spec_of(hints, defaults), orjson.loads(orjson.dumps(values))


@settings(max_examples=300, deadline=None)
@given(functions())
def test_what_a_form_shows_comes_back_as_it_was(case: tuple[FunctionSpec, dict[str, Any]]) -> None:
    spec, values = case
    fields = fields_of(spec)
    found = read(fields, browser(filled(fields, values, {})), frozenset())
    assert not found.faults
    for field in fields:
        expected = values.get(field.name, NOTHING)
        given = found.parameters.get(field.name, NOTHING)
        if given is NOTHING:  # left out: the same as the default, which then counts
            assert expected is NOTHING or field.is_default(expected)
        else:
            assert expected is not NOTHING or not field.has_default
            assert json_text(given) == json_text(expected)
    Validator.of(spec).check(found.parameters)


@settings(max_examples=200, deadline=None)
@given(functions(), st.dictionaries(st.sampled_from("abcdef"), TEXT))
def test_whatever_is_typed_is_read_or_has_a_fault_and_is_kept(
    case: tuple[FunctionSpec, dict[str, Any]], texts: dict[str, str]
) -> None:
    spec, values = case
    fields = fields_of(spec)
    typed = browser(filled(fields, values, {}))
    for name in typed:
        if (text := texts.get(name.partition(".")[2])) is not None:
            typed[name] = text
    found = read(fields, typed, frozenset())
    controls = as_typed(fields, typed, {}, found.faults)
    for control in controls:
        if control.kind != "checkbox":
            named = next(name for name in typed if name.partition(".")[2] == control.field.name)
            assert control.text == typed[named]
        if control.field.name in found.faults:
            assert control.fault == found.faults[control.field.name]
            assert control.field.name not in found.parameters


def only(hint: Any, default: Any = NOTHING) -> Field:
    """The field of one parameter."""
    spec = spec_of({"x": hint}, {} if default is NOTHING else {"x": default})
    (field,) = fields_of(spec)
    return field


def said(hint: Any, text: str | None, default: Any = NOTHING) -> Any:
    """What a parameter is after this text in its field; NOTHING where it is not given."""
    field = only(hint, default)
    prefix = "json." if field.kind == "json" else "value."
    typed = {} if text is None else {prefix + "x": text}
    found = read([field], typed, frozenset())
    assert not found.faults, found.faults
    return found.parameters.get("x", NOTHING)


def test_a_checkbox_that_is_absent_is_false() -> None:
    assert said(bool, None) is False
    assert said(bool, None, default=True) is False
    assert said(bool, "on") is True


def test_an_empty_optional_number_is_not_given() -> None:
    assert said(int, "", default=7) is NOTHING
    assert said(float | None, "", default=None) is NOTHING
    assert said(int, "") is NOTHING  # and the schema says that it is missing


def test_an_empty_text_is_a_text_unless_nothing_means_null() -> None:
    assert said(str, "") == ""
    assert said(str, "", default="hello") == ""
    assert said(str | None, "", default=None) is NOTHING
    assert said(str | None, "") is None


def test_what_is_as_it_would_be_anyway_is_left_out() -> None:
    assert said(int, "7", default=7) is NOTHING
    assert said(int, "8", default=7) == 8
    assert said(list[int], "", default=[1, 2]) is NOTHING  # which the schema does not tell
    assert said(Point | None, " null ", default=None) is NOTHING


@pytest.mark.parametrize(
    "text", ["seven", "1,5", "1e999", "nan", "--1", "0x10", "1_0", "٣", "9" * 5000]
)
def test_a_text_that_is_no_number_has_a_fault(text: str) -> None:
    found = read([only(float)], {"value.x": text}, frozenset())
    assert "which is no number" in found.faults["x"]
    assert len(found.faults["x"]) < 120


def test_a_text_that_is_no_json_has_a_fault_that_says_where() -> None:
    found = read([only(list[int])], {"json.x": "[1, 2"}, frozenset())
    assert found.faults["x"].startswith("is no JSON")
    assert "column" in found.faults["x"]


def test_kinds_of_fields() -> None:
    kinds = {
        "whole": only(int),
        "number": only(Annotated[float, Takes(gt=0)]),
        "checkbox": only(bool),
        "choice": only(Literal["a", "b"]),
        "long": only(str),
        "text": only(Annotated[str, Takes(max_length=40)]),
        "json": only(list[int]),
    }
    assert {kind: field.kind for kind, field in kinds.items()} == {kind: kind for kind in kinds}
    assert only(bool | None).kind == "choice"
    assert only(Point).kind == "json"


def test_bounds_are_those_a_browser_knows() -> None:
    field = only(Annotated[int, Takes(gt=0, lt=100)])
    assert (field.low, field.high, field.step) == (1, 99, 1)
    field = only(Annotated[int, Takes(ge=1, multiple_of=4)])
    assert (field.low, field.step) == (4, 4)  # browsers count steps from the least
    assert only(float).step is None


def test_descriptions_and_words_are_said() -> None:
    field = only(Annotated[int, Takes(ge=1, le=16384, description="rows and columns")], 1024)
    assert field.description == "rows and columns"
    assert field.words == "whole number from 1 to 16,384"
    assert (field.has_default, field.default) == (True, 1024)


def test_a_bytes_parameter_is_a_file() -> None:
    spec = spec_of({"image": Annotated[bytes, MediaType("image/png")], "n": int}, {})
    fields = {field.name: field for field in fields_of(spec)}
    assert fields["image"].kind == "file"
    assert fields["image"].media_type == "image/png"
    (control,) = [c for c in filled(fields.values(), {}, {}) if c.kind == "file"]
    assert control.name == f"{FILE}image"
    assert control.needed


def test_an_earlier_upload_is_used_unless_another_comes_or_it_is_dropped() -> None:
    spec = spec_of({"image": bytes}, {})
    fields = fields_of(spec)
    kept = {"image": Kept("abc", 3, "image/png")}
    (control,) = filled(fields, {}, kept)
    assert control.kept == kept["image"] and control.keeps and not control.needed
    assert read(fields, {f"{KEPT}image": "abc"}, frozenset()).kept == {"image": "abc"}
    assert read(fields, {f"{KEPT}image": "abc"}, frozenset({"image"})).kept == {}
    assert read(fields, {}, frozenset()).kept == {}
    (control,) = as_typed(fields, {}, kept, {})
    assert not control.keeps and control.needed


def test_parameters_of_a_batched_function_have_fields() -> None:
    class Item(BaseModel):
        text: str
        top: int = 3

    @function(batching=Batching(max_size=4))
    def many(items: list[Item]) -> list[int]:
        return [len(item.text) for item in items]

    spec = describe(many, file="many.py", attribute="many")
    assert [field.name for field in fields_of(spec)] == ["text", "top"]


def test_faults_go_to_their_fields_and_the_rest_to_the_top() -> None:
    faults = [("/x/0/y", "is too small"), ("/x", "is odd"), ("/z", "is no parameter"), ("", "no")]
    told = by_parameter(faults, [only(list[int])])
    assert told == {"x": "at /0/y: is too small; is odd", "": "z: is no parameter; no"}
