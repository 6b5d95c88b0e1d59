"""Replicas that the ledger remembers, in each database that it may lie in."""

from dataclasses import replace

from runtime.ledger import Ledger
from runtime.lifeline import Segment
from runtime.replicas import SILENT
from tests.runtime.lives import life


async def test_a_replica_is_read_as_it_was_written_last(ledger: Ledger) -> None:
    one = life()
    await ledger.replicas.keep([one], now=1002.0)
    assert await ledger.replicas.since(0.0, now=1002.0) == [one]
    later = replace(one, state="draining", served=5, memory=3, gpu_memory=9, gpu="0")
    await ledger.replicas.keep([later], now=1003.0)
    assert await ledger.replicas.since(0.0, now=1003.0) == [later]


async def test_two_of_one_name_are_told_apart_by_when_they_were_spawned(ledger: Ledger) -> None:
    old, new = life(), life(spawned_at=1000.25)
    await ledger.replicas.keep([old, new], now=1002.0)
    assert await ledger.replicas.since(0.0, now=1002.0) == [new, old]


async def test_those_that_lived_at_any_time_since_then_are_found_newest_first(
    ledger: Ledger,
) -> None:
    lives = [
        life("old", state="ended", ended_at=1500.0),
        life("late", state="ended", ended_at=2500.0, spawned_at=2400.0),
        life("across", state="ended", ended_at=2100.0, spawned_at=1900.0),
        life("alive", spawned_at=1800.0),
    ]
    await ledger.replicas.keep(lives, now=3000.0)
    found = await ledger.replicas.since(2000.0, now=3000.0)
    assert [each.name for each in found] == ["late", "across", "alive"]


async def test_one_that_nobody_tells_of_any_more_ended_when_it_was_last_heard_of(
    ledger: Ledger,
) -> None:
    one = life()
    await ledger.replicas.keep([one], now=1002.0)
    assert await ledger.replicas.since(0.0, now=1002.0 + SILENT) == [one]
    (lost,) = await ledger.replicas.since(0.0, now=1002.1 + SILENT)
    assert (lost.state, lost.ended_at, lost.ending) == ("ended", 1002.0, "not heard of since")
    assert lost.segments[-1] == Segment("ready", 1001.5, 1002.0)
    assert await ledger.replicas.since(1002.5, now=1002.1 + SILENT) == []


async def test_one_that_ended_keeps_how_it_ended(ledger: Ledger) -> None:
    gone = life(state="ended", ended_at=1002.0, ending="it was idle", memory=0)
    gone = replace(gone, segments=(*gone.segments[:-1], Segment("ready", 1001.5, 1002.0)))
    await ledger.replicas.keep([gone], now=1003.0)
    assert await ledger.replicas.since(0.0, now=9000.0) == [gone]


async def test_of_no_replicas_nothing_is_written(ledger: Ledger) -> None:
    await ledger.replicas.keep([], now=1.0)
    assert await ledger.replicas.since(0.0, now=1.0) == []
