"""`lumbre new`: what it writes works as it is, and nothing is ever overwritten."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from runtime.cli import app
from runtime.cli.scaffold import check_name, scaffold
from runtime.errors import ConfigurationError
from runtime.function import NAME
from runtime.sourcefile import SourceFile
from tests.support import ROOT, NodeFactory

TAKEN = ["torch", "numpy", "json", "queue", "pytest", "runtime"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def new(*arguments: str, code: int = 0) -> str:
    """What `lumbre new` says, wherever it says it."""
    result = CliRunner().invoke(app, ["new", *arguments], prog_name="lumbre")
    assert result.exit_code == code, result.output
    return result.output


def described(file: Path) -> str:
    """What a zygote would say of a function file, in a process of its own."""
    code = f"from runtime.sourcefile import SourceFile\nprint(SourceFile({str(file)!r}).load())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_the_written_tests_pass_and_can_fail(tmp_path: Path) -> None:
    new("hello")
    new("average", "--gpu")
    new("wrong")
    wrong = tmp_path / "functions" / "wrong.py"
    wrong.write_text(wrong.read_text().replace("return sum", "return 7 + sum"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert "1 failed, 2 passed" in done.stdout
    assert "FAILED tests/test_wrong.py::test_adds_the_first_squares" in done.stdout


def test_a_new_function_is_short_typed_and_described(tmp_path: Path) -> None:
    new("hello")
    source = (tmp_path / "functions" / "hello.py").read_text()
    assert source.index("@function") > 0
    assert len([line for line in source.splitlines() if line]) <= 15
    told = described(tmp_path / "functions" / "hello.py")
    for part in ("'error': None", "'name': 'hello'", "Add the first n squares.", "'minimum': 1"):
        assert part in told


def test_a_gpu_function_runs_on_the_device_it_is_given(tmp_path: Path) -> None:
    new("average", "--gpu")
    source = (tmp_path / "functions" / "average.py").read_text()
    assert 'devices=("cpu", "gpu")' in source
    assert "device=context.device" in source


def test_new_says_what_to_do_next_and_a_node_takes_it(
    tmp_path: Path, start_node: NodeFactory
) -> None:
    said = new("hello")
    assert "lumbre up\n" in said
    steps = re.search(r"lumbre (invoke hello n=\d+)", said)
    assert steps
    node = start_node(tmp_path / "functions")
    result = CliRunner().invoke(app, [*steps[1].split(), "--url", node.url])
    assert result.stdout == f"{sum(k * k for k in range(1001))}\n"


def test_another_folder_is_made_and_named_in_the_next_steps(tmp_path: Path) -> None:
    said = new("hello", "--dir", "a/b")
    assert (tmp_path / "a/b/functions/hello.py").is_file()
    assert (tmp_path / "a/b/tests/test_hello.py").is_file()
    assert "lumbre up --functions a/b/functions" in said


def test_new_as_json_names_the_files(tmp_path: Path) -> None:
    assert new("hello", "--json") == (
        '{"function":"functions/hello.py","test":"tests/test_hello.py"}\n'
    )


@pytest.mark.parametrize("existing", ["functions/hello.py", "tests/test_hello.py"])
def test_nothing_is_overwritten_and_nothing_else_is_written(existing: str, tmp_path: Path) -> None:
    file = tmp_path / existing
    file.parent.mkdir()
    file.write_text("mine")
    said = new("hello", code=1)
    assert said == f"lumbre: {existing} exists: choose another name, or remove it first\n"
    assert file.read_text() == "mine"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Hello", "cannot be a function's name"),
        ("two words", "cannot be a function's name"),
        ("../up", "cannot be a function's name"),
        ("class", "a word of Python's own"),
        ("test_it", "taken for a test"),
        ("it_test", "taken for a test"),
        *((name, "would hide it") for name in TAKEN),
    ],
)
def test_a_name_that_cannot_be_gets_one_clear_line(name: str, said: str, tmp_path: Path) -> None:
    shown = new(name, code=1)
    assert shown.startswith("lumbre: ") and said in shown
    assert shown.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_gets_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "functions").write_text("a file")
    assert new("hello", code=1).startswith("lumbre: functions/hello.py cannot be written (")


@settings(max_examples=30)
@given(st.from_regex(NAME, fullmatch=True))
def test_a_name_that_is_taken_always_makes_a_function_that_loads(name: str) -> None:
    try:
        check_name(name)
    except ConfigurationError:
        return
    compile(f"def {name}(): pass", "<generated>", "exec")
    assert name not in sys.stdlib_module_names


def test_scaffold_gives_the_paths_and_the_test_finds_functions_elsewhere(tmp_path: Path) -> None:
    function, test = scaffold("hello", tmp_path / "src" / "fns", tmp_path / "tests", gpu=False)
    assert SourceFile(str(function)).path == str(function)
    assert '"../src/fns"' in test.read_text()
