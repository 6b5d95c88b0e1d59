"""What schemas take, in words."""

from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, TypeAdapter

from console.shape import in_words, resolved


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Leaf(BaseModel):
    x: float
    tags: list[str] = []


class Tree(BaseModel):
    leaf: Leaf
    under: "list[Tree]" = []


CASES: list[tuple[Any, str]] = [
    (int, "whole number"),
    (Annotated[int, Field(ge=1, le=16384)], "whole number from 1 to 16,384"),
    (Annotated[int, Field(ge=0, lt=2**32)], "whole number from 0 to below 4,294,967,296"),
    (Annotated[float, Field(gt=0)], "number above 0"),
    (Annotated[float, Field(le=0.5)], "number up to 0.5"),
    (Annotated[int, Field(ge=2)], "whole number from 2 on"),
    (Annotated[int, Field(multiple_of=8)], "whole number in steps of 8"),
    (str, "text"),
    (Annotated[str, Field(max_length=40)], "text of up to 40 characters"),
    (Annotated[str, Field(min_length=2, max_length=2)], "text of 2 characters"),
    (Annotated[str, Field(pattern="^a+$")], "text that matches ^a+$"),
    (bool | None, "true or false or null"),
    (Literal["a", "b"], 'one of "a", "b"'),
    (Literal["a"], '"a"'),
    (Colour, 'one of "red", "blue"'),
    (list[int], "list of whole numbers"),
    (Annotated[list[float], Field(min_length=1, max_length=3)], "list of 1 to 3 numbers"),
    (list[list[int]], "list of lists of whole numbers"),
    (dict[str, int], "object of whole numbers by name"),
    (tuple[int, str], "list of whole number, text"),
    (Leaf, "object with x (number), tags (list of texts)"),
    (int | str, "whole number or text"),
    (Any, "any JSON"),
]


@pytest.mark.parametrize(("hint", "words"), CASES)
def test_a_schema_is_said_in_words(hint: Any, words: str) -> None:
    schema = TypeAdapter(hint).json_schema()
    assert in_words(schema, schema) == words


def test_a_schema_within_itself_is_said_to_an_end() -> None:
    schema = TypeAdapter(Tree).json_schema()
    said = in_words(schema, schema)
    assert said.startswith("object with leaf (object with x (number), tags (list of texts)), under")
    assert len(said) < 500


def test_a_reference_that_leads_nowhere_is_any_json() -> None:
    assert resolved({"$ref": "#/$defs/Lost", "description": "kept"}, {}) == {"description": "kept"}
    round_about = {"$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}}
    assert in_words({"$ref": "#/$defs/A"}, round_about) == "any JSON"
