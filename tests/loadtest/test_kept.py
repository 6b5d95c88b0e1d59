"""What a run keeps of itself as JSON."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from loadtest.kept import UnreadableResults, dumps, read


@dataclass(frozen=True, slots=True)
class Run:
    seconds: tuple[float, ...]
    format: int = 3


RUN = TypeAdapter(Run)


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = Run((1.5, 1e-9))
    file = tmp_path / "run.json"
    file.write_bytes(dumps(RUN, run))
    assert read(RUN, file, 3, "lumbre run") == run
    assert dumps(RUN, run).decode().startswith('{\n  "seconds": [\n')


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is no JSON"),
        ("[]", "has format None, and this version reads 3: run `lumbre run`"),
        ('{"format": 99}', "has format 99, and this version reads 3"),
        ('{"format": 3, "seconds": [1, "x"]}', "seconds/1: .*: was it edited"),
    ],
)
def test_a_file_that_no_run_has_written_says_what_is_wrong(
    text: str, told: str, tmp_path: Path
) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UnreadableResults, match=told):
        read(RUN, tmp_path / "run.json", 3, "lumbre run")


def test_a_missing_file_says_what_writes_one(tmp_path: Path) -> None:
    with pytest.raises(UnreadableResults, match=r"cannot be read \(No such file.*`lumbre run`"):
        read(RUN, tmp_path / "run.json", 3, "lumbre run")
