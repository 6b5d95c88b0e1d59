"""Blobs are whole or absent, in a folder and in any other store."""

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime import blobs as module
from runtime.blobs import Blobs


@pytest.fixture(params=["file", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    """A store in a folder, and one that is no folder."""
    if request.param == "file":
        return Blobs(tmp_path.as_uri())
    return Blobs(f"memory://{uuid.uuid4().hex}")


def test_what_is_written_can_be_read_measured_copied_and_deleted(blobs: Blobs) -> None:
    blobs.write("one/data.bin", b"12345")
    assert blobs.read("one/data.bin") == b"12345"
    assert blobs.size("one/data.bin") == 5
    blobs.copy("one/data.bin", "two/copy.bin")
    blobs.delete("one")
    assert blobs.read("two/copy.bin") == b"12345"
    with pytest.raises(FileNotFoundError):
        blobs.read("one/data.bin")
    with pytest.raises(FileNotFoundError):
        blobs.size("one/data.bin")


def test_a_second_write_replaces_the_first(blobs: Blobs) -> None:
    blobs.write("one/data", b"a longer one")
    blobs.write("one/data", b"short")
    assert blobs.read("one/data") == b"short"


def test_deleting_what_is_not_there_is_fine(blobs: Blobs) -> None:
    blobs.delete("never")


def test_a_write_that_fails_leaves_nothing(blobs: Blobs) -> None:
    with pytest.raises(ZeroDivisionError), blobs.writer("one/data") as file:
        file.write(b"half of it")
        1 / 0  # noqa: B018
    with pytest.raises(FileNotFoundError):
        blobs.read("one/data")


def test_a_write_that_fails_leaves_the_earlier_blob(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path.as_uri())
    blobs.write("one/data", b"whole")
    with pytest.raises(ZeroDivisionError), blobs.writer("one/data") as file:
        file.write(b"half of it")
        1 / 0  # noqa: B018
    assert blobs.read("one/data") == b"whole"
    assert os.listdir(tmp_path / "one") == ["data"]


def test_a_writer_that_is_killed_leaves_the_earlier_blob(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path.as_uri())
    blobs.write("one/data", b"whole")
    program = f"""
import os, signal
from runtime.blobs import Blobs
with Blobs({blobs.url!r}).writer("one/data") as file:
    file.write(b"half"); file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", program], cwd=root)
    assert ended.returncode == -signal.SIGKILL
    assert blobs.read("one/data") == b"whole"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(data=st.binary(max_size=50))
def test_the_pieces_of_a_blob_are_the_blob(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    monkeypatch.setattr(module, "CHUNK", 7)
    blobs.write("one/data", data)
    pieces = list(blobs.chunks("one/data"))
    assert b"".join(pieces) == data
    assert all(0 < len(piece) <= 7 for piece in pieces)


def test_a_folder_is_local_and_tells_its_paths(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path.as_uri() + "/")
    blobs.write("one/data", b"x")
    assert blobs.local and Path(blobs.path("one/data")).read_bytes() == b"x"
    assert not Blobs("memory://elsewhere").local
