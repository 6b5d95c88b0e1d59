"""`@function`: the signature is the schema, and what cannot work is refused in a sentence."""

import dataclasses
import inspect
import keyword
import math
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any, Literal, TypedDict

import jsonschema_rs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from runtime import Batching, Blob, Context, MediaType, Resources, Retry, Scaling, function
from runtime.errors import ConfigurationError, InvalidInput
from runtime.function import Arguments, FunctionSpec, describe, spec_from_json


class Layer(BaseModel):
    width: int = Field(ge=1)
    kind: Literal["dense", "conv"] = "dense"


class Item(TypedDict):
    x: int


class Unknown:
    """A class that pydantic knows nothing of."""


def spec_of(target: Any, **arguments: Any) -> FunctionSpec:
    return describe(function(**arguments)(target), file="f.py", attribute="f")


def build(target: Any, parameters: Any, blobs: dict[str, bytes] | None = None) -> Any:
    return Arguments(target).build(orjson.dumps(parameters), blobs or {})


# ── what is refused ───────────────────────────────────────────────────────────────────────────────


def no_annotation(n): ...  # type: ignore[no-untyped-def]
def stars(*numbers: int) -> int: ...  # type: ignore[empty-body]
def double_stars(**named: int) -> int: ...  # type: ignore[empty-body]
def positional(n: int, /) -> int: ...  # type: ignore[empty-body]
async def coroutine(n: int) -> int: ...  # type: ignore[empty-body]
async def stream(n: int) -> AsyncIterator[int]:
    yield n


def takes_device(device: str) -> str: ...  # type: ignore[empty-body]
def takes_unknown(thing: Unknown) -> int: ...  # type: ignore[empty-body]
def takes_callable(call: Callable[[int], int]) -> int: ...  # type: ignore[empty-body]
def unresolved(n: "Nowhere") -> int: ...  # type: ignore[name-defined,empty-body]  # noqa: F821
def one_item(item: Item) -> int: ...  # type: ignore[empty-body]
def two_lists(items: list[Item], more: int) -> list[int]: ...  # type: ignore[empty-body]
def numbers(items: list[int]) -> list[int]: ...  # type: ignore[empty-body]
def generated(items: list[Item]) -> Iterator[int]:
    yield 1


class Uncallable:
    def setup(self, context: Context) -> None: ...


@pytest.mark.parametrize(
    ("target", "arguments", "sentence"),
    [
        (no_annotation, {}, "has no type for parameter 'n': write `n: int`, say"),
        (stars, {}, r"takes \*numbers: int: give each parameter a name"),
        (double_stars, {}, r"takes \*\*named: int: give each parameter a name"),
        (positional, {}, "takes n: int: give each parameter a name"),
        (coroutine, {}, "is async; .*write plain `def`"),
        (stream, {}, "is async; .*write plain `def`"),
        (takes_device, {}, "a parameter named 'device', which is reserved: rename it"),
        (takes_unknown, {}, "a parameter that JSON cannot fill .*Unknown.*: take numbers"),
        (takes_callable, {}, "a parameter that JSON cannot fill .*: take numbers"),
        (unresolved, {}, "an annotation that cannot be resolved: .*Nowhere"),
        (Uncallable, {}, "a class without __call__"),
        (one_item, {"batching": Batching(4)}, "is batched: let it take `items: list"),
        (two_lists, {"batching": Batching(4)}, "is batched: let it take `items: list"),
        (numbers, {"batching": Batching(4)}, "is batched over .*use a pydantic model"),
        (generated, {"batching": Batching(4)}, "is batched and a generator"),
    ],
)
def test_a_signature_that_cannot_work_is_refused_in_a_sentence(
    target: Any, arguments: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        spec_of(target, **arguments)


def good(n: int) -> int:
    return n


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"name": "Upper"}, "name must be lower case"),
        ({"name": "a" * 64}, "name must be lower case"),
        ({"name": "1st"}, "name must be lower case"),
        ({"name": ""}, "name must be lower case"),
        ({"devices": ()}, "give 'cpu', 'gpu' or both"),
        ({"devices": ("tpu",)}, "give 'cpu', 'gpu' or both"),
        ({"devices": "gpu"}, "give 'cpu', 'gpu' or both"),
        ({"timeout": 0}, "seconds above 0"),
        ({"timeout": math.inf}, "not infinity"),
        ({"timeout": math.nan}, "seconds above 0"),
        ({"timeout": "60"}, "timeout is '60': give seconds"),
        ({"max_attempts": 0}, "max_attempts must be at least 1"),
        ({"batching": Batching(0)}, "max_size ≥ 1"),
        ({"batching": Batching(2, -1)}, "max_wait ≥ 0"),
        ({"batching": Batching(2, math.inf)}, "max_wait ≥ 0"),
        ({"retries": Retry(max_attempts=0)}, "max_attempts ≥ 1"),
        ({"retries": Retry(backoff=-1)}, "backoff ≥ 0"),
        ({"retries": Retry(max_backoff=math.nan)}, "backoff ≥ 0"),
        ({"retries": Retry(on="ValueError")}, r"give a tuple of names, \('ValueError',\)"),  # type: ignore[arg-type]
        ({"scaling": {"gpu": Scaling()}}, "names 'gpu', which is not among devices"),
        ({"resources": Resources(cpu=0)}, "give at least 1 thread"),
        ({"resources": Resources(memory=0)}, "give bytes above 0"),
        ({"scaling": Scaling(min_replicas=-1)}, "min_replicas must not be negative"),
        ({"scaling": Scaling(max_replicas=0)}, "max_replicas must be at least 1"),
        ({"scaling": Scaling(min_replicas=3, max_replicas=2)}, "at least min_replicas"),
        ({"scaling": Scaling(target=0)}, "target must be above 0"),
        ({"scaling": Scaling(target=math.inf)}, "finite numbers"),
        ({"scaling": Scaling(activation=-1)}, "activation must not be negative"),
        ({"scaling": Scaling(polling_interval=0)}, "polling_interval must be above 0"),
        ({"scaling": Scaling(cooldown=-1)}, "must not be negative"),
    ],
)
def test_an_argument_that_cannot_work_is_refused_by_name(
    arguments: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigurationError, match=sentence) as caught:
        function(**arguments)(good)
    assert "good" in str(caught.value) or "name" in arguments


# ── what the spec says ────────────────────────────────────────────────────────────────────────────


def test_the_signature_is_the_schema() -> None:
    def train(
        context: Context,
        layers: list[Layer],
        rate: Annotated[float, Field(gt=0, description="learning rate")] = 0.1,
        image: Annotated[bytes | None, MediaType("image/png")] = None,
    ) -> Annotated[bytes, MediaType("image/png")]:
        """Train it.

        On data.
        """
        return b""

    spec = spec_of(train)
    schema = spec.input_schema
    assert spec.parameters == ("layers", "rate", "image")
    assert spec.binary == {"image": "image/png"}
    assert spec.description == "Train it.\n\nOn data."
    assert schema["required"] == ["layers"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["rate"] == {
        "default": 0.1,
        "description": "learning rate",
        "exclusiveMinimum": 0,
        "type": "number",
    }
    assert schema["properties"]["image"] == {"type": "string", "contentMediaType": "image/png"}
    assert spec.output_schema == {"type": "string", "contentMediaType": "image/png"}


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (int, {"type": "integer"}),
        (Blob, {"type": "string", "contentMediaType": "application/octet-stream"}),
        (bytes, {"type": "string", "contentMediaType": "application/octet-stream"}),
        (Any, {}),
    ],
)
def test_the_return_annotation_is_the_output_schema(hint: Any, schema: dict[str, Any]) -> None:
    def f() -> Any: ...

    f.__annotations__["return"] = hint
    assert spec_of(f).output_schema == schema


def test_a_result_of_any_type_may_be_annotated() -> None:
    def f() -> Unknown:
        return Unknown()

    assert "not described" in spec_of(f).output_schema["description"]


def test_a_generator_streams_and_its_output_is_one_event() -> None:
    def f(n: int) -> Iterator[Layer]:
        yield Layer(width=n)

    spec = spec_of(f)
    assert spec.streams
    assert set(spec.output_schema["properties"]) == {"width", "kind"}


def test_a_batched_function_takes_the_fields_of_one_item() -> None:
    def f(items: list[Layer]) -> list[int]:
        return [item.width for item in items]

    spec = spec_of(f, batching=Batching(8))
    assert spec.parameters == ("width", "kind")
    assert spec.input_schema["properties"]["width"] == {"minimum": 1, "type": "integer"}
    assert spec.output_schema == {"type": "integer"}


def test_a_class_is_described_by_its_call() -> None:
    @function
    class ImageFilter:
        """Filter an image."""

        def __call__(self, context: Context, radius: int = 1) -> float:
            return 0.0

    spec = describe(ImageFilter, file="f.py", attribute="ImageFilter")
    assert (spec.name, spec.parameters) == ("image_filter", ("radius",))
    assert Arguments(ImageFilter).takes_context == "context"


def test_what_is_decorated_stays_plain_python() -> None:
    assert function(good) is good
    assert function(timeout=5)(good)(3) == 3


def test_one_scaling_stands_for_every_device_and_defaults_for_those_left_out() -> None:
    both = spec_of(good, devices=("cpu", "gpu"), scaling=Scaling(target=2))
    assert both.scaling == {"cpu": Scaling(target=2), "gpu": Scaling(target=2)}
    one = spec_of(good, devices=("cpu", "gpu"), scaling={"gpu": Scaling(target=2)})
    assert one.scaling == {"cpu": Scaling(), "gpu": Scaling(target=2)}


seconds = st.floats(0, 1e6)
scalings = st.builds(
    Scaling,
    min_replicas=st.integers(0, 3),
    max_replicas=st.none() | st.integers(3, 9),
    target=st.floats(0.1, 100),
    cooldown=seconds,
)


@given(
    scalings,
    st.none() | st.builds(Retry, st.integers(1, 9), st.just(("A", "b.C")), seconds, seconds),
    st.builds(Resources, st.none() | st.integers(1, 9), st.none() | st.integers(1, 2**63 - 1)),
    st.floats(0.001, 1e6),
)
def test_a_spec_survives_its_way_through_json(
    scaling: Scaling, retries: Retry | None, resources: Resources, timeout: float
) -> None:
    spec = spec_of(good, scaling=scaling, retries=retries, resources=resources, timeout=timeout)
    assert spec_from_json(orjson.loads(orjson.dumps(dataclasses.asdict(spec)))) == spec


# ── from JSON to arguments ────────────────────────────────────────────────────────────────────────

kinds: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(-(2**53), 2**53),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    str: st.text(),
    int | None: st.none() | st.integers(-1000, 1000),
    Literal["a", "b"]: st.sampled_from(["a", "b"]),
    list[int]: st.lists(st.integers(-1000, 1000)),
    dict[str, float]: st.dictionaries(
        st.text(), st.floats(allow_nan=False, allow_infinity=False), max_size=3
    ),
}
signatures = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True).filter(
        lambda n: n not in ("device", "context") and n.isidentifier()
    ),
    st.sampled_from(list(kinds)),
    min_size=1,
    max_size=5,
)


def made(hints: dict[str, Any]) -> Any:
    """A function of these parameters that gives its arguments back."""
    names = [n for n in hints if not keyword.iskeyword(n)]

    def echo(**arguments: Any) -> Any:
        return arguments

    echo.__annotations__ = {n: hints[n] for n in names}
    echo.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY) for n in names]
    )
    return function(echo)


@given(signatures, st.data())
def test_what_fits_the_schema_arrives_as_typed_arguments(
    hints: dict[str, Any], data: st.DataObject
) -> None:
    echo = made(hints)
    parameters = {n: data.draw(kinds[h]) for n, h in echo.__annotations__.items()}
    schema = Arguments(echo).schema()
    assert jsonschema_rs.Draft202012Validator(schema).is_valid(parameters)
    arguments = build(echo, parameters)
    assert arguments == parameters
    assert {n: type(v) for n, v in arguments.items()} == {n: type(v) for n, v in parameters.items()}


@given(
    st.dictionaries(
        st.sampled_from(["n", "kind", "extra"]),
        st.none()
        | st.booleans()
        | st.integers(-5, 5)
        | st.floats(-5, 5)
        | st.sampled_from(["dense", "conv", "x"]),
    )
)
def test_what_the_schema_refuses_never_reaches_the_function_as_something_else(
    parameters: dict[str, Any],
) -> None:
    def f(n: Annotated[int, Field(ge=0)], kind: Literal["dense", "conv"] = "dense") -> int:
        return n

    arguments = Arguments(function(f))
    fits = jsonschema_rs.Draft202012Validator(arguments.schema()).is_valid(parameters)
    try:
        built = arguments.build(orjson.dumps(parameters), {})
    except InvalidInput as error:
        assert not fits
        assert all(pointer in ("/n", "/kind", "/extra") for pointer, _ in error.errors)
    else:
        assert built["n"] == parameters["n"] and built["n"] >= 0
        assert built["kind"] == parameters.get("kind", "dense")


def test_faults_are_told_with_pointers_to_each_field() -> None:
    def f(layers: list[Layer], rate: float) -> int:
        return 0

    with pytest.raises(InvalidInput) as caught:
        build(function(f), {"layers": [{"width": 0}, {"kind": "x"}]})
    assert [pointer for pointer, _ in caught.value.errors] == [
        "/layers/0/width",
        "/layers/1/width",
        "/layers/1/kind",
        "/rate",
    ]


def test_bytes_come_beside_the_json() -> None:
    def f(image: bytes, radius: int = 1) -> int:
        return radius

    assert build(function(f), {"radius": 2}, {"image": b"\x00\xff"}) == {
        "image": b"\x00\xff",
        "radius": 2,
    }
    with pytest.raises(InvalidInput) as caught:
        build(function(f), {"radius": 2})
    assert caught.value.errors[0][0] == "/image"


def test_a_mutable_default_is_fresh_for_each_invocation() -> None:
    def f(rows: list[list[int]] = [[1]]) -> list[list[int]]:  # noqa: B006
        return rows

    first = build(function(f), {})
    first["rows"][0].append(2)
    assert build(function(f), {}) == {"rows": [[1]]}


def test_annotations_may_be_strings() -> None:
    def f(layer: "Layer", n: "int" = 1) -> "float":
        return 0.0

    assert build(function(f), {"layer": {"width": 2}}) == {"layer": Layer(width=2), "n": 1}
