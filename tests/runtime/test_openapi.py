"""The OpenAPI document: valid, whole, and true to the functions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from pydantic import BaseModel, Field

from runtime import function
from runtime.function import MARK, Blob, MediaType, describe
from runtime.openapi import PROBLEMS, openapi
from tests.support import NodeFactory, RunningNode

FUNCTIONS = Path(__file__).parent / "http_functions"
PNG = Annotated[bytes, MediaType("image/png")]


class Inner(BaseModel):
    depth: Annotated[int, Field(ge=1)]


class Outer(BaseModel):
    inner: Inner
    others: list[Inner] = []


class Tree(BaseModel):
    children: list["Tree"] = []


@function
def nested(outer: Outer, tree: Tree, n: Annotated[int, Field(description="how many")] = 1) -> Tree:
    """Take models within models.

    And say more
    about it.
    """
    return tree


@function
def maybe() -> Outer | None:
    return None


@function
def either() -> Outer | Tree | PNG:
    return b""


@function(devices=("cpu", "gpu"))
def pictures(left: PNG, right: bytes, scale: int = 1) -> Blob:
    return Blob(left)


@function(devices=("cpu", "gpu"))
def both(n: int) -> int:
    return n


@function
def anything(value: Any = None) -> Any:
    return value


def document(*targets: Any) -> dict[str, Any]:
    specs = [describe(t, file="f.py", attribute=getattr(t, MARK).name) for t in targets]
    told = openapi(specs)
    validate(told, cls=OpenAPIV31SpecValidator)
    return told


def references(node: Any) -> Iterator[str]:
    """Every $ref of a document."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from references(item)


def resolved(told: dict[str, Any], reference: str) -> Any:
    value: Any = told
    for step in reference.removeprefix("#/").split("/"):
        value = value[step]
    return value


def post(told: dict[str, Any], name: str) -> dict[str, Any]:
    operation: dict[str, Any] = told["paths"][f"/invoke/{name}"]["post"]
    return operation


def result(told: dict[str, Any], name: str) -> dict[str, Any]:
    content: dict[str, Any] = post(told, name)["responses"]["200"]["content"]
    return content


def test_a_document_without_functions_is_valid() -> None:
    told = document()
    assert told["openapi"] == "3.1.0"
    assert "/invocations/{id}" in told["paths"]


@pytest.mark.parametrize("target", [nested, maybe, either, pictures, anything])
def test_every_reference_of_a_function_leads_somewhere(target: Any) -> None:
    told = document(target)
    for reference in references(told):
        assert resolved(told, reference)


def test_functions_with_models_of_one_name_do_not_mix() -> None:
    told = document(nested, maybe, either)
    assert {"nested.input.Inner", "maybe.output.Inner"} <= told["components"]["schemas"].keys()
    assert resolved(told, "#/components/schemas/nested.input.Inner")["properties"]["depth"] == {
        "minimum": 1,
        "type": "integer",
    }


def test_parameters_bounds_and_words_are_told() -> None:
    operation = post(document(nested), "nested")
    assert operation["summary"] == "Take models within models."
    assert operation["description"] == "And say more\nabout it."
    assert operation["operationId"] == "invoke_nested"
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]["n"] == {
        "type": "integer",
        "description": "how many",
        "default": 1,
    }
    assert schema["required"] == ["outer", "tree"]
    assert operation["responses"].keys() == {"200", "202", *PROBLEMS}


def test_bytes_are_taken_as_forms_and_raw() -> None:
    operation = post(document(pictures), "pictures")
    content = operation["requestBody"]["content"]
    assert content.keys() == {
        "application/json",
        "multipart/form-data",
        "image/png",
        "application/octet-stream",
    }
    form = content["multipart/form-data"]["schema"]["properties"]
    assert form["left"]["contentMediaType"] == "image/png"
    device = next(p for p in operation["parameters"] if p["name"] == "device")
    assert device["schema"]["enum"] == ["auto", "cpu", "gpu", "compare"]


def test_results_are_told_by_media_type_and_schema() -> None:
    told = document(maybe, either, pictures, nested, anything)
    (json,) = result(told, "maybe").values()
    assert {"type": "null"} in json["schema"]["anyOf"]
    assert result(told, "either").keys() == {"application/json", "image/png"}
    assert len(result(told, "either")["application/json"]["schema"]["anyOf"]) == 2
    compared = {"application/json": {"schema": {"$ref": "#/components/schemas/Comparison"}}}
    assert result(told, "pictures") == {"application/octet-stream": {}} | compared
    assert result(told, "nested")["application/json"]["schema"]
    assert result(told, "anything") == {"application/json": {"schema": {}}}


@pytest.fixture(scope="module")
def node(start_node: NodeFactory) -> RunningNode:
    return start_node(FUNCTIONS)


def test_a_node_tells_a_valid_document_of_all_its_functions(node: RunningNode) -> None:
    answer = node.client.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    validate(told, cls=OpenAPIV31SpecValidator)
    for item in node.client.get("/functions").json()["items"]:
        assert (f"/invoke/{item['name']}" in told["paths"]) == (item["error"] is None)
    for reference in references(told):
        assert resolved(told, reference)


def test_every_path_of_the_document_is_served_and_every_method(node: RunningNode) -> None:
    for path, item in node.client.get("/openapi.json").json()["paths"].items():
        real = path.replace("{id}", "unknown").replace("{name}", "unknown")
        methods = {name.upper() for name in item} & {"GET", "PUT", "POST", "DELETE"}
        allowed = node.client.request("OPTIONS", real).headers["allow"].split(", ")
        assert methods == set(allowed) - {"HEAD"}


def test_a_function_of_both_devices_can_be_compared() -> None:
    told = document(pictures, both, anything)
    schemas = told["components"]["schemas"]
    assert schemas["Comparison"]["required"] == ["cpu", "gpu", "speedup", "simulated", "agree"]

    def asked(name: str) -> tuple[list[str], dict[str, Any]]:
        operation = told["paths"][f"/invoke/{name}"]["post"]
        (device,) = [p for p in operation["parameters"] if p["name"] == "device"]
        return device["schema"]["enum"], operation["responses"]["200"]["content"]

    reference = {"$ref": "#/components/schemas/Comparison"}
    devices, content = asked("pictures")
    assert devices == ["auto", "cpu", "gpu", "compare"]
    assert content["application/json"]["schema"] == reference
    assert "application/octet-stream" in content
    _, content = asked("both")
    assert content["application/json"]["schema"]["anyOf"][-1] == reference
    devices, _ = asked("anything")
    assert devices == ["auto", "cpu"]
    assert "Comparison" not in document(anything)["components"]["schemas"]
