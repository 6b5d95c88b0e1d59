"""Ceilings are measured by torch in replicas of their own, on each device; needs torch."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from loadtest.suite import ceilings
from loadtest.suite.ceilings import Ceilings
from loadtest.suite.results import Ceiling
from loadtest.suite.session import OWN
from loadtest.suite.subject import CallFailed, Place, Subject
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


def ceilings_of(
    catalog: Catalog, folder: Path, *places: Place, told: list[Any] | None = None
) -> Ceilings:
    spec, by_device = catalog.functions["suite_ceiling"], {p.device: p for p in places}
    return Ceilings(
        by_device,
        lambda device: Subject(spec, by_device[device], catalog.zygote, folder / "blobs"),
        (told if told is not None else []).append,
        quick=True,
    )


async def test_every_ceiling_has_rates_of_every_repetition(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ceilings, "QUICK_SECONDS", 0.01)
    told: list[Any] = []
    measured = ceilings_of(catalog, tmp_path, CPU, SIMULATED, told=told)
    await measured.measure()
    assert list(measured.best) == [
        ("cpu", "matmul float32"),
        ("cpu", "matmul bfloat16"),
        ("cpu", "copy"),
        ("gpu", "matmul float32"),
        ("gpu", "matmul tf32"),
        ("gpu", "matmul bfloat16"),
        ("gpu", "copy"),
    ]
    assert [(event["device"], event["name"]) for event in told] == list(measured.best)
    for each in measured.best.values():
        assert len(each.rates) == 10
        assert min(each.rates) > 0
        assert "10 repetitions after 3 discarded" in each.detail
    product, copy = measured.best["cpu", "matmul float32"], measured.best["cpu", "copy"]
    assert product.detail.startswith("1024 × 1024 product")
    assert (product.unit, copy.unit) == ("FLOP/s", "B/s")


async def test_a_ceiling_that_cannot_be_measured_says_why(catalog: Catalog, tmp_path: Path) -> None:
    tiny = Place("cpu", None, False, 1, 2**40, 1)
    measured = ceilings_of(catalog, tmp_path, tiny)
    await measured.measure()
    assert measured.best == {}
    assert len(measured.notes) == 3
    assert all("is not known: InvalidInput: room" in note for note in measured.notes)


async def test_without_its_function_no_ceiling_is_known() -> None:
    def fork(device: Device) -> Subject:
        raise CallFailed("suite_ceiling cannot be used: no torch")

    measured = Ceilings(["cpu"], fork, lambda _: None, quick=True)
    await measured.measure()
    assert measured.notes == [
        "the cpu's ceilings are not known: suite_ceiling cannot be used: no torch"
    ]


def test_the_better_of_two_times_counts_and_a_change_is_told() -> None:
    def seen(*rates: float) -> Ceiling:
        return Ceiling("gpu", "copy", "B/s", rates, "")

    def unused(device: Device) -> Subject:
        raise AssertionError(device)

    measured = Ceilings(["gpu"], unused, lambda _: None, quick=True)
    for found in (seen(1e9, 2e9, 3e9), seen(2.2e9), seen(1e9)):
        measured._keep(found)
    assert measured.best["gpu", "copy"].rates == (2.2e9,)
    measured._note_drift()
    assert measured.notes == [
        "the gpu changed its speed, before and after the calls: copy 2.2 and 1 GB/s; the better"
        " counts"
    ]


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
