"""The ledger, blobs and state folder, where they are well and where they are not."""

import asyncio
import os
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from runtime import migrate
from runtime.doctor.stores import examine_blobs, examine_ledger, examine_state
from runtime.errors import LumbreError
from runtime.finding import Finding, State
from runtime.ledger import Ledger
from runtime.settings import Settings


def made(tmp_path: Path, **given: Any) -> Settings:
    return Settings(state=tmp_path / "state", **given)


def one(found: list[Finding]) -> Finding:
    (finding,) = found
    return finding


# ── the ledger ────────────────────────────────────────────────────────────────────────────────


async def test_a_ledger_that_is_not_there_yet_is_well_and_not_made(tmp_path: Path) -> None:
    found = one(await examine_ledger(made(tmp_path)))
    assert (found.state, "a start makes it" in found.text) == (State.OK, True)
    assert list(tmp_path.iterdir()) == []


async def test_a_ledger_of_this_lumbre_is_well(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    await (await Ledger.open(url)).close()
    found = one(await examine_ledger(made(tmp_path, ledger_url=url)))
    assert (found.state, "revision 0" in found.text) == (State.OK, True)


async def test_a_postgresql_without_tables_is_a_problem_until_it_is_migrated(
    tmp_path: Path, postgres_url: str
) -> None:
    settings = made(tmp_path, ledger_url=postgres_url)
    found = one(await examine_ledger(settings))
    assert (found.state, found.advice) == (State.PROBLEM, "run: lumbre migrate")
    assert "has no tables yet" in found.text
    await asyncio.to_thread(migrate.upgrade, postgres_url)
    assert one(await examine_ledger(settings)).state is State.OK


async def test_a_postgresql_that_is_away_or_another_database_is_refused(tmp_path: Path) -> None:
    for url in ("postgresql://me:s3cret@127.0.0.1:9/x", "mysql://me:s3cret@127.0.0.1/x"):
        with pytest.raises(LumbreError) as caught:
            await examine_ledger(made(tmp_path, ledger_url=url))
        assert "s3cret" not in str(caught.value)


# ── blobs and the state folder ────────────────────────────────────────────────────────────────


async def test_blobs_are_written_read_and_removed(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    found = one(await examine_blobs(made(tmp_path, blobs_url=f"file://{tmp_path}/blobs")))
    assert (found.state, "written, read and removed" in found.text) == (State.OK, True)
    assert list((tmp_path / "blobs").iterdir()) == []


async def test_blobs_in_a_store_that_fsspec_knows_are_tried(tmp_path: Path) -> None:
    found = one(await examine_blobs(made(tmp_path, blobs_url="memory://doctor")))
    assert found.state is State.OK


@pytest.mark.parametrize("folder", ["/proc/sys", "/proc/nowhere"])
async def test_blobs_where_nothing_can_be_written_are_a_problem(
    folder: str, tmp_path: Path
) -> None:
    found = one(await examine_blobs(made(tmp_path, blobs_url=f"file://{folder}")))
    assert found.state is State.PROBLEM
    assert "LUMBRE_BLOBS_URL" in found.advice


async def test_blobs_that_give_back_something_else_are_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "blobs").mkdir()
    monkeypatch.setattr("runtime.blobs.Blobs.read", lambda self, key: b"other")
    found = one(await examine_blobs(made(tmp_path, blobs_url=f"file://{tmp_path}/blobs")))
    assert (found.state, "other bytes" in found.text) == (State.PROBLEM, True)


@pytest.mark.skipif(not os.path.isdir("/proc/sys"), reason="needs Linux's /proc")
async def test_a_state_folder_where_nothing_can_be_written_is_a_problem() -> None:
    for place in ("/proc/sys", "/proc/nowhere"):
        found = one(await examine_state(Settings(state=Path(place))))
        assert found.state is State.PROBLEM
        assert "LUMBRE_STATE" in found.advice


async def test_a_disk_that_is_nearly_full_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(2**20))
    found = one(await examine_state(Settings(state=tmp_path)))
    assert (found.state, "0.0 GiB free" in found.text) == (State.WARNING, True)
