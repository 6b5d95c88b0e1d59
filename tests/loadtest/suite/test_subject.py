"""A replica is called, killed and replaced, and what it said before is told."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from loadtest.suite.subject import CallFailed, Place, Subject, TookTooLong
from runtime.catalog import Catalog

FUNCTIONS = Path(__file__).parent / "bench_functions"
Make = Callable[..., Subject]


@pytest.fixture
async def subject(tmp_path: Path) -> AsyncIterator[Make]:
    """`subject("nap")`: that function on the CPU; `memory` is what it may hold."""
    catalog = Catalog([FUNCTIONS], tmp_path / "catalog.json")
    await catalog.refresh()
    made: list[Subject] = []

    def make(name: str, memory: int = 2**40) -> Subject:
        place = Place("cpu", None, False, 1, memory, memory)
        made.append(Subject(catalog.functions[name], place, catalog.zygote, tmp_path / "blobs"))
        return made[-1]

    try:
        yield make
    finally:
        for one in made:
            await one.close()
        catalog.close()


async def test_a_call_is_answered_with_result_and_phases(subject: Make) -> None:
    nap = subject("nap")
    assert nap.fresh
    answer = await nap.call({"n": 2}, 10)
    assert answer.result == {"seconds": 0.002, "checksum": 4.0, "losses": [1.0, 2.0]}
    assert answer.phases["compute"] >= 0.002
    assert answer.run >= answer.phases["compute"]
    assert not nap.fresh
    assert await nap.start() == 0


async def test_an_error_is_told_in_a_line_and_its_replica_goes_on(subject: Make) -> None:
    half = subject("half")
    with pytest.raises(CallFailed, match=r"^ValueError: an odd call$"):
        await half.call({}, 10)
    assert (await half.call({}, 10)).result["checksum"] == 1


async def test_a_parameter_out_of_bounds_is_told(subject: Make) -> None:
    with pytest.raises(CallFailed, match="InvalidInput: n: "):
        await subject("nap").call({"n": "many"}, 10)


async def test_a_dead_replica_is_replaced(subject: Make) -> None:
    dies = subject("dies")
    for _ in range(2):
        with pytest.raises(CallFailed, match="the replica ended: signal 11"):
            await dies.call({"n": 2}, 10)
        assert (await dies.call({"n": 1}, 10)).result == 1.0


async def test_a_call_over_its_limit_is_killed_and_the_next_gets_a_fresh_replica(
    subject: Make,
) -> None:
    hangs = subject("hangs")
    with pytest.raises(TookTooLong, match=r"took longer than 0\.2 s"):
        await hangs.call({"n": 2}, 0.2)
    assert (await hangs.call({"n": 1}, 10)).result == 1.0


async def test_a_replica_that_holds_too_much_memory_is_killed(subject: Make) -> None:
    with pytest.raises(CallFailed, match="held more than 1,000,000 bytes of memory"):
        await subject("hangs", memory=10**6).call({"n": 2}, 30)


async def test_a_setup_that_fails_is_told_and_given_up(subject: Make) -> None:
    broken = subject("no_setup")
    for _ in range(3):
        with pytest.raises(CallFailed, match="cannot be set up: RuntimeError: no model here"):
            await broken.call({}, 10)
    with pytest.raises(CallFailed, match="no replica of no_setup starts on cpu"):
        await broken.call({}, 10)


async def test_results_and_blobs_too_long_for_a_frame_are_read_and_removed(
    subject: Make, tmp_path: Path
) -> None:
    answer = await subject("large").call({"n": 400_000}, 10)
    assert len(answer.result) == 400_000
    assert list((tmp_path / "blobs").glob("*")) == []


async def test_bytes_are_no_result_to_read(subject: Make) -> None:
    assert (await subject("raw").call({}, 10)).result is None


async def test_a_batched_function_gets_a_batch_of_one(subject: Make) -> None:
    assert (await subject("together").call({"n": 3}, 10)).result == 9
