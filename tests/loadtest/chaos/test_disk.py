"""A disk that is full for a while."""

import os
import threading
from pathlib import Path
from uuid import uuid4

import pytest

from loadtest.chaos.disk import Disk
from tests.support import eventually


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "blobs")


def write(file: Path) -> bool:
    """Whether more than a page could be written."""
    try:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"x" * 100_000)
    except OSError:
        return False
    return True


def test_nothing_can_be_written_while_it_is_full_and_everything_read(disk: Disk) -> None:
    if not disk.can_fill:
        pytest.skip("root here may not mount, and nothing else stops it from writing")
    try:
        before = disk.folder / "before" / "data"
        assert write(before)
        filling = threading.Thread(target=disk.fill, args=(1.0,))
        filling.start()
        eventually(lambda: not write(disk.folder / "while" / uuid4().hex), within=0.9)
        assert before.read_bytes() == b"x" * 100_000
        filling.join()
        assert write(disk.folder / "after" / "data")
    finally:
        disk.close()


def test_it_leaves_no_mount_behind(disk: Disk) -> None:
    disk.close()
    disk.close()
    assert str(disk.folder) not in Path("/proc/self/mounts").read_text()
    assert not os.path.ismount(disk.folder)
