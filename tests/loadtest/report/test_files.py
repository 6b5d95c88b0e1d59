"""The files of a report."""

import math
from pathlib import Path

import orjson
import pytest

from loadtest.kept import UnreadableResults
from loadtest.outcome import dumps
from loadtest.report import read, write
from loadtest.report.files import OUTCOME_FILE, PAGE_FILE
from loadtest.written import UnwritableReport
from tests.loadtest import outcomes

NAMES = [
    "load_test.json",
    "load_test.csv",
    "load_test_series.csv",
    "LOAD_TEST_REPORT.md",
    "load_test.html",
]


def test_every_file_is_written_and_nothing_else_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    paths = write(outcomes.mixed(), folder)
    assert paths == [folder / name for name in NAMES]
    assert sorted(folder.iterdir()) == sorted(paths)
    assert all(path.stat().st_size and path.stat().st_mode & 0o444 == 0o444 for path in paths)


def test_what_was_there_is_replaced_and_the_same_outcome_gives_the_same_files(
    tmp_path: Path,
) -> None:
    first = [path.read_bytes() for path in write(outcomes.brief(), tmp_path)]
    write(outcomes.unanswered(), tmp_path)
    assert (tmp_path / PAGE_FILE).read_bytes() != first[-1]
    assert [path.read_bytes() for path in write(outcomes.brief(), tmp_path)] == first


@pytest.mark.parametrize("name", ["mixed", "interrupted", "unanswered", "brief", "hostile"])
def test_an_outcome_is_read_as_it_was_written(name: str, tmp_path: Path) -> None:
    outcome = getattr(outcomes, name)()
    (tmp_path / OUTCOME_FILE).write_bytes(dumps(outcome))
    found = read(tmp_path)
    assert dumps(found) == dumps(outcome)
    assert read(tmp_path / OUTCOME_FILE).groups == outcome.groups


def test_what_is_nan_is_null_in_the_file_and_nan_again_when_read(tmp_path: Path) -> None:
    write(outcomes.empty(), tmp_path)
    raw = orjson.loads((tmp_path / OUTCOME_FILE).read_bytes())
    assert raw["generator"]["late_p99"] is None
    assert math.isnan(read(tmp_path).generator.late_p99)


def test_a_file_that_is_no_outcome_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / OUTCOME_FILE).write_text('{"format": 1}')
    with pytest.raises(UnreadableResults, match="plan: Field required"):
        read(tmp_path)


def test_a_missing_file_says_what_writes_one(tmp_path: Path) -> None:
    with pytest.raises(UnreadableResults, match="`lumbre loadtest` writes one"):
        read(tmp_path)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UnwritableReport, match=r"file/load_test.json cannot be written .* folder"):
        write(outcomes.brief(), tmp_path / "file")
