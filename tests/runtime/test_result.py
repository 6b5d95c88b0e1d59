"""What a function returns, as bytes: JSON for what JSON can say, .npy for arrays, raw for bytes."""

import dataclasses
import datetime
import decimal
import enum
import io
import math
import uuid
from typing import Any

import numpy as np
import orjson
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import BaseModel

from runtime import Blob
from runtime.model import JSON
from runtime.result import NPY, OCTETS, ResultNotSerializable, serialize, to_json

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


class Point(BaseModel):
    x: float
    y: float = math.nan


@dataclasses.dataclass
class Pair:
    a: int
    b: list[float]


class Colour(enum.Enum):
    RED = "red"


class Odd:
    """Nothing that JSON has a word for."""


def decoded(value: Any) -> Any:
    """A result as its caller reads it, where it is JSON."""
    body, media_type = serialize(value, OCTETS)
    assert media_type == JSON
    return orjson.loads(body)


def array(value: Any) -> Any:
    """A result as its caller loads it, where it is an array."""
    body, media_type = serialize(value, OCTETS)
    assert media_type == NPY
    return np.load(io.BytesIO(body), allow_pickle=False)


@given(json_values)
def test_what_json_can_say_comes_back_equal(value: Any) -> None:
    if any(abs(n) >= 2**63 for n in integers(value)):
        return  # said with all digits, but orjson does not read it back
    assert decoded(value) == value


def integers(value: Any) -> list[int]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [n for inner in value for n in integers(inner)]
    return [value] if isinstance(value, int) else []


def test_integers_of_any_size_keep_their_digits() -> None:
    assert to_json({"n": 2**200}) == b'{"n":%d}' % 2**200
    assert to_json(2**70) == b"%d" % 2**70


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (math.nan, None),
        ([math.inf, -math.inf, 1.5], [None, None, 1.5]),
        ({"loss": math.nan}, {"loss": None}),
        (Point(x=math.nan, y=1), {"x": None, "y": 1}),
        ({"at": Point(x=1)}, {"at": {"x": 1, "y": None}}),
        (Pair(1, [math.nan, 2.0]), {"a": 1, "b": [None, 2.0]}),
        ({"pair": Pair(1, [math.nan])}, {"pair": {"a": 1, "b": [None]}}),
        ((1, 2), [1, 2]),
        ({1, 2}, [1, 2]),
        ({"seen": {3}}, {"seen": [3]}),
        ({1: "one", None: "none"}, {"1": "one", "null": "none"}),
        (Colour.RED, "red"),
        ({"colour": Colour.RED}, {"colour": "red"}),
        (uuid.UUID(int=1), str(uuid.UUID(int=1))),
        (datetime.date(2026, 11, 23), "2026-11-23"),
        ({"price": decimal.Decimal("1.10")}, {"price": "1.10"}),
    ],
)
def test_python_values_become_json(value: Any, expected: Any) -> None:
    assert decoded(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.array(3), 3),
        (np.float64("nan"), None),
        (torch.tensor(2.5), 2.5),
        (torch.tensor(True), True),
        (torch.tensor(math.inf), None),
        ({"n": np.int32(1), "x": np.float16(0.5)}, {"n": 1, "x": 0.5}),
        ({"row": np.array([1.0, math.nan])}, {"row": [1.0, None]}),
        ({"grid": torch.tensor([[1, 2], [3, 4]])}, {"grid": [[1, 2], [3, 4]]}),
        ([torch.tensor(1.0), np.array([[math.inf]])], [1.0, [[None]]]),
        ({"deep": {"nan": np.array([[math.nan, 1.0]])}}, {"deep": {"nan": [[None, 1.0]]}}),
    ],
)
def test_scalars_and_arrays_inside_a_result_become_json(value: Any, expected: Any) -> None:
    assert decoded(value) == expected


@given(
    hnp.arrays(
        hnp.scalar_dtypes().filter(lambda dtype: dtype.kind in "biufc"),
        hnp.array_shapes(max_dims=3, max_side=4),
    )
)
def test_an_array_of_numbers_comes_back_bit_by_bit(value: Any) -> None:
    again = array(value)
    assert again.dtype == value.dtype and again.shape == value.shape
    assert again.tobytes() == value.tobytes()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (torch.arange(3), np.arange(3)),
        (torch.zeros(2, 0), np.zeros((2, 0), np.float32)),
        (torch.ones(2, requires_grad=True), np.ones(2, np.float32)),
        (torch.nn.Parameter(torch.ones(2)), np.ones(2, np.float32)),
        (torch.ones(2, dtype=torch.bfloat16), np.ones(2, np.float32)),
        (torch.ones(2, dtype=torch.float8_e5m2), np.ones(2, np.float32)),
        (torch.tensor([1 + 2j]).conj(), np.array([1 - 2j], np.complex64)),
        (torch.arange(6).reshape(2, 3).T, np.arange(6).reshape(2, 3).T),
    ],
)
def test_a_tensor_becomes_an_npy(value: Any, expected: Any) -> None:
    again = array(value)
    assert again.dtype == expected.dtype
    np.testing.assert_array_equal(again, expected)


@pytest.mark.parametrize("value", [b"ab", bytearray(b"ab"), memoryview(b"ab")])
def test_bytes_go_as_they_are_under_the_annotated_media_type(value: Any) -> None:
    assert serialize(value, "image/png") == (b"ab", "image/png")


def test_a_blob_says_its_own_media_type() -> None:
    assert serialize(Blob(b"ab", "text/csv"), "image/png") == (b"ab", "text/csv")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (Odd(), "a Odd"),
        ({"odd": Odd()}, "a dict of 1"),
        ([Odd()] * 3, "a list of 3"),
        (ValueError("returned, not raised"), "a ValueError"),
        (lambda: None, "a function"),
        ("\ud800", "a str of 1"),
        (np.array([Odd()]), "a ndarray"),
        (torch.eye(3).to_sparse(), "a Tensor"),
    ],
)
def test_what_has_no_json_form_is_refused_by_name(value: Any, kind: str) -> None:
    with pytest.raises(ResultNotSerializable, match=f"the function returned {kind}"):
        serialize(value, OCTETS)


def test_a_list_nested_too_deep_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ResultNotSerializable, match="a list of 1"):
        serialize(deep, OCTETS)


def test_a_list_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ResultNotSerializable, match="a list of 1"):
        serialize(loop, OCTETS)
