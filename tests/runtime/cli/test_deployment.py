"""What the flags of `lumbre deploy` say: values and functions."""

from pathlib import Path
from typing import Any

import pytest

from runtime.cli.deployment import Inputs, assignment, nested, read_specs, words
from runtime.errors import ConfigurationError

QUICK = """
from runtime import function


@function()
def quick() -> int:
    return 1
"""


def inputs(**more: Any) -> Inputs:
    plain: dict[str, Any] = {name: None for name in Inputs.__slots__}
    lists: dict[str, Any] = {"folders": (), "files": (), "sets": (), "overlay": "dev"}
    return Inputs(**(plain | lists | more))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gateway.replicas=3", ("gateway.replicas", 3)),
        ("console=true", ("console", True)),
        ("devices=[cpu]", ("devices", ["cpu"])),
        ("broker.url=amqp://h/v?a=b", ("broker.url", "amqp://h/v?a=b")),
        ("gpus.device_class=", ("gpus.device_class", "")),
        ("workers.env={A: b}", ("workers.env", {"A": "b"})),
    ],
)
def test_a_value_is_yaml(text: str, expected: Any) -> None:
    assert assignment(text) == expected


@pytest.mark.parametrize("text", ["gateway.replicas", "=3", "a..b=1", ".a=1", "a.=1"])
def test_what_is_no_assignment_is_refused_with_how_it_is_written(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"NAME=VALUE, such as gateway\.replicas=3"):
        assignment(text)


def test_a_value_that_is_no_yaml_is_refused_by_its_name() -> None:
    with pytest.raises(ConfigurationError, match=r"--set devices: '\[cpu' is no YAML"):
        assignment("devices=[cpu")


def test_names_with_points_are_nested_and_the_last_counts() -> None:
    found = nested([("a.b", 1), ("a.c", 2), ("d", 3), ("a.b", 4)])
    assert found == {"a": {"b": 4, "c": 2}, "d": 3}


def test_a_field_of_what_has_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="console is True, and has no fields"):
        nested([("console", True), ("console.port", 1)])


def test_a_command_line_is_split_as_a_shell_does() -> None:
    assert words("python -m 'my worker'") == ["python", "-m", "my worker"]
    assert words(None) is None
    with pytest.raises(ConfigurationError, match="--worker-command"):
        words("python 'x")


def test_flags_count_more_than_sets_and_these_more_than_files(tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text("namespace: from-file\ngpus: {count: 1}\nrecorder: {replicas: 2}\n")
    found = inputs(
        files=[file],
        sets=["namespace=from-set", "gpus.count=2"],
        gpus=3,
        trigger="push",
        worker_command="python -m runtime",
    ).values()
    assert (found.namespace, found.gpus.count, found.recorder.replicas) == ("from-set", 3, 2)
    assert found.trigger == "push"
    assert found.workers.command == ("python", "-m", "runtime")


def test_a_value_that_cannot_be_is_refused_by_its_name() -> None:
    with pytest.raises(ConfigurationError, match=r"gateway\.replicas=0"):
        inputs(sets=["gateway.replicas=0"]).values()
    with pytest.raises(ConfigurationError, match=r"gateway\.replica="):
        inputs(sets=["gateway.replica=1"]).values()


def test_functions_come_from_folders_or_from_a_catalog(tmp_path: Path) -> None:
    (tmp_path / "quick.py").write_text(QUICK)
    (described,) = read_specs([tmp_path], None)
    assert described.name == "quick"
    with pytest.raises(ConfigurationError, match="exclude each other"):
        read_specs([tmp_path], tmp_path / "catalog.json")
    with pytest.raises(ConfigurationError, match="there is no folder"):
        read_specs([tmp_path / "none"], None)


def test_a_broken_file_is_refused_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "quick.py").write_text(QUICK)
    (tmp_path / "broken.py").write_text("import nonesuch\n")
    with pytest.raises(ConfigurationError, match=r"broken\.py: ModuleNotFoundError: .*nonesuch"):
        read_specs([tmp_path], None)
