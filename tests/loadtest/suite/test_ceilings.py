"""Ceilings are measured by torch in replicas of their own, on each device; needs torch."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from loadtest.suite import ceilings
from loadtest.suite.ceilings import Unmeasured
from loadtest.suite.results import Ceiling
from loadtest.suite.session import OWN
from loadtest.suite.subject import Place, Subject
from runtime.catalog import Catalog
from runtime.model import Device

ROOM = 2**26  # bytes
CPU = Place("cpu", None, False, 1, 2**40, ROOM)
SIMULATED = Place("gpu", None, True, 1, 2**40, ROOM)


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    pytest.importorskip("torch")
    own = Catalog([OWN], tmp_path / "catalog.json")
    await own.refresh()
    yield own
    own.close()


async def test_every_ceiling_has_rates_of_every_repetition(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ceilings, "QUICK_SECONDS", 0.01)
    spec = catalog.functions["suite_ceiling"]
    subjects: dict[Device, Subject] = {
        place.device: Subject(spec, place, catalog.zygote, tmp_path / "blobs")
        for place in (CPU, SIMULATED)
    }
    found: list[Any] = [each async for each in ceilings.measure(subjects, quick=True)]
    for subject in subjects.values():
        await subject.close()
    assert [(each.device, each.name) for each in found] == [
        ("cpu", "matmul float32"),
        ("cpu", "matmul bfloat16"),
        ("cpu", "copy"),
        ("gpu", "matmul float32"),
        ("gpu", "matmul tf32"),
        ("gpu", "matmul bfloat16"),
        ("gpu", "copy"),
    ]
    for each in found:
        assert isinstance(each, Ceiling)
        assert len(each.rates) == 10
        assert min(each.rates) > 0
        assert "10 repetitions after 3 discarded" in each.detail
    assert found[0].detail.startswith("1024 × 1024 product")
    assert (found[0].unit, found[2].unit) == ("FLOP/s", "B/s")


async def test_a_ceiling_that_cannot_be_measured_says_why(catalog: Catalog, tmp_path: Path) -> None:
    spec = catalog.functions["suite_ceiling"]
    tiny = Place("cpu", None, False, 1, 2**40, 1)
    subject = Subject(spec, tiny, catalog.zygote, tmp_path / "blobs")
    found = [each async for each in ceilings.measure({"cpu": subject}, quick=True)]
    await subject.close()
    assert all(isinstance(each, Unmeasured) and "room" in each.reason for each in found)


def test_a_real_gpu_is_measured_in_every_format_and_both_ways() -> None:
    assert list(ceilings.names(Place("gpu", "0", False, 1, 1, 1))) == [
        "matmul float32",
        "matmul tf32",
        "matmul bfloat16",
        "matmul float16",
        "copy",
        "transfer_in",
        "transfer_out",
    ]
