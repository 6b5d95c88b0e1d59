"""The janitor, on real ledgers and blob stores."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime import janitor as module
from runtime.blobs import Blobs
from runtime.errors import Unavailable
from runtime.janitor import Janitor
from runtime.ledger import CallbackRecord, Ledger, ScalingDecision
from runtime.model import Invocation, Message, Part, Payload, Status, new_id
from runtime.rollup import WIDTHS, Bucket, Cell

DAY = 86_400.0
NOW = 100 * DAY


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs((tmp_path / "blobs").as_uri())


@pytest.fixture
def make_janitor(ledger: Ledger, blobs: Blobs) -> Callable[..., Janitor]:
    """A janitor that keeps everything, but for what a test says."""

    def make(holder: str = "me", **kept: Any) -> Janitor:
        bounds: dict[str, Any] = {"age": 0.0, "count": 0, "size": 0, "clock": lambda: NOW}
        return Janitor(ledger, blobs, holder, **(bounds | kept))

    return make


def ended(at: float, blobs: Blobs | None = None, size: int = 0, **fields: Any) -> Invocation:
    """An invocation that ended at an instant, with a blob of a size if there is a store for it."""
    id = fields.pop("id", new_id())
    status = fields.pop("status", Status.SUCCEEDED)
    parts: tuple[Part, ...] = ()
    if blobs is not None:
        parts = (Part("image", "image/png", size, key=f"{id}/image"),)
        blobs.write(f"{id}/image", b"x" * size)
    message = Message(id, "noop", "cpu", Payload(parts=parts), created_at=1.0)
    return Invocation(message, "auto", "v1", status, finished_at=at, **fields)


def stored(blobs: Blobs) -> set[str]:
    return set(os.listdir(blobs.path(""))) if os.path.exists(blobs.path("")) else set()


def age(blobs: Blobs, id: str, changed_at: float) -> None:
    for path in (f"{id}/image", id):
        os.utime(blobs.path(path), (changed_at, changed_at))


async def ids(ledger: Ledger) -> set[str]:
    return {i.id for i in (await ledger.find(limit=10_000))[0]}


# --- records ----------------------------------------------------------------------------------


async def test_what_is_older_than_is_kept_goes_with_its_blobs(
    ledger: Ledger, blobs: Blobs, make_janitor: Callable[..., Janitor]
) -> None:
    old, new = ended(NOW - 8 * DAY, blobs, 5), ended(NOW - 6 * DAY, blobs, 5)
    await ledger.write([old, new, ended(NOW - 9 * DAY)])
    swept = await make_janitor(age=7 * DAY).sweep()
    assert swept.invocations == 2
    assert await ids(ledger) == stored(blobs) == {new.id}
    assert (await ledger.audit()).holds


async def test_what_is_more_than_is_kept_goes_in_pieces(
    ledger: Ledger, make_janitor: Callable[..., Janitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 4)
    rows = [ended(float(n)) for n in range(23)]
    await ledger.write(rows)
    for n in range(9):
        await ledger.record_decision(ScalingDecision(float(n), "noop", "cpu", n, n + 1, "", 0))
    swept = await make_janitor(count=5).sweep()
    assert (swept.invocations, swept.trimmed) == (18, 4)
    assert await ids(ledger) == {row.id for row in rows[18:]}
    assert len(await ledger.decisions(None, 100)) == 5


async def test_a_janitor_without_bounds_keeps_everything(
    ledger: Ledger, blobs: Blobs, make_janitor: Callable[..., Janitor]
) -> None:
    row = ended(1.0, blobs, 100)
    await ledger.write([row])
    assert not await make_janitor().sweep()
    assert await ids(ledger) == stored(blobs) == {row.id}


HOUR = 3600.0
AGES = {  # of the rollups that are left, in seconds, by what is kept of invocations
    0.0: {5: [1.5 * HOUR], 60: [1.5 * HOUR, 47 * HOUR], 600: [1.5 * HOUR, 47 * HOUR, 8 * DAY]},
    7 * DAY: {5: [1.5 * HOUR], 60: [1.5 * HOUR, 47 * HOUR], 600: [1.5 * HOUR, 47 * HOUR]},
    2 * HOUR: {5: [1.5 * HOUR], 60: [1.5 * HOUR], 600: [1.5 * HOUR]},
}


@pytest.mark.parametrize("kept", AGES)
async def test_the_past_is_forgotten_the_sooner_the_more_detail_it_has(
    ledger: Ledger, make_janitor: Callable[..., Janitor], kept: float
) -> None:
    ages = (1.5 * HOUR, 47 * HOUR, 8 * DAY)
    await ledger.pages.write(
        {
            Bucket(width, int(NOW - age), "noop", "cpu"): Cell({"succeeded": 1})
            for width in WIDTHS
            for age in ages
        }
    )
    assert not await make_janitor(age=kept).sweep()  # it goes on always, and is not worth a word
    left = {
        width: sorted(NOW - bucket.at for bucket, _, _ in await ledger.pages.read(width, 0, 2**60))
        for width in WIDTHS
    }
    assert left == AGES[kept]


# --- blobs ------------------------------------------------------------------------------------


async def test_blobs_beyond_the_budget_go_with_the_records_that_ended_longest_ago(
    ledger: Ledger,
    blobs: Blobs,
    make_janitor: Callable[..., Janitor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 3)
    rows = [ended(float(n), blobs, 10) for n in (5, 3, 9, 1, 7, 2, 8, 4, 6)]
    small = ended(0.5)  # older than all, and without a blob
    await ledger.write([*rows, small])
    swept = await make_janitor(size=45).sweep()
    assert (swept.invocations, swept.blob_bytes) == (5, 90)
    kept = {row.id for row in rows if (row.finished_at or 0) > 5}
    assert stored(blobs) == kept
    assert await ids(ledger) == {*kept, small.id}
    assert (await make_janitor(size=45).sweep()).invocations == 0
    assert (await ledger.audit()).holds


async def test_blobs_within_the_budget_stay(
    ledger: Ledger, blobs: Blobs, make_janitor: Callable[..., Janitor]
) -> None:
    row = ended(1.0, blobs, 45)
    await ledger.write([row])
    assert (await make_janitor(size=45).sweep()).invocations == 0
    assert stored(blobs) == {row.id}


async def test_what_goes_on_keeps_its_blobs_whatever_the_budget(
    ledger: Ledger, blobs: Blobs, make_janitor: Callable[..., Janitor]
) -> None:
    going_on = ended(1.0, blobs, 50, status=Status.RUNNING)
    calling = ended(2.0, blobs, 50, callback="https://example.org")
    done = ended(3.0, blobs, 50)
    await ledger.write([going_on, calling, done])
    await make_janitor(size=10).sweep()
    assert stored(blobs) == {going_on.id, calling.id}
    await ledger.record_callback(CallbackRecord(calling.id, "u", 4.0, finished=True))
    await make_janitor(size=10).sweep()
    assert stored(blobs) == {going_on.id}


async def test_blobs_nobody_has_a_record_of_go_after_a_day(
    ledger: Ledger, blobs: Blobs, make_janitor: Callable[..., Janitor]
) -> None:
    known, old, young, foreign = ended(NOW, blobs, 1), new_id(), new_id(), "their-archive"
    await ledger.write([known])
    for id in (old, young, foreign):
        blobs.write(f"{id}/image", b"x")
    for id, changed_at in ((known.id, 1.0), (old, NOW - 1.1 * DAY), (foreign, 1.0)):
        age(blobs, id, changed_at)
    age(blobs, young, NOW - 0.9 * DAY)
    swept = await make_janitor().sweep()
    assert swept.unclaimed == 1
    assert stored(blobs) == {known.id, young, foreign}


async def test_a_store_is_walked_no_more_than_a_part_of_the_time(
    ledger: Ledger, blobs: Blobs, make_janitor: Callable[..., Janitor]
) -> None:
    await ledger.write([ended(1.0, blobs, 1)])
    janitor = make_janitor()
    assert (await janitor.sweep()).blob_bytes == 1
    janitor._walk_at += 3600  # as if the walk had taken three minutes
    assert (await janitor.sweep()).blob_bytes is None


# --- several, and trouble ---------------------------------------------------------------------


async def test_of_several_janitors_one_sweeps(
    ledger: Ledger, make_janitor: Callable[..., Janitor]
) -> None:
    await ledger.write([ended(1.0)])
    assert await ledger.lease("janitor", "another", 60)
    assert (await make_janitor(age=DAY).sweep()).invocations == 0
    await ledger.lease("janitor", "another", 0)
    assert (await make_janitor(age=DAY).sweep()).invocations == 1


async def test_a_janitor_that_loses_its_lease_stops(
    ledger: Ledger, make_janitor: Callable[..., Janitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 2)
    monkeypatch.setattr(module, "LEASE", 0.0)  # so that every piece asks for it again
    await ledger.write([ended(float(n)) for n in range(10)])
    janitor = make_janitor(age=DAY)
    purge = ledger.retention.purge

    async def interrupted(*bounds: Any) -> Any:
        gone = await purge(*bounds)
        await ledger.lease("janitor", "another", 60)
        return gone

    monkeypatch.setattr(ledger.retention, "purge", interrupted)
    assert (await janitor.sweep()).invocations == 2
    assert len(await ids(ledger)) == 8


async def test_a_running_janitor_sweeps_again_and_again_and_outlives_trouble(
    ledger: Ledger,
    make_janitor: Callable[..., Janitor],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("FIRST", "INTERVAL"):
        monkeypatch.setattr(module, name, 0.0)
    troubles = [Unavailable("the ledger is away", 5), ZeroDivisionError("a bug"), OSError("full")]
    purge = ledger.retention.purge

    async def troubled(*bounds: Any) -> Any:
        if troubles:
            raise troubles.pop(0)
        return await purge(*bounds)

    monkeypatch.setattr(ledger.retention, "purge", troubled)
    running = asyncio.create_task(make_janitor(age=DAY).run())
    for n in range(2):
        await ledger.write([ended(float(n))])
        async with asyncio.timeout(20):
            while await ids(ledger):
                await asyncio.sleep(0.005)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    for said in ("the ledger is away", "ZeroDivisionError: a bug", "full"):
        assert said in caplog.text


async def test_writing_goes_on_while_the_janitor_sweeps(
    ledger: Ledger, make_janitor: Callable[..., Janitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 20)
    await ledger.write([ended(float(n)) for n in range(1000)])
    sweeping = asyncio.create_task(make_janitor(age=DAY).sweep())
    written = 0
    while not sweeping.done():
        await ledger.write([ended(NOW)])
        written += 1
    assert sweeping.result().invocations == 1000
    assert written >= 20  # between every two pieces, at least about one
    assert len(await ids(ledger)) == written
    assert (await ledger.audit()).holds
