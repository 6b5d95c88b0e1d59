"""A function's page, from the schemas that @function really makes."""

import shlex
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field
from rich.console import Console

from runtime import Blob, Context, MediaType, function
from runtime.cli.reference import examples, function_page, parameters, type_of
from runtime.function import Arguments, describe
from runtime.model import DEVICES


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Layer(BaseModel):
    """One layer of a network."""

    units: Annotated[int, Field(ge=1)]
    activation: Literal["relu", "tanh"] = "relu"


class Trained(BaseModel):
    loss: Annotated[float, Field(description="of the last epoch")]
    layers: list[Layer]


@function(devices=("cpu", "gpu"))
def train(
    context: Context,
    layers: list[Layer],
    rate: Annotated[float, Field(gt=0, lt=1, description="of learning")],
    colour: Colour = Colour.RED,
    name: Annotated[str, Field(min_length=2)] | None = None,
    weights: Annotated[bytes | None, MediaType("model/x")] = None,
) -> Trained | Blob:
    """Train [bold]something[/bold]."""
    raise NotImplementedError


@function
def convert(picture: Annotated[bytes, MediaType("image/png")], quality: int) -> bytes:
    """Convert a picture."""
    raise NotImplementedError


@function
def nothing() -> None:
    """Do nothing."""


def view(target: Any) -> dict[str, Any]:
    """A function as the API shows it, with nothing running."""
    spec = describe(target, file="/f.py", attribute="f")
    return {
        "name": spec.name,
        "description": spec.description,
        "file": spec.file,
        "version": "1",
        "devices": list(spec.devices),
        "input_schema": spec.input_schema,
        "output_schema": spec.output_schema,
        "binary": spec.binary,
        "streams": False,
        "timeout": 60.0,
        "cost": None,
        "max_attempts": 3,
        "scaling": {
            d: {"min_replicas": 0, "max_replicas": None, "target": 4.0, "cooldown": 60.0}
            for d in DEVICES
        },
        "backlog": {d: {"ready": 2, "unacknowledged": 1, "dead": 0} for d in DEVICES},
        "replicas": {d: {"starting": 1, "ready": 0, "busy": 1, "draining": 0} for d in DEVICES},
        "latency": dict.fromkeys(DEVICES),
        "speedup": {
            "ratio": 3.5,
            "interval": [3.0, 4.25],
            "pairs": 10,
            "basis": "same inputs",
            "enough": True,
            "median_run": {"cpu": 7.0, "gpu": 2.0},
            "n": {"cpu": 10, "gpu": 10},
            "simulated": True,
        },
        "waiting": {"cpu": None, "gpu": {"cause": "no_gpu", "detail": "no GPU here"}},
        "error": None,
    }


def shown(target: Any) -> str:
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(function_page(view(target), "http://node"))
    return capture.get()


def test_types_bounds_and_defaults_are_in_words() -> None:
    told = {p.name: (p.type, p.default, p.bounds) for p in parameters(view(train)["input_schema"])}
    assert told["layers"] == ("list of Layer", "required", "")
    assert told["rate"] == ("number", "required", "> 0, < 1")
    assert told["colour"][:1] == ("red | blue",)
    assert told["name"] == ("string | null", "optional", "at least 2 characters")
    assert told["weights"][:2] == ("bytes (model/x)", "optional")


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({}, "anything"),
        ({"type": ["integer", "null"]}, "integer | null"),
        ({"const": 3}, "3"),
        ({"type": "array"}, "list"),
        ({"$ref": "#/$defs/Gone"}, "anything"),
    ],
)
def test_any_schema_has_words(schema: dict[str, Any], words: str) -> None:
    assert type_of(schema, {}) == words


@pytest.mark.parametrize("target", [train, convert, nothing])
def test_the_example_is_a_call_that_the_schema_accepts(target: Any) -> None:
    given = view(target)
    own, curl = examples(given, "http://node")
    words = shlex.split(own)
    assert words[:3] == ["lumbre", "invoke", given["name"]]
    assert "http://node/invoke/" in curl
    if "-d" in (curled := shlex.split(curl)):
        Arguments(target).build(curled[curled.index("-d") + 1].encode(), {})
    else:
        assert "-F picture=@FILE" in curl and "picture=@FILE" in words
        assert "quality=1" in words


def test_the_page_shows_everything_and_no_markup_of_the_user_is_taken() -> None:
    page = shown(train)
    for part in (
        "Train [bold]something[/bold].",
        "Trained | bytes (application/octet-stream)",
        "of the last epoch",
        "3.5 × (3 to 4.25) on a simulated GPU, same inputs: cpu 7 s, gpu 2 s, medians",
        "no GPU here",
        "2 (1 busy, 1 starting)",
        "0 to all slots",
    ):
        assert part in page


def test_a_function_without_parameters_is_called_with_an_empty_object() -> None:
    page = shown(nothing)
    assert "parameters\n  none\n" in page
    assert "curl http://node/invoke/nothing -d '{}'" in page
