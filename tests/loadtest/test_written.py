"""The files of a report, each whole or not at all."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.written import UnwritableReport, check, write

FULL = OSError(28, "No space left on device")


def test_files_are_written_into_a_new_folder_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    found = write(folder, [("a.txt", b"a"), ("more/b.txt", b"b")])
    assert found == [folder / "a.txt", folder / "more" / "b.txt"]
    assert [path.read_bytes() for path in found] == [b"a", b"b"]
    assert [path for path in sorted(tmp_path.rglob("*")) if path.is_file()] == found


def test_others_may_read_what_they_may_read_of_any_new_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        (path,) = write(tmp_path, [("a", b"a")])
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_check_leaves_nothing_behind_and_touches_nothing(tmp_path: Path) -> None:
    (tmp_path / "report").write_text("mine")
    check(tmp_path / "new" / "folder")
    check(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
    assert (tmp_path / "report").read_text() == "mine"


def test_a_check_refuses_what_could_not_be_written_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnwritableReport, match="name another folder"):
        check(tmp_path / "file" / "folder")
    with pytest.raises(UnwritableReport, match="name another folder"):
        check(Path("/proc/new/folder"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_cannot_be_written_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> int:
        path.touch()
        raise FULL

    write(tmp_path, [("a", b"old")])
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UnwritableReport, match=r"a cannot be written \(No space left on device\)"):
        write(tmp_path, [("a", b"new")])
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_what_is_in_the_way_is_named_and_left(tmp_path: Path) -> None:
    (tmp_path / "a" / "full").mkdir(parents=True)
    with pytest.raises(UnwritableReport, match="a cannot be written"):
        write(tmp_path, [("a", b"new")])
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_files_before_an_error_are_there(tmp_path: Path) -> None:
    def files() -> Iterator[tuple[str, bytes]]:
        yield "a", b"a"
        raise RuntimeError("what makes the next one failed")

    with pytest.raises(RuntimeError):
        write(tmp_path, files())
    assert (tmp_path / "a").read_bytes() == b"a"
