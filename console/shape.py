"""What a JSON schema takes or gives, in words, and schemas without their references.

The schemas are those that pydantic makes (JSON Schema 2020-12): `$ref` into `$defs`, null as one
option of `anyOf`, bounds, enums.  What is none of these is said to be any JSON.
"""

from collections.abc import Mapping
from typing import Any

import orjson

Schema = Mapping[str, Any]

MAX_DEPTH = 3  # objects in objects that are told
MAX_NAMED = 8  # members or choices that are named; of more, only how many there are
MAX_CHOICE = 40  # characters of one
_REF = "#/$defs/"
_FORMATS = {
    "date": ("date, such as 2026-11-23", "dates"),
    "date-time": ("instant, such as 2026-11-23T12:00:00Z", "instants"),
    "time": ("time, such as 12:00:00", "times"),
    "duration": ("duration, such as PT90S", "durations"),
    "uuid": ("UUID", "UUIDs"),
    "email": ("e-mail address", "e-mail addresses"),
    "uri": ("URL", "URLs"),
}


def resolved(schema: Schema, root: Schema) -> dict[str, Any]:
    """The schema itself in the place of its reference; what stands beside a reference wins."""
    seen: set[str] = set()
    found = dict(schema)
    while True:
        ref = found.get("$ref")
        if not isinstance(ref, str):
            if len(found.get("allOf", ())) != 1:
                return found
            found = {**found["allOf"][0], **{k: v for k, v in found.items() if k != "allOf"}}
            continue
        own = {key: value for key, value in found.items() if key != "$ref"}
        target = root.get("$defs", {}).get(ref.removeprefix(_REF))
        if ref in seen or not isinstance(target, Mapping):
            return own
        seen.add(ref)
        found = {**target, **own}


def in_words(schema: Schema, root: Schema) -> str:
    """What a value of this schema is, as one goes on after "takes" or "gives"."""
    return _words(schema, root, 0, many=False)


def _words(schema: Schema, root: Schema, depth: int, *, many: bool) -> str:
    found = resolved(schema, root)
    if "const" in found:
        return _json(found["const"])
    if "enum" in found:
        return _choices(found["enum"])
    if options := found.get("anyOf") or found.get("oneOf"):
        return _either([_words(option, root, depth, many=many) for option in options])
    kind = found.get("type")
    if isinstance(kind, list):
        return _either([_words({**found, "type": each}, root, depth, many=many) for each in kind])
    if kind in ("integer", "number"):
        return _number(found, kind == "integer", many)
    if kind == "string":
        return _string(found, many)
    if kind == "boolean":
        return "true or false"
    if kind == "null":
        return "null"
    if kind == "array":
        return _list(found, root, depth, many)
    if kind == "object":
        return _object(found, root, depth, many)
    return "any JSON"


def _either(options: list[str]) -> str:
    return " or ".join(dict.fromkeys(options))


def _json(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= MAX_CHOICE else f"{text[:MAX_CHOICE]}…"


def _choices(values: list[Any]) -> str:
    if len(values) > MAX_NAMED:
        return f"one of {len(values)} values"
    told = [_json(value) for value in values]
    return f"one of {', '.join(told)}" if len(told) > 1 else told[0]


def _number(schema: Schema, whole: bool, many: bool) -> str:
    noun = ("whole number" if whole else "number") + ("s" if many else "")
    bounds = [
        f"{word} {_amount(schema[key])}"
        for key, word in (
            ("minimum", "from"),
            ("exclusiveMinimum", "above"),
            ("maximum", "to"),
            ("exclusiveMaximum", "below"),
        )
        if key in schema
    ]
    if bounds and bounds[0].startswith("to "):
        bounds[0] = f"up to {_amount(schema['maximum'])}"
    if "exclusiveMaximum" in schema and len(bounds) > 1:
        bounds[-1] = f"to {bounds[-1]}"
    if len(bounds) == 1 and "minimum" in schema:
        bounds[0] += " on"
    if "multipleOf" in schema:
        bounds.append(f"in steps of {_amount(schema['multipleOf'])}")
    return " ".join([noun, *bounds])


def _amount(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _string(schema: Schema, many: bool) -> str:
    if media_type := schema.get("contentMediaType"):
        return f"bytes of {media_type}"
    if named := _FORMATS.get(schema.get("format", "")):
        return named[1] if many else named[0]
    noun = "texts" if many else "text"
    if said := _range(schema.get("minLength"), schema.get("maxLength")):
        noun += f" of {said} characters"
    if pattern := schema.get("pattern"):
        noun += f" that matches {pattern}"
    return noun


def _range(least: int | None, most: int | None) -> str:
    if least == most and least is not None:
        return f"{least:,}"
    if least and most is not None:
        return f"{least:,} to {most:,}"
    if most is not None:
        return f"up to {most:,}"
    return f"{least:,} or more" if least else ""


def _list(schema: Schema, root: Schema, depth: int, many: bool) -> str:
    noun = "lists of" if many else "list of"
    if places := schema.get("prefixItems"):
        told = [_words(place, root, depth + 1, many=False) for place in places]
        return f"{noun} {', '.join(told)}"
    said = _range(schema.get("minItems"), schema.get("maxItems"))
    items = schema.get("items") or {}
    if depth >= MAX_DEPTH:
        return f"{noun} {said} values" if said else f"{noun} values"
    what = _words(items, root, depth + 1, many=True) if items else "any JSON"
    return " ".join(part for part in (noun, said, what) if part)


def _object(schema: Schema, root: Schema, depth: int, many: bool) -> str:
    noun = "objects" if many else "object"
    members = schema.get("properties") or {}
    if members and (depth >= MAX_DEPTH or len(members) > MAX_NAMED):
        return f"{noun} with {', '.join(members)}" if depth < MAX_DEPTH else noun
    if members:
        told = [
            f"{name} ({_words(member, root, depth + 1, many=False)})"
            for name, member in members.items()
        ]
        return f"{noun} with {', '.join(told)}"
    values = schema.get("additionalProperties")
    if isinstance(values, Mapping) and values and depth < MAX_DEPTH:
        return f"{noun} of {_words(values, root, depth + 1, many=True)} by name"
    return noun
