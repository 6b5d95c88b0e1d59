"""Bins, quantiles, and cells that add up."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.model import DEVICES, Invocation, Message, Payload, Status
from runtime.rollup import (
    LAST_BIN,
    SHORTEST,
    WIDTHS,
    Bucket,
    Cell,
    bin_bounds,
    bin_of,
    bucket_start,
    counted,
    quantile,
)

TERMINAL = ["succeeded", "failed", "timed_out", "cancelled", "dead"]

times = st.floats(0, 1e7) | st.floats(SHORTEST, 1.0)
counts = st.integers(1, 1000)
bins = st.dictionaries(st.integers(0, LAST_BIN), counts, max_size=6)
gauges = st.integers(0, 1000)
cells = st.builds(
    Cell,
    st.dictionaries(st.sampled_from(TERMINAL), counts),
    *(bins for _ in range(4)),
    *(gauges for _ in range(9)),
)


def make(status: Status = Status.SUCCEEDED, **fields: Any) -> Invocation:
    """An invocation of nothing in particular that ended at 1003.5, 2.5 s after its acceptance."""
    named = {k: fields.pop(k) for k in ("function", "device", "created_at") if k in fields}
    given: dict[str, Any] = {"function": "noop", "device": "cpu", "created_at": 1001.0}
    message = Message(id="i", payload=Payload(), **(given | named))
    timings = {"queue": 0.5, "start": 0.0, "run": 2.0}
    known: dict[str, Any] = {"finished_at": 1003.5, "timings": timings} | fields
    return Invocation(message, requested_device="auto", version="v1", status=status, **known)


@given(times)
def test_a_time_always_lies_within_the_bounds_of_its_bin(seconds: float) -> None:
    lower, upper = bin_bounds(bin_of(seconds))
    assert lower * (1 - 1e-9) <= seconds <= upper * (1 + 1e-9)


@given(st.integers(0, LAST_BIN - 1))
def test_bins_follow_one_another_and_are_eight_a_doubling(bin: int) -> None:
    assert bin_bounds(bin)[1] == bin_bounds(bin + 1)[0]
    assert bin_bounds(bin + 8)[1] == pytest.approx(2 * bin_bounds(bin)[1])


@given(times, times)
def test_the_longer_of_two_times_is_never_in_a_lower_bin(one: float, other: float) -> None:
    assert (bin_of(one) <= bin_of(other)) or one > other


@pytest.mark.parametrize("odd", [-1.0, 0.0, math.nan, -math.inf])
def test_what_is_no_time_counts_as_none_at_all(odd: float) -> None:
    assert bin_of(odd) == 0


def test_a_time_without_end_counts_in_the_last_bin() -> None:
    assert bin_of(math.inf) == bin_of(1e300) == LAST_BIN


@given(st.lists(times, min_size=1), st.floats(0, 1))
def test_a_quantile_is_always_in_the_bin_of_the_exact_one(seconds: list[float], q: float) -> None:
    exact = sorted(seconds)[max(0, math.ceil(q * len(seconds)) - 1)]
    held = {bin: [bin_of(s) for s in seconds].count(bin) for bin in map(bin_of, seconds)}
    found = quantile(held, q)
    assert found is not None
    lower, upper = bin_bounds(bin_of(exact))
    assert lower <= found <= upper


@given(st.lists(times, min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_quantile_is_never_less(seconds: list[float], one: float, other: float) -> None:
    held = {bin: [bin_of(s) for s in seconds].count(bin) for bin in map(bin_of, seconds)}
    low, high = quantile(held, min(one, other)), quantile(held, max(one, other))
    assert low is not None and high is not None and low <= high


def test_a_quantile_is_as_far_in_its_bin_as_it_needs_of_its_count() -> None:
    lower, upper = bin_bounds(100)
    assert quantile({100: 4}, 0.5) == pytest.approx((lower + upper) / 2)
    assert quantile({100: 4}, 1.0) == upper
    assert quantile({100: 1, 200: 1}, 0.5) == upper


def test_of_no_times_there_is_no_quantile() -> None:
    assert quantile({}, 0.5) is None


@given(cells, cells, cells)
def test_adding_cells_up_never_depends_on_the_order(a: Cell, b: Cell, c: Cell) -> None:
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + Cell() == a


def test_counts_add_up_and_of_gauges_the_larger_stays() -> None:
    one = Cell({"succeeded": 2}, total={5: 1, 6: 1}, cold=1, ready=7, busy=1)
    other = Cell({"succeeded": 1, "dead": 1}, total={6: 2}, cold=2, ready=3, busy=2)
    both = Cell({"succeeded": 3, "dead": 1}, total={5: 1, 6: 3}, cold=3, ready=7, busy=2)
    assert one + other == both


@given(cells, cells)
def test_a_sum_never_changes_with_what_it_was_made_of(a: Cell, b: Cell) -> None:
    total = a + b
    before = total.text()
    a.count(make())
    b.count(make())
    assert total.text() == before


@given(cells)
def test_a_cell_is_always_read_as_it_was_written(cell: Cell) -> None:
    assert Cell.of(cell.text()) == cell


def test_an_empty_cell_takes_two_bytes() -> None:
    assert Cell().text() == "{}"


def test_one_that_succeeded_counts_with_its_times() -> None:
    cell = Cell()
    cell.count(make())
    assert cell.statuses == {"succeeded": 1}
    assert cell.total == {bin_of(2.5): 1}
    assert (cell.run, cell.queue, cell.start) == ({bin_of(2.0): 1}, {bin_of(0.5): 1}, {})


def test_a_cold_one_counts_with_the_time_its_replica_took_to_start() -> None:
    cell = Cell()
    cell.count(make(cold=True, timings={"queue": 0.0, "start": 1.5, "run": 1.0}))
    assert (cell.cold, cell.start) == (1, {bin_of(1.5): 1})


@pytest.mark.parametrize("status", [s for s in TERMINAL if s != "succeeded"])
def test_one_that_did_not_succeed_counts_without_its_times(status: str) -> None:
    cell = Cell()
    cell.count(make(Status(status), cold=True))
    assert cell == Cell({status: 1}, cold=1)


def test_only_a_simulated_gpu_counts_as_one() -> None:
    cell = Cell()
    cell.count(make(device="gpu", replica="noop-gpu-0-aa"))
    cell.count(make(device="cpu", replica="noop-cpu-1-bb"))
    assert cell.simulated == 0
    cell.count(make(device="gpu", replica="noop-gpu-simulated-0-aa"))
    assert cell.simulated == 1


@given(
    st.lists(
        st.builds(
            make,
            st.sampled_from([Status(status) for status in TERMINAL]),
            function=st.sampled_from("ab"),
            device=st.sampled_from(DEVICES),
            finished_at=st.none() | st.floats(0, 4e9) | st.floats(1000, 2000),
        )
    )
)
def test_every_width_always_counts_every_one_once_in_the_bucket_where_it_ended(
    ended: list[Invocation],
) -> None:
    found = counted(ended)
    for width in WIDTHS:
        expected: dict[Bucket, Cell] = {}
        for each in ended:
            at = each.message.created_at if each.finished_at is None else each.finished_at
            start = bucket_start(at, width)
            assert start <= at < start + width
            bucket = Bucket(width, start, each.message.function, each.message.device)
            expected.setdefault(bucket, Cell()).count(each)
        assert {b: cell for b, cell in found.items() if b.width == width} == expected


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_one_that_ended_at_no_instant_still_counts(odd: float) -> None:
    ended = replace(make(), finished_at=odd)
    assert Bucket(5, 0, "noop", "cpu") in counted([ended])


def test_the_replicas_of_a_cell_are_those_of_one_instant() -> None:
    both = Cell(busy=0, idle=3) + Cell(busy=2, idle=1) + Cell(busy=1, starting=1)
    assert (both.busy, both.idle, both.starting) == (2, 1, 0)


def test_the_messages_of_a_cell_are_those_of_one_instant() -> None:
    both = Cell(ready=4, unacknowledged=0) + Cell(ready=0, unacknowledged=3)
    assert (both.ready, both.unacknowledged) == (4, 0)
