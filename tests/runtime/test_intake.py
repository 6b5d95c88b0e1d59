"""From a request to an input: what is read, what is refused, and what is left behind."""

import asyncio
import contextlib
import os
from collections.abc import Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from runtime import intake
from runtime.blobs import Blobs
from runtime.errors import BadRequest, InvalidInput, LumbreError, TooLarge
from runtime.function import MARK, Arguments, describe, function
from runtime.intake import MAX_DEPTH, MAX_FAULTS, Intake, Validator, fingerprint, parse_object
from runtime.model import JSON, Part, Payload

ID = "0" * 32
SMALL = 64  # bytes that stand for INLINE_LIMIT, so that few bytes are many
LIMIT = 400  # bytes a body may have
WITHOUT = contextlib.nullcontext()
OCTETS = b"application/octet-stream"


class Layer(BaseModel):
    width: Annotated[int, Field(ge=1)]
    scale: float = 1.0


@function
def shape(
    n: Annotated[int, Field(ge=1, le=100)],
    kind: Literal["round", "square"] = "round",
    level: Literal[1, 2] = 1,
    note: str | None = None,
    ratio: float = 0.5,
    word: Annotated[str, Field(max_length=5)] = "",
    either: int | str = 0,
    layers: list[Layer] | None = None,
    named: dict[str, int] | None = None,
) -> None:
    """Take every kind of parameter."""


@function
def upload(image: bytes, scale: int = 1) -> None:
    """Take bytes and a number."""


@function
def pair(left: bytes, right: bytes, exact: bool = False) -> None:
    """Take two times bytes."""


def validator_of(target: Any) -> Validator:
    return Validator.of(describe(target, file="shape.py", attribute=getattr(target, MARK).name))


SHAPE = validator_of(shape)
UPLOAD = validator_of(upload)
PAIR = validator_of(pair)

numbers = (
    st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([-0.0, 3.0, 1e16, 1e20, 1e300])
)
texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(texts, values, max_size=5)
layers = st.fixed_dictionaries({"width": st.integers(-1, 5)}, optional={"scale": numbers})
# Mostly of the right names, and often of the right types: parameters that are sometimes valid.
parameters = st.fixed_dictionaries(
    {"n": st.integers(0, 101) | numbers},
    optional={
        "kind": st.sampled_from(["round", "oval"]) | values,
        "level": st.sampled_from([1, 2, 3, 1.0, True]),
        "note": texts | st.none() | numbers,
        "ratio": numbers | texts,
        "word": texts,
        "either": values,
        "layers": st.lists(layers, max_size=3) | values,
        "named": st.dictionaries(texts, numbers, max_size=3),
        "more": values,
    },
)


def depth_of(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(map(depth_of, inner), default=0)


# ── a JSON object ─────────────────────────────────────────────────────────────────────────────────


@given(st.binary() | st.text().map(lambda text: text.encode(errors="surrogatepass")))
def test_any_bytes_are_an_object_or_a_400(body: bytes) -> None:
    try:
        assert isinstance(parse_object(body), dict)
    except BadRequest as error:
        assert str(error)


@given(objects)
def test_every_object_that_is_not_too_deep_comes_back_as_it_was(value: dict[str, Any]) -> None:
    assert parse_object(orjson.dumps(value)) == value


@given(st.integers(1, 2 * MAX_DEPTH), st.data())
def test_depth_is_bounded_exactly(depth: int, data: st.DataObject) -> None:
    value: Any = 1
    for _ in range(depth - 1):
        other: list[Any] = data.draw(st.sampled_from([[], [1], ["[{"]]))
        value = [*other, value] if data.draw(st.booleans()) else {"a": value, "b": other}
    body = orjson.dumps({"a": value})
    if depth_of({"a": value}) <= MAX_DEPTH:
        assert parse_object(body) == {"a": value}
    else:
        with pytest.raises(BadRequest, match="deeper than 64"):
            parse_object(body)


def test_brackets_in_text_are_no_depth() -> None:
    assert parse_object(b'{"a": "' + b"[{" * 1000 + b'"}') == {"a": "[{" * 1000}
    wide: dict[str, Any] = {"a": [[] for _ in range(1000)]}
    assert parse_object(orjson.dumps(wide)) == wide


@pytest.mark.parametrize("body", [b"{" * 100_000, b'{"a":' + b"[" * 10_000_000, b"[" * 1025])
def test_no_depth_is_too_deep_to_be_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_object(body)


# ── against the schema ────────────────────────────────────────────────────────────────────────────


@given(parameters | objects)
@settings(max_examples=300)
def test_what_passes_can_always_be_built_and_what_does_not_names_each_fault(
    given: dict[str, Any],
) -> None:
    try:
        SHAPE.check(given)
    except InvalidInput as error:
        assert 1 <= len(error.errors) <= MAX_FAULTS
        for pointer, detail in error.errors:
            assert detail
            assert_points_into(given, pointer)
    else:
        with contextlib.suppress(InvalidInput) if has_vast_float(given) else WITHOUT:
            built = Arguments(shape).build(orjson.dumps(given), {})
            assert built.keys() == set(SHAPE.spec.parameters)


def has_vast_float(value: Any) -> bool:
    """JSON Schema calls 1e20 an integer, and pydantic does not: the replica refuses it."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return any(map(has_vast_float, inner))
    return isinstance(value, float) and abs(value) >= 2**53


def assert_points_into(value: Any, pointer: str) -> None:
    """A pointer leads to a value, or, in its last step, to one that is missing (RFC 6901)."""
    steps = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
    for at, step in enumerate(steps):
        if isinstance(value, list):
            value = value[int(step)]
        elif step in value:
            value = value[step]
        else:
            assert at == len(steps) - 1


@given(st.dictionaries(texts, st.just("x"), min_size=1, max_size=30))
def test_every_unknown_name_has_a_fault_of_its_own(unknown: dict[str, str]) -> None:
    unknown = {name: value for name, value in unknown.items() if name not in SHAPE.parameters}
    with pytest.raises(InvalidInput) as raised:
        SHAPE.check(unknown)
    pointers = [pointer for pointer, _ in raised.value.errors]
    assert pointers[0] == "/n"
    assert len(pointers) == len(set(pointers)) == min(1 + len(unknown), MAX_FAULTS)


def test_faults_say_what_would_be_right() -> None:
    wrong = {"kind": "oval", "ratio": "half", "layers": [{"width": 1}, {}], "nmae": 1, "zz": 1}
    with pytest.raises(InvalidInput) as raised:
        SHAPE.check(wrong)
    told = dict(raised.value.errors)
    assert told["/n"] == "is missing"
    assert '"round" or "square"' in told["/kind"]
    assert 'not of type "number"' in told["/ratio"]
    assert told["/nmae"] == "is no parameter of shape: did you mean 'named'?"
    assert told["/zz"].startswith("is no parameter of shape, which takes n, kind, level")
    assert told["/layers/1"] == '"width" is a required property'


def test_bytes_are_asked_for_as_uploads() -> None:
    how = "upload it, as in curl -F image=@FILE"
    with pytest.raises(InvalidInput) as raised:
        UPLOAD.check({"scale": "two"})
    assert dict(raised.value.errors).keys() == {"/image", "/scale"}
    assert dict(raised.value.errors)["/image"] == f"is missing: {how}"
    with pytest.raises(InvalidInput) as raised:
        UPLOAD.check({"image": "text"}, frozenset({"image"}))
    assert raised.value.errors == (("/image", f"takes bytes: {how}"),)
    UPLOAD.check({"scale": 2}, frozenset({"image"}))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"n": "x" * 1_000_000}, 'not of type "integer"'),
        ({"n": 1, "layers": ["x"] * 100_000}, "GET /functions/shape"),
        ({"n": 1, "named": {f"k{n}": "x" for n in range(100_000)}}, "GET /functions/shape"),
        ({"n": 1, "named": {"x" * 1_000_000: "y" * 1_000_000}}, 'not of type "integer"'),
        ({"n": 1} | {f"k{n}": 1 for n in range(100_000)}, "is no parameter of shape"),
        ({"n": 1, "x" * 1_000_000: 1}, "is no parameter of shape"),
    ],
    ids=["text", "list", "object", "nested name", "names", "name"],
)
@pytest.mark.timeout(10)
def test_faults_in_something_huge_are_told_soon_and_shortly(
    wrong: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidInput) as raised:
        SHAPE.check(wrong)
    assert len(str(raised.value)) < 10_000
    assert all(told in detail for _, detail in raised.value.errors)


# ── values from text ──────────────────────────────────────────────────────────────────────────────


@given(st.integers(-(2**53), 2**53))
def test_a_number_comes_back_from_its_text(number: int) -> None:
    assert SHAPE.value("n", str(number)) == number
    assert SHAPE.value("either", str(number)) == number
    assert SHAPE.value("ratio", repr(float(number))) == float(number)


@given(st.text() | st.integers().map(str) | st.sampled_from(["true", "null", "[1]", '"a"']))
def test_a_string_is_always_its_text(text: str) -> None:
    assert SHAPE.value("word", text) == text
    assert SHAPE.value("kind", text) == text
    assert SHAPE.value("unknown", text) == text
    if text != "null":
        assert SHAPE.value("note", text) in (text, text[1:-1])


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("level", "2", 2),
        ("note", "12", "12"),
        ("note", "null", None),
        ("note", "none", "none"),
        ("either", "word", "word"),
        ("layers", '[{"width": 2}]', [{"width": 2}]),
        ("named", '{"a": 1}', {"a": 1}),
        ("n", "many", "many"),
        ("n", "101", 101),
        ("word", "123456", "123456"),
    ],
)
def test_text_is_json_where_the_schema_takes_that(name: str, text: str, value: Any) -> None:
    assert SHAPE.value(name, text) == value


# ── the same again ────────────────────────────────────────────────────────────────────────────────

names = st.sampled_from(["left", "right", "extra"])
parts = st.dictionaries(names, st.binary(max_size=20), max_size=3)
asked = st.tuples(
    st.sampled_from(["shape", "upload"]), st.sampled_from(["auto", "cpu"]), objects, parts
)


def payload_of(parameters: dict[str, Any], parts: dict[str, bytes]) -> Payload:
    made = tuple(Part(n, "a/b", len(data), data, f"{ID}/{n}") for n, data in parts.items())
    return Payload(orjson.dumps(parameters), made)


@given(asked, asked)
def test_two_requests_have_one_fingerprint_only_if_they_are_the_same(
    one: tuple[str, str, dict[str, Any], dict[str, bytes]],
    two: tuple[str, str, dict[str, Any], dict[str, bytes]],
) -> None:
    blobs = Blobs("memory://unused")
    told = [fingerprint(f, d, payload_of(p, u), blobs) for f, d, p, u in (one, two)]
    same = orjson.dumps(one[2]) == orjson.dumps(two[2]) and (*one[:2], one[3]) == (*two[:2], two[3])
    assert (told[0] == told[1]) == same


@given(objects, parts, st.data())
@settings(max_examples=30)
def test_a_fingerprint_does_not_depend_on_where_the_bytes_lie_nor_on_their_order(
    parameters: dict[str, Any], uploads: dict[str, bytes], data: st.DataObject
) -> None:
    blobs = Blobs("memory://fingerprints")
    inline = payload_of(parameters, uploads)
    assert inline.parameters is not None
    stored = []
    for part in data.draw(st.permutations(inline.parts)):
        assert part.data is not None and part.key is not None
        blobs.write(part.key, part.data)
        stored.append(Part(part.name, part.media_type, part.size, None, part.key))
    blobs.write(f"{ID}/.input", inline.parameters)
    elsewhere = Payload(None, tuple(stored), f"{ID}/.input")
    assert fingerprint("f", "cpu", inline, blobs) == fingerprint("f", "cpu", elsewhere, blobs)


# ── reading a request ─────────────────────────────────────────────────────────────────────────────


class Request:
    """The ASGI messages of a request whose body comes in pieces."""

    def __init__(self, pieces: Sequence[bytes], *, cut: bool = False) -> None:
        self.messages: Iterator[MutableMapping[str, Any]] = iter(
            [
                *(
                    {"type": "http.request", "body": piece, "more_body": cut or n < len(pieces)}
                    for n, piece in enumerate(pieces, 1)
                ),
                {"type": "http.disconnect"},
            ]
        )

    async def receive(self) -> MutableMapping[str, Any]:
        return next(self.messages)


def pieces_of(body: bytes, cuts: Sequence[int]) -> list[bytes]:
    at = sorted({min(cut, len(body)) for cut in cuts})
    return [body[a:b] for a, b in zip([0, *at], [*at, len(body)], strict=True)]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make what is large small, so that few bytes cross every limit."""
    monkeypatch.setattr(intake, "INLINE_LIMIT", SMALL)


def read(
    blobs: Blobs,
    validator: Validator,
    request: Request,
    content_type: bytes,
    query: bytes = b"",
) -> Payload:
    headers = {b"content-type": content_type}
    reading = Intake(blobs, LIMIT).read(validator, ID, headers, query, request.receive)
    return asyncio.run(reading)


def form_of(uploads: dict[str, bytes], fields: dict[str, str]) -> bytes:
    file = '--limit\r\nContent-Disposition: form-data; name="{}"; filename="x"\r\n\r\n'
    field = '--limit\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    body = b"".join(file.format(n).encode() + data + b"\r\n" for n, data in uploads.items())
    return body + "".join(field.format(*f) for f in fields.items()).encode() + b"--limit--\r\n"


def left_behind(folder: Path) -> list[str]:
    return [name for _, folders, files in os.walk(folder) for name in folders + files]


cuts = st.lists(st.integers(0, LIMIT), max_size=5)
bodies = (
    st.integers(0, LIMIT + 50)
    .map(lambda size: bytes(range(256)) * 2 + b"x" * size)
    .flatmap(lambda body: st.integers(0, LIMIT + 50).map(lambda size: b"\0" + body[:size]))
)


@given(body=bodies, cuts=cuts)
@settings(max_examples=60)
@pytest.mark.usefixtures("small")
def test_a_raw_body_is_the_same_however_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, body: bytes, cuts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("blobs")
    blobs = Blobs(folder.as_uri())
    request = Request(pieces_of(body, cuts))
    if len(body) > LIMIT:
        with pytest.raises(TooLarge):
            read(blobs, UPLOAD, request, OCTETS)
        assert left_behind(folder) == []
        return
    payload = read(blobs, UPLOAD, request, OCTETS, b"scale=2")
    (part,) = payload.parts
    assert payload.parameters == b'{"scale":2}'
    assert (part.name, part.size, part.key) == ("image", len(body), f"{ID}/image")
    assert (part.data is None) == (len(body) > SMALL)
    assert part.data in (None, body)
    assert blobs.read(f"{ID}/image") == body
    assert left_behind(folder) == [ID, "image"]


@given(st.binary(max_size=150), st.binary(max_size=150), cuts)
@settings(max_examples=60)
@pytest.mark.usefixtures("small")
def test_a_form_is_the_same_however_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, left: bytes, right: bytes, cuts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("blobs")
    blobs = Blobs(folder.as_uri())
    body = form_of({"left": left, "right": right}, {"exact": "true"})
    request = Request(pieces_of(body, cuts))
    kind = b"multipart/form-data; boundary=limit"
    if len(body) > LIMIT:
        with pytest.raises(TooLarge):
            read(blobs, PAIR, request, kind)
        assert left_behind(folder) == []
        return
    payload = read(blobs, PAIR, request, kind)
    assert payload.parameters == b'{"exact":true}'
    assert [part.name for part in payload.parts] == ["left", "right"]
    assert [blobs.read(part.key or "") for part in payload.parts] == [left, right]


@given(value=parameters, cuts=cuts)
@settings(max_examples=60)
@pytest.mark.usefixtures("small")
def test_json_is_the_same_however_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, value: dict[str, Any], cuts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("blobs")
    blobs = Blobs(folder.as_uri())
    body = orjson.dumps(value)
    try:
        payload = read(blobs, SHAPE, Request(pieces_of(body, cuts)), JSON.encode())
    except (InvalidInput, TooLarge):
        assert left_behind(folder) == []
        return
    if len(body) > SMALL:
        assert payload.parameters is None
        assert blobs.read(payload.key or "") == body
    else:
        assert payload == Payload(body)
        assert left_behind(folder) == []


@given(
    st.sampled_from([JSON.encode(), OCTETS, b"multipart/form-data; boundary=limit", b""]),
    st.binary(max_size=LIMIT) | st.just(form_of({"left": b"l" * 99, "right": b"r"}, {})),
    st.sampled_from([b"", b"exact=true", b"exact=maybe", b"%ff=%ff&=&&a"]),
    cuts,
    st.booleans(),
)
@settings(max_examples=200)
@pytest.mark.usefixtures("small")
def test_whatever_is_refused_or_cut_short_leaves_no_blob(
    tmp_path_factory: pytest.TempPathFactory,
    kind: bytes,
    body: bytes,
    query: bytes,
    cuts: list[int],
    cut: bool,
) -> None:
    folder = tmp_path_factory.mktemp("blobs")
    blobs = Blobs(folder.as_uri())
    try:
        payload = read(blobs, PAIR, Request(pieces_of(body, cuts), cut=cut), kind, query)
    except LumbreError:
        assert left_behind(folder) == []
    else:
        assert not cut
        assert len(payload.parts) == 2


@pytest.mark.parametrize("target", [SHAPE, UPLOAD])
@pytest.mark.parametrize("kind", [JSON.encode(), OCTETS, b""])
def test_a_request_that_ends_before_its_body_is_none(
    tmp_path: Path, target: Validator, kind: bytes
) -> None:
    with pytest.raises(LumbreError):
        read(Blobs(tmp_path.as_uri()), target, Request([], cut=True), kind)
    if kind == JSON.encode() or target is UPLOAD:
        with pytest.raises(BadRequest, match="connection closed"):
            read(Blobs(tmp_path.as_uri()), target, Request([], cut=True), kind)


def test_a_length_over_the_limit_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    headers = {b"content-type": OCTETS, b"content-length": b"401"}
    reading = Intake(Blobs(tmp_path.as_uri()), LIMIT)

    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError("nothing should be read")

    with pytest.raises(TooLarge, match="LUMBRE_MAX_BODY"):
        asyncio.run(reading.read(UPLOAD, ID, headers, b"", receive))
