"""A function's page on a terminal: what it takes, what it gives, how it scales, how to call it.

Read from its JSON Schema as the API gives it; `runtime.function` says what may be in there.
"""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from runtime.cli.terminal import duration, plain, replicas

Schema = Mapping[str, Any]

# What a bound is called, in the order in which it is told.
BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "pattern": "like {}",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
}

MOST = {"cpu": "all cores", "gpu": "all slots"}  # max_replicas, where it was not said


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter, or one field of a result, in words."""

    name: str
    type: str
    default: str
    bounds: str
    description: str


def function_page(view: Mapping[str, Any], url: str) -> RenderableType:
    """All there is to say of one function; of a broken one, what is wrong with it."""
    title = plain(view["name"], "bold")
    if error := view["error"]:
        fault = plain(f"{error['type']}: {error['message']}", "red")
        return Group(title, plain(view["file"], "dim"), fault, plain(error.get("traceback", "")))
    parts: list[RenderableType] = [title, plain(view["description"]), Text("")]
    parts += [_facts(view), Text(""), Text("parameters", "bold")]
    given = parameters(view["input_schema"])
    parts.append(_parameter_table(given) if given else Text("  none"))
    parts += [Text(""), Text("result", "bold"), *_result(view["output_schema"])]
    parts += [Text(""), Text("scaling", "bold"), _scaling(view)]
    parts += [Text(""), Text("call it", "bold")]
    parts += [plain(f"  {line}") for line in examples(view, url)]
    return Group(*parts)


def parameters(schema: Schema) -> list[Parameter]:
    """The properties of an object's schema, in order."""
    definitions = schema.get("$defs", {})
    required = schema.get("required", ())
    return [
        Parameter(
            name,
            type_of(given, definitions),
            "required" if name in required else _default(given),
            bounds_of(given),
            _resolved(given, definitions).get("description", ""),
        )
        for name, given in schema.get("properties", {}).items()
    ]


def type_of(schema: Schema, definitions: Schema) -> str:
    """A type in words: integer, list of number, a | b, bytes (image/png)."""
    schema = _resolved(schema, definitions)
    if media_type := schema.get("contentMediaType"):
        return f"bytes ({media_type})"
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " | ".join(dict.fromkeys(type_of(choice, definitions) for choice in choices))
    if schema.get("type") == "array":
        items = schema.get("items")
        return f"list of {type_of(items, definitions)}" if items else "list"
    if schema.get("type") == "object" and "title" in schema:
        return str(schema["title"])
    kind = schema.get("type", "anything")
    return " | ".join(kind) if isinstance(kind, list) else str(kind)


def bounds_of(schema: Schema) -> str:
    """The bounds of a value in words, also those inside a choice with null."""
    told = [words.format(schema[key]) for key, words in BOUNDS.items() if key in schema]
    told += [inner for choice in schema.get("anyOf", ()) if (inner := bounds_of(choice))]
    return ", ".join(told)


def examples(view: Mapping[str, Any], url: str) -> Iterator[str]:
    """The same call as a line for `lumbre` and one for curl, with every required parameter."""
    schema, binary = view["input_schema"], view["binary"]
    values = _example_values(schema)
    required = schema.get("required", ())
    uploads = [name for name in binary if name in required]
    words = [shlex.quote(f"{name}={_word(value)}") for name, value in values.items()]
    words += [f"{name}=@FILE" for name in uploads]
    yield " ".join(["lumbre invoke", view["name"], *words])
    target = f"{url}/invoke/{view['name']}"
    if uploads:
        texts = [f"-F {shlex.quote(f'{name}={_word(value)}')}" for name, value in values.items()]
        files = [f"-F {name}=@FILE" for name in uploads]
        yield " ".join(["curl", target, *texts, *files, "-o RESULT"])
    else:
        yield f"curl {target} -d {shlex.quote(orjson.dumps(values).decode())}"


def _example_values(schema: Schema) -> dict[str, Any]:
    """A value for every required parameter that is not bytes; for the first one if none is."""
    definitions = schema.get("$defs", {})
    properties = {
        name: given
        for name, given in schema.get("properties", {}).items()
        if "bytes (" not in type_of(given, definitions)
    }
    required = [name for name in properties if name in schema.get("required", ())]
    bytes_required = set(schema.get("required", ())) - set(required)
    shown = required or ([] if bytes_required else list(properties)[:1])
    return {name: _example(properties[name], definitions) for name in shown}


def _example(schema: Schema, definitions: Schema) -> Any:
    schema = _resolved(schema, definitions)
    if schema.get("default") is not None:
        return schema["default"]
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return _example(choices[0], definitions)
    match schema.get("type"):
        case "integer" | "number":
            return _example_number(schema)
        case "boolean":
            return True
        case "array":
            return [_example(schema.get("items", {}), definitions)]
        case "object":
            return {
                name: _example(schema["properties"][name], definitions)
                for name in schema.get("required", ())
            }
    return "text".ljust(schema.get("minLength", 0), "t")[: schema.get("maxLength")]


def _example_number(schema: Schema) -> float:
    """The least number within the bounds, or the greatest, or 1; between them if they are open."""
    for bound in ("minimum", "maximum"):
        if bound in schema:
            return float(schema[bound]) if schema["type"] == "number" else int(schema[bound])
    low, high = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if schema["type"] == "number" and low is not None and high is not None:
        return float(low + high) / 2
    if low is not None:
        return int(low) + 1
    return 1 if high is None or high > 1 else int(high) - 1


def _word(value: Any) -> str:
    """A value as `key=value` takes it."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _resolved(schema: Schema, definitions: Schema) -> Schema:
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return schema
    target: Schema = definitions.get(reference.rpartition("/")[2], {})
    beside = {key: value for key, value in schema.items() if key != "$ref"}
    return {**target, **beside}


def _default(schema: Schema) -> str:
    if schema.get("default") is None:
        return "optional"
    return orjson.dumps(schema["default"]).decode()


def _facts(view: Mapping[str, Any]) -> Table:
    table = _columns("", "")
    table.show_header = False
    table.add_row("file", plain(f"{view['file']} (version {view['version']})"))
    table.add_row("timeout", plain(f"{duration(view['timeout'])} for one attempt"))
    table.add_row("attempts", plain(f"{view['max_attempts']} if replicas die"))
    if view["cost"]:
        table.add_row("cost", plain(view["cost"]))
    if view["streams"]:
        table.add_row("streams", plain("yes: --follow shows every value as it comes"))
    if speedup := view["speedup"]:
        table.add_row("speedup", plain(_speedup(speedup)))
    return table


def _speedup(speedup: Mapping[str, Any]) -> str:
    runs = speedup["median_run"]
    ratio = f"{speedup['ratio']:.3g} ×"
    if interval := speedup["interval"]:
        ratio += f" ({interval[0]:.3g} to {interval[1]:.3g})"
    label = " on a simulated GPU" if speedup["simulated"] else ""
    few = "" if speedup["enough"] else ", of few runs"
    medians = f"cpu {duration(runs['cpu'])}, gpu {duration(runs['gpu'])}, medians"
    return f"{ratio}{label}, {speedup['basis']}{few}: {medians}"


def _parameter_table(given: list[Parameter]) -> Table:
    table = _columns("name", "type", "default", "bounds", "description")
    for parameter in given:
        table.add_row(
            plain(parameter.name, "cyan"),
            plain(parameter.type),
            plain(parameter.default, "bold" if parameter.default == "required" else ""),
            plain(parameter.bounds),
            plain(parameter.description),
        )
    return table


def _result(schema: Schema) -> Iterator[RenderableType]:
    definitions = schema.get("$defs", {})
    yield plain(f"  {type_of(schema, definitions)}")
    for choice in schema.get("anyOf", [schema]):
        resolved = _resolved(choice, definitions)
        if resolved.get("properties"):
            table = _columns("field", "type", "bounds", "description")
            for field in parameters({**resolved, "$defs": definitions}):
                cells = (field.name, field.type, field.bounds, field.description)
                table.add_row(*map(plain, cells))
            yield table


def _scaling(view: Mapping[str, Any]) -> Table:
    table = _columns(
        "device", "replicas", "now", "backlog", "target", "cooldown", "p50", "p95", "waiting"
    )
    for device in view["devices"]:
        scaling = view["scaling"][device]
        depth = view["backlog"][device]
        total = (view["latency"][device] or {}).get("total", {})
        most = scaling["max_replicas"]
        table.add_row(
            plain(device),
            plain(f"{scaling['min_replicas']} to {MOST[device] if most is None else most}"),
            plain(replicas(view["replicas"][device])),
            plain(f"{depth['ready'] + depth['unacknowledged']:,}"),
            plain(f"{scaling['target']:g} a replica"),
            plain(duration(scaling["cooldown"])),
            plain(duration(total.get("p50"))),
            plain(duration(total.get("p95"))),
            plain((view["waiting"][device] or {}).get("detail", ""), "yellow"),
        )
    return table


def _columns(*names: str) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 0, 0, 2))
    for name in names:
        table.add_column(name)
    return table
