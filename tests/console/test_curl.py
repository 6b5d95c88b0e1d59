"""The words of a curl command; that it does the same is tested against a node."""

import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.curl import curl, file_name
from runtime import function
from runtime.function import Blob, FunctionSpec, describe

BASE = "http://127.0.0.1:8080/"
VALUES = st.dictionaries(st.sampled_from(["text", "n"]), st.text() | st.integers(-9, 9))


def spec_of(target: Any) -> FunctionSpec:
    return describe(function(devices=("cpu", "gpu"))(target), file="x.py", attribute="x")


def plain(text: str = "", n: int = 0) -> str:
    return text


def picture(image: bytes, text: str = "") -> Blob:
    return Blob(image)


def test_a_short_command_is_one_line() -> None:
    said = curl(spec_of(plain), BASE, "auto", {"n": 512}, {})
    assert said == "curl -X POST http://127.0.0.1:8080/invoke/plain -d '{\"n\":512}'"


def test_a_device_is_in_the_query() -> None:
    said = curl(spec_of(plain), BASE, "gpu", {}, {})
    assert "'http://127.0.0.1:8080/invoke/plain?device=gpu'" in said


def test_a_key_is_taken_from_the_environment() -> None:
    said = curl(spec_of(plain), BASE, "auto", {}, {}, keyed=True)
    assert '-H "Authorization: Bearer $LUMBRE_API_KEY"' in said


def test_parameters_that_are_too_long_are_taken_from_a_file() -> None:
    assert "--data-binary @input.json" in curl(spec_of(plain), BASE, "auto", None, {})


def test_files_go_as_parts_with_their_media_type() -> None:
    spec = spec_of(picture)
    said = curl(spec, BASE, "auto", {"text": "@a;b"}, {"image": "application/x-npy"})
    words = shlex.split(said.replace("\\\n", " "))
    assert words[words.index("--form-string") + 1] == "text=@a;b"
    assert words[words.index("-F") + 1] == "image=@image.npy;type=application/x-npy"
    assert words[words.index("-o") + 1] == "picture-result.bin"
    odd = curl(spec, BASE, "auto", {}, {"image": 'image/png; x="a;b"'})
    assert "-F image=@image.png" in odd


@pytest.mark.parametrize(("media_type", "name"), [("image/png", "a.png"), ("x/y", "a.bin")])
def test_a_file_is_called_after_its_parameter(media_type: str, name: str) -> None:
    assert file_name("a", media_type) == name


@given(VALUES)
def test_a_shell_reads_every_value_as_it_was(parameters: dict[str, Any]) -> None:
    import orjson

    said = curl(spec_of(plain), BASE, "auto", parameters, {})
    words = shlex.split(said.replace(" \\\n", " "))
    assert orjson.loads(words[-1]) == parameters
