"""The files of a report."""

import math
from pathlib import Path

import orjson
import pytest

from loadtest.outcome import dumps
from loadtest.report import read, write
from loadtest.report.files import OUTCOME_FILE, PAGE_FILE, UnreadableOutcome, UnwritableReport
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


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is no JSON"),
        ("[]", "has format None, and this version reads 1"),
        ('{"format": 99}', "has format 99, and this version reads 1"),
        ('{"format": 1}', "plan: Field required"),
    ],
)
def test_a_file_that_is_no_outcome_says_what_is_wrong(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / OUTCOME_FILE).write_text(text)
    with pytest.raises(UnreadableOutcome, match=told):
        read(tmp_path)


def test_a_missing_file_says_what_writes_one(tmp_path: Path) -> None:
    with pytest.raises(UnreadableOutcome, match="`lumbre loadtest` writes one"):
        read(tmp_path)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UnwritableReport, match="name a folder that you may write to"):
        write(outcomes.brief(), tmp_path / "file")


def test_a_file_that_cannot_be_put_in_place_leaves_no_other_beside_it(tmp_path: Path) -> None:
    (tmp_path / OUTCOME_FILE / "full").mkdir(parents=True)
    with pytest.raises(UnwritableReport):
        write(outcomes.brief(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [OUTCOME_FILE]
