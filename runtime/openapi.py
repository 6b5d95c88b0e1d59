"""OpenAPI 3.1 made from the functions."""

from collections.abc import Iterable
from typing import Any

from runtime.filters import NAMES
from runtime.function import FunctionSpec
from runtime.model import DEVICES, JSON

PROBLEMS = {
    "400": "the body cannot be read",
    "401": "keys are asked for here, and none was sent that counts",
    "403": "the key has not the scope `invoke`",
    "413": "the input is too large",
    "415": "the function takes no such body",
    "422": "a parameter fails its schema",
    "429": "the queue is full, or the key over its rate; see Retry-After",
    "500": "the function raised",
    "502": "the replica died on every attempt",
    "503": "nothing can run this here and now; see Retry-After",
    "504": "timed out",
}

KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "an API key, as `lumbre keys create` makes one, with the scope the call needs",
}


_SIDE = {
    "type": "object",
    "description": "one run",
    "required": ["id", "status", "run", "timings", "simulated", "error", "links"],
    "properties": {
        "id": {"type": "string"},
        "status": {"type": "string"},
        "run": {"type": ["number", "null"], "description": "seconds in the replica"},
        "timings": {"type": ["object", "null"]},
        "simulated": {"type": "boolean"},
        "result": {"description": "where it is JSON, and not too long"},
        "error": {"type": ["object", "null"]},
        "links": {"type": "object"},
    },
}
_COMPARISON = {
    "type": "object",
    "description": "what device=compare answers: one input on both devices",
    "required": ["cpu", "gpu", "speedup", "simulated", "agree"],
    "properties": {
        "cpu": _SIDE,
        "gpu": _SIDE,
        "speedup": {"type": ["number", "null"], "description": "CPU run time over GPU run time"},
        "simulated": {"type": "boolean", "description": "the GPU is a CPU"},
        "agree": {
            "description": "whether the results do, field by field for objects",
            "type": ["boolean", "object", "null"],
            "additionalProperties": {"type": "boolean"},
        },
    },
}


def openapi(functions: Iterable[FunctionSpec]) -> dict[str, Any]:
    """The document for `GET /openapi.json`: one path per function, and the invocations'."""
    schemas: dict[str, Any] = {
        "Problem": {
            "type": "object",
            "description": "RFC 9457 problem details",
            "properties": {
                "type": {"type": "string"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string"},
                "invocation_id": {"type": "string"},
                "errors": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "pointer": {"type": "string"},
                            "detail": {"type": "string"},
                        },
                    },
                },
            },
        }
    }
    specs = list(functions)
    if any(_comparable(spec) for spec in specs):
        schemas["Comparison"] = _COMPARISON
    paths = {f"/invoke/{spec.name}": _path(spec, schemas) for spec in specs}
    paths |= _invocation_paths() | _letter_paths() | _batch_paths()
    return {
        "openapi": "3.1.0",
        "info": {"title": "Lumbre", "version": "0.1.0"},
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "paths": paths,
        "security": [{}, {"key": []}],  # without a key, too, where none is asked for
        "components": {"schemas": schemas, "securitySchemes": {"key": KEY}},
    }


def _path(spec: FunctionSpec, schemas: dict[str, Any]) -> dict[str, Any]:
    given = _lift(spec.name, "input", spec.input_schema, schemas)
    returned = _lift(spec.name, "output", spec.output_schema, schemas)
    content: dict[str, Any] = {JSON: {"schema": given}}
    if spec.binary:
        content["multipart/form-data"] = {"schema": given}
        content |= {media_type: {} for media_type in dict.fromkeys(spec.binary.values())}
    summary, _, description = spec.description.partition("\n")
    what, results = "the function's result", _content(returned)
    if _comparable(spec):
        what = f"{what}; with device=compare, both runs side by side"
        results = _or_comparison(results)
    answers: dict[str, Any] = {
        "200": {"description": what, "content": results},
        "202": {"description": "accepted and durable; Location says where its outcome will be"},
    }
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for status, what in PROBLEMS.items():
        answers[status] = {"description": what, "content": problem}
    return {
        "post": {
            "operationId": f"invoke_{spec.name}",
            "summary": summary,
            "description": description.strip(),
            "parameters": [
                {
                    "name": "device",
                    "in": "query",
                    "schema": {
                        "enum": ["auto", *spec.devices, *(["compare"] * _comparable(spec))],
                        "default": "auto",
                    },
                },
                _header("Prefer", "respond-async, or wait=SECONDS"),
                _header("Idempotency-Key", "the same key and input give the same invocation"),
            ],
            "requestBody": {"content": content},
            "responses": answers,
        }
    }


def _comparable(spec: FunctionSpec) -> bool:
    """Whether `device=compare` can be asked for."""
    return set(spec.devices) >= {*DEVICES}


def _or_comparison(content: dict[str, Any]) -> dict[str, Any]:
    """The media types of a result, where the answer may be a comparison instead."""
    reference = {"$ref": "#/components/schemas/Comparison"}
    if JSON not in content:
        return {JSON: {"schema": reference}, **content}
    schema = content[JSON]["schema"]
    choices = schema["anyOf"] if schema.keys() == {"anyOf"} else [schema]
    return {**content, JSON: {"schema": {"anyOf": [*choices, reference]}}}


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    """Media types of a result: JSON, and those of the bytes that it may be instead."""
    choices = schema.get("anyOf", [schema])
    raw: dict[str, Any] = {
        choice["contentMediaType"]: {} for choice in choices if "contentMediaType" in choice
    }
    plain = [choice for choice in choices if "contentMediaType" not in choice]
    if not plain:
        return raw
    return {JSON: {"schema": plain[0] if len(plain) == 1 else {"anyOf": plain}}, **raw}


def _header(name: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "description": description,
        "schema": {"type": "string"},
    }


def _lift(function: str, side: str, schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """Move a schema's `$defs` to the components, under names of the function's own.

    Where it is a choice, each may have definitions.
    """
    prefix = f"{function}.{side}."
    for part in (schema, *schema.get("anyOf", ())):
        for name, definition in part.get("$defs", {}).items():
            schemas[prefix + name] = _point(definition, prefix)
    return _point(schema, prefix)


def _point(node: Any, prefix: str) -> Any:
    if isinstance(node, list):
        return [_point(item, prefix) for item in node]
    if not isinstance(node, dict):
        return node
    pointed = {key: _point(value, prefix) for key, value in node.items() if key != "$defs"}
    reference = pointed.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/$defs/"):
        name = reference.removeprefix("#/$defs/")
        pointed["$ref"] = f"#/components/schemas/{prefix}{name}"
    return pointed


def _batch_paths() -> dict[str, Any]:
    line = {"schema": {"type": "object", "description": "the parameters of one item"}}
    whole = {
        "type": "object",
        "required": ["function", "items"],
        "properties": {
            "function": {"type": "string"},
            "device": {"enum": ["auto", "cpu", "gpu"], "default": "auto"},
            "items": {"type": "array", "items": {"type": "object"}},
        },
    }
    one = "/batches/{id}"
    return {
        "/batches": {
            "get": _call("batches, newest first"),
            "post": {
                "summary": "run a function for many inputs",
                "parameters": [_asked("function"), _asked("device")],
                "requestBody": {"content": {"application/x-ndjson": line, JSON: {"schema": whole}}},
                "responses": {"202": {"description": "every item is durable"}},
            },
        },
        one: {
            "parameters": [_ID],
            "get": _call("how far a batch is"),
            "delete": _call("cancel a batch"),
        },
        f"{one}/results": {
            "parameters": [_ID],
            "get": _call("its results, a line of JSON each, as they come")
            | {"parameters": [_asked("wait"), _asked("order"), _asked("after")]},
        },
    }


def _letter_paths() -> dict[str, Any]:
    function = {**_asked("function"), "required": True}
    parameters = {"content": {JSON: {"schema": {"type": "object"}}}}
    order = {
        "type": "object",
        "required": ["function"],
        "properties": {
            "function": {"type": "string"},
            "ids": {"type": "array", "items": {"type": "string"}},
            "all": {"type": "boolean"},
        },
    }
    many = {"requestBody": {"content": {JSON: {"schema": order}}}}
    return {
        "/dead-letters": {
            "get": _call("invocations that were given up on, oldest first")
            | {"parameters": [_asked("function"), _asked("limit")]}
        },
        "/dead-letters/{id}": {
            "parameters": [_ID, function],
            "delete": _call("throw a dead letter away"),
        },
        "/dead-letters/{id}/replay": {
            "parameters": [_ID, function, _asked("device")],
            "post": _call("run it again, with other parameters where some are given")
            | {"requestBody": parameters},
        },
        "/dead-letters/replay": {
            "post": _call("run many again; a line of JSON each, and a last one that adds up")
            | {"parameters": [_asked("device")]}
            | many
        },
        "/dead-letters/discard": {"post": _call("throw many away, told likewise") | many},
    }


_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}


def _asked(name: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": "string"}}


def _call(summary: str) -> dict[str, Any]:
    return {"summary": summary, "responses": {"200": {"description": summary}}}


def _invocation_paths() -> dict[str, Any]:
    id, call = _ID, _call
    name = {**id, "name": "name"}
    one = "/invocations/{id}"
    return {
        "/invocations": {"get": call("invocations, newest first") | {"parameters": _filters()}},
        one: {
            "parameters": [id],
            "get": call("an invocation"),
            "put": call("create an invocation under the caller's own id")
            | {"parameters": [{**id, "name": "function", "in": "query"}]},
            "delete": call("cancel an invocation"),
        },
        f"{one}/result": {"parameters": [id], "get": call("its raw result")},
        f"{one}/events": {"parameters": [id], "get": call("its events, as server-sent events")},
        f"{one}/logs": {"parameters": [id], "get": call("its captured output")},
        f"{one}/blobs/{{name}}": {
            "parameters": [id, name],
            "get": call("bytes that were uploaded for it, or that it keeps beside its result"),
        },
        f"{one}/replay": {"parameters": [id], "post": call("run it again with the same input")},
        "/functions": {"get": call("functions")},
        "/functions/{name}": {"parameters": [name], "get": call("a function")},
    }


def _filters() -> list[dict[str, Any]]:
    """What a list of invocations may be filtered by, each of them optional."""
    return [
        {"name": name, "in": "query", "schema": {"type": "string"}}
        for name in (*NAMES, "cursor", "limit")
    ]
