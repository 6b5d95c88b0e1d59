"""What a newcomer is told to run, or to write."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from console.welcome import EXAMPLE, first_call, parameters_of
from runtime.function import FunctionSpec, spec_from_json
from tests.support import ROOT

BASE = "http://127.0.0.1:8080/"


def spec(
    name: str, required: tuple[str, ...] = (), binary: tuple[str, ...] = (), **of: Any
) -> FunctionSpec:
    properties = {key: value for key, value in of.items()}
    properties |= {key: {"type": "string", "format": "binary"} for key in binary}
    return spec_from_json(
        {
            "name": name,
            "description": "",
            "file": "f.py",
            "attribute": name,
            "version": "1",
            "devices": ["cpu"],
            "timeout": 60,
            "cost": None,
            "scaling": {"cpu": {}},
            "resources": {},
            "max_attempts": 3,
            "batching": None,
            "retries": None,
            "streams": False,
            "parameters": list(properties),
            "binary": dict.fromkeys(binary, "image/png"),
            "input_schema": {
                "type": "object",
                "properties": properties,
                "required": [*required, *binary],
            },
            "output_schema": {},
        }
    )


WHOLE = {"type": "integer"}


def test_the_command_calls_the_function_with_its_first_default() -> None:
    given = spec("matmul", n={**WHOLE, "default": 256}, seed={**WHOLE, "default": 0})
    command = first_call([given], BASE, keyed=False)
    assert command == "curl -X POST http://127.0.0.1:8080/invoke/matmul -d '{\"n\":256}'"


def test_where_keys_are_asked_for_the_command_sends_one() -> None:
    command = first_call([spec("f", n={**WHOLE, "default": 1})], BASE, keyed=True)
    assert command is not None and "LUMBRE_API_KEY" in command


def test_the_easiest_function_is_taken() -> None:
    picture = spec("a_picture", binary=("image",))
    wants = spec("b_wants", required=("n",), n=WHOLE)
    mode = spec("c_mode", mode={"enum": ["fast", "exact"], "default": "fast"})
    plain = spec("d_plain", n={**WHOLE, "default": 7})
    command = first_call([picture, wants, mode, plain], BASE, keyed=False)
    assert command is not None and "/invoke/d_plain" in command
    assert first_call([picture], BASE, keyed=False) is None
    assert first_call([], BASE, keyed=False) is None


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (WHOLE, 1),
        ({**WHOLE, "minimum": 16}, 16),
        ({**WHOLE, "maximum": -3}, -3),
        ({"type": "number", "minimum": 0.5, "maximum": 0.75}, 0.75),
        ({"type": "string"}, "hello"),
        ({"type": "string", "minLength": 7}, "hellooo"),
        ({"enum": ["cold", "warm"]}, "cold"),
        ({"type": "boolean"}, True),
    ],
)
def test_what_must_be_given_is_made_up_within_its_bounds(
    schema: dict[str, Any], value: Any
) -> None:
    assert parameters_of(spec("f", required=("it",), it=schema)) == {"it": value}


def test_what_cannot_be_made_up_is_not() -> None:
    assert parameters_of(spec("f", required=("it",), it={"type": "array"})) is None


def test_a_function_that_takes_nothing_is_given_nothing() -> None:
    assert parameters_of(spec("f")) == {}


def test_the_example_is_a_function_in_six_lines_that_works(tmp_path: Path) -> None:
    assert len([line for line in EXAMPLE.splitlines() if line]) <= 6
    (tmp_path / "hello.py").write_text(EXAMPLE)
    call = "from hello import hello; from runtime import Context; print(hello(Context.for_test()))"
    done = subprocess.run(
        [sys.executable, "-c", call],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{ROOT}:{tmp_path}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "Hello, world!\n", done.stderr
