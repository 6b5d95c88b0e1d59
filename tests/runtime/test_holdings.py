"""What a blob store holds, in a local folder and in a store that fsspec knows."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest

from runtime.blobs import Blobs
from runtime.holdings import Holding, holdings


@pytest.fixture(params=["local", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Blobs]:
    if request.param == "local":
        yield Blobs((tmp_path / "blobs").as_uri())
        return
    name = f"/blobs-{uuid4().hex}"
    yield Blobs(f"memory:/{name}")
    store = fsspec.filesystem("memory")
    if store.exists(name):
        store.rm(name, recursive=True)


def held(blobs: Blobs, chunk: int = 100) -> dict[str, Holding]:
    return {each.invocation: each for some in holdings(blobs, chunk) for each in some}


def test_a_store_that_was_never_written_to_holds_nothing(blobs: Blobs) -> None:
    assert held(blobs) == {}


def test_the_blobs_of_an_invocation_are_counted_together(blobs: Blobs) -> None:
    before = datetime.now(UTC).timestamp()
    blobs.write("one/input", b"12345")
    blobs.write("one/nested/result", b"123")
    blobs.write("two/input", b"")
    found = held(blobs)
    assert {id: each.size for id, each in found.items()} == {"one": 8, "two": 0}
    for each in found.values():
        assert each.changed_at is not None
        assert before - 1 < each.changed_at < before + 60
    blobs.delete("one")
    assert held(blobs).keys() == {"two"}


def test_they_come_in_pieces(blobs: Blobs) -> None:
    for n in range(7):
        blobs.write(f"i{n}/input", b"x")
    assert [len(some) for some in holdings(blobs, 3)] == [3, 3, 1]


def test_files_beside_the_folders_are_not_ours(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path.as_uri())
    blobs.write("one/input", b"12345")
    (tmp_path / "README").write_text("somebody's")
    os.symlink(tmp_path, tmp_path / "link")
    assert held(blobs).keys() == {"one"}


def test_what_is_deleted_meanwhile_is_passed_over(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path.as_uri())
    for n in range(5):
        blobs.write(f"i{n}/input", b"x")
    walk = holdings(blobs, 1)
    (first,) = next(walk)
    for n in range(5):
        blobs.delete(f"i{n}")
    left = [each for some in walk for each in some]
    assert all(each.size == 0 for each in left)
    assert first.size == 1


@pytest.mark.parametrize(
    ("info", "changed_at"),
    [
        ({"LastModified": datetime(2026, 1, 1, tzinfo=UTC)}, 1767225600.0),  # s3
        ({"updated": "2026-01-01T00:00:00.000Z"}, 1767225600.0),  # gcs
        ({"mtime": 5.5}, 5.5),
        ({}, None),
    ],
)
def test_stores_that_tell_the_time_in_different_ways_are_understood(
    monkeypatch: pytest.MonkeyPatch, info: dict[str, object], changed_at: float | None
) -> None:
    blobs = Blobs("memory://told")

    def find(_: object, root: str, **__: object) -> dict[str, dict[str, object]]:
        return {f"{root}/one/input": {"size": 3, **info}}

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "find", find)
    assert held(blobs) == {"one": Holding("one", 3, changed_at)}
