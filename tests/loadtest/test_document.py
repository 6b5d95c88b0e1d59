"""That what is wrong with a document is told by file, line and field, with what to write."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, model_validator

from loadtest import document
from loadtest.document import Section
from runtime.errors import ConfigurationError


class Leaf(Section):
    size: Annotated[int, Field(ge=1, le=1000, examples=[10])]
    kind: Literal["round", "square"] = "round"
    share: float = Field(0.5, gt=0, lt=1)
    start: float = Field(0.0, alias="from")

    @model_validator(mode="after")
    def _square_is_small(self) -> "Leaf":
        if self.kind == "square" and self.size > 100:
            raise ValueError("is a large square: write size: 100 or less")
        return self


class Tree(Section):
    name: str = Field(min_length=1)
    leaves: tuple[Leaf, ...] = Field((), min_length=1, max_length=3)
    named: dict[str, Leaf] = Field(default_factory=dict)
    green: bool = True


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tree.yaml"


def refusal(file: Path, text: str | bytes) -> list[str]:
    """What is told of a text, line by line, without the file's name."""
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigurationError) as caught:
        document.read(file, Tree)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{file}:") for line in lines)
    return [line.removeprefix(str(file)) for line in lines]


def test_a_document_becomes_a_model(file: Path) -> None:
    file.write_text("name: oak\nleaves:\n- {size: 3, from: 1}\nnamed: {a: {size: 1}}\n")
    tree = document.read(file, Tree)
    assert tree == Tree.model_validate(
        {"name": "oak", "leaves": [{"size": 3, "from": 1.0}], "named": {"a": {"size": 1}}}
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("leaves: []\n", ":1: name: is missing: write it"),
        ("name: ''\n", ":1: name: is empty: write it, not ''"),
        ("name: 5\n", ":1: name: write text, not 5"),
        ("name: a\nleaves: []\n", ":2: leaves: write at least 1"),
        ("name: a\nleaves: 5\n", ":2: leaves: write a list, not 5"),
        ("name: a\nnamed: 5\n", ":2: named: write NAME: VALUE, not 5"),
        ("name: a\ngreen: maybe\n", ":2: green: write true or false, not 'maybe'"),
        ("name: a\nleavs: []\n", ":2: leavs: is no field here: did you mean leaves?"),
        (
            "name: a\nzebra: 1\n",
            ":2: zebra: is no field here: write one of name, leaves, named, green",
        ),
        ("name: a\nleaves:\n- {}\n", ":3: leaves[0].size: is missing: write size: 10"),
        (
            "name: a\nleaves:\n- 7\n",
            ":3: leaves[0]: write size, kind, share, from as NAME: VALUE, not 7",
        ),
        (
            "name: a\nleaves:\n- size: 1\n- size: 5000\n",
            ":4: leaves[1].size: write at most 1,000, not 5000",
        ),
        ("name: a\nnamed:\n  x:\n    size: 0\n", ":4: named.x.size: write at least 1, not 0"),
        ("name: a\nleaves: [{size: x}]\n", ":2: leaves[0].size: write a whole number, not 'x'"),
        ("name: a\nleaves: [{size: 1.5}]\n", ":2: leaves[0].size: write a whole number, not 1.5"),
        (
            "name: a\nleaves: [{size: 1, share: 0}]\n",
            ":2: leaves[0].share: write more than 0, not 0",
        ),
        (
            "name: a\nleaves: [{size: 1, share: .nan}]\n",
            ":2: leaves[0].share: write a finite number, not nan",
        ),
        (
            "name: a\nleaves: [{size: 1, kind: flat}]\n",
            ":2: leaves[0].kind: write 'round' or 'square', not 'flat'",
        ),
        (
            "name: a\nleaves:\n- size: 500\n  kind: square\n",
            ":3: leaves[0]: is a large square: write size: 100 or less",
        ),
        (
            "name: a\nleaves: [{size: 1, start: 2}]\n",
            ":2: leaves[0].start: is no field here: did you mean share?",
        ),
        ("name: a\nleaves: [{size: 1}, {size: 1}, {size: 1}, {size: 1}]\n", ":2: leaves: write at"),
        ("name: a\nname: b\n", ":2: name stands twice: remove one of the two"),
        (
            "name: a\nleaves:\n- size: 1\n  size: 2\n",
            ":4: size stands twice: remove one of the two",
        ),
        ("", ": holds no fields: write some of name, leaves, named, green, each as NAME: VALUE"),
        ("- name\n", ": holds no fields"),
        (b"name: \xff\n", ": is no text in UTF-8"),
    ],
)
def test_a_fault_is_told_by_line_and_field(file: Path, text: str | bytes, told: str) -> None:
    (line,) = refusal(file, text)
    assert line.startswith(told)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: [1\n", 2),
        ("name: a\n  leaves: []\n", 2),
        ("name: a\nleaves: &x\n- *y\n", 3),
        ("name: !!python/object:os.system {}\n", 1),
        ("name: \x07\n", None),
        ("a: b\n---\na: c\n", 2),
        ("name: 2026-99-99\n", None),
        ("? [a, b]\n: 1\n", None),
    ],
)
def test_what_is_no_yaml_is_told_with_its_place(file: Path, text: str, line: int | None) -> None:
    (told,) = refusal(file, text)
    if line is not None:
        assert told.startswith(f":{line}:") and "is no YAML (" in told


def test_nesting_without_end_is_refused(file: Path) -> None:
    (told,) = refusal(file, "name: " + "[" * 1000)
    assert "is no YAML" in told


def test_only_the_first_faults_are_told(file: Path) -> None:
    leaves = "".join(f"  x{k}: {{size: 0}}\n" for k in range(9))
    told = refusal(file, f"name: a\nnamed:\n{leaves}")
    assert len(told) == 6 and told[-1] == ": and 4 more"


def test_a_file_that_is_not_there_or_too_large_is_told(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be read \(No such file or directory\)"):
        document.read(file, Tree)
    monkeypatch.setattr(document, "MAX_BYTES", 3)
    assert refusal(file, "name: a\n")[0].startswith(": has 8 bytes: write at most 3")


def test_what_is_not_from_a_file_is_told_without_lines() -> None:
    with pytest.raises(ConfigurationError) as caught:
        document.check(Tree, {"name": "a", "leaves": [{"size": 0}]}, "the flags")
    assert str(caught.value) == "the flags: leaves[0].size: write at least 1, not 0"


def test_an_alias_stands_for_what_its_anchor_names(file: Path) -> None:
    file.write_text("name: a\nleaves: &all [{size: 2}]\nnamed: {x: &leaf {size: 3}, y: *leaf}\n")
    assert document.read(file, Tree).named["y"].size == 3


@given(text=st.text(alphabet="name: leaves[]{}&*!-\n'\"0123#|>?", max_size=60))
def test_any_text_is_a_document_or_a_configuration_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(text)
    try:
        document.read(file, Tree)
    except ConfigurationError as error:
        assert str(error).startswith(str(file))
