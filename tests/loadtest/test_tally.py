"""Counting: latencies as HdrHistogram has them, each event in its second."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest import tally as module
from loadtest.latencies import Latencies
from loadtest.outcome import ColdStart
from loadtest.tally import Ending, Tally, count, histogram, rank


def end(status: str = "succeeded", total: float = 0.01, **more: object) -> Ending:
    given_values: dict[str, object] = {
        "function": "f",
        "device": "cpu",
        "simulated": False,
        "status": status,
        "total": total,
        "phases": (),
    }
    return Ending(**(given_values | more))  # type: ignore[arg-type]


def tally() -> Tally:
    return Tally(100.0, lambda: (3, 2))


@given(st.lists(st.floats(0, 5000), max_size=50))
def test_counts_become_the_histogram_that_records_each_value(values: list[float]) -> None:
    counts: dict[int, int] = {}
    direct = Latencies()
    for value in values:
        count(counts, value)
        direct.record(int(value * 1e6 + 0.5) / 1e6)
    counted = histogram(counts.items())
    assert counted.count == direct.count == len(values)
    assert counted.counts() == direct.counts()


def test_a_million_latencies_fill_a_bounded_memory() -> None:
    counts: dict[int, int] = {}
    for number in range(1_000_000):
        count(counts, number * 3.6e-3)
    assert len(counts) < 30_000


def test_each_event_counts_in_its_own_second() -> None:
    counted = tally()
    counted.due(100.2, 100.2)
    counted.sent(100.2)
    counted.ended(end(total=0.5), 100.7, fault=False)
    counted.throttle(101.5)
    counted.sent(103.0)
    counted.ended(end("failed", example="500 broke"), 103.4, fault=True)
    counted.finish(103.5)
    rows = counted.series()
    assert [row.at for row in rows] == [0, 1, 2, 3]
    assert [row.intended for row in rows] == [1, 0, 0, 0]
    assert [row.sent for row in rows] == [1, 0, 0, 1]
    assert [row.succeeded for row in rows] == [1, 0, 0, 0]
    assert [row.throttled for row in rows] == [0, 1, 0, 0]
    assert [row.faults for row in rows] == [0, 0, 0, 1]
    assert (rows[0].p50, rows[0].slowest, rows[0].by_device) == (0.5, 0.5, {"cpu": 0.5})
    assert rows[3].p50 is None
    assert all((row.waiting, row.held) == (3, 2) for row in rows)
    assert counted.throttled == 1


def test_what_the_generator_comes_late_to_counts_in_the_second_it_was_due() -> None:
    counted = tally()
    counted.due(100.9, 101.1)
    counted.finish(101.5)
    assert [row.intended for row in counted.series()] == [1, 0]
    assert [row.late for row in counted.series()] == [0, pytest.approx(0.2)]


def test_a_load_of_whole_seconds_has_no_empty_second_at_its_end() -> None:
    counted = tally()
    counted.ended(end(), 100.5, fault=False)
    counted.finish(102.001)
    assert len(counted.series()) == 2


def test_groups_are_told_apart_by_function_device_simulation_and_status() -> None:
    counted = tally()
    counted.ended(end(phases=[("run", 0.002), ("queue", 0.0)]), 100, fault=False)
    counted.ended(end(phases=[("run", 0.004)]), 100, fault=False)
    counted.ended(end(device="gpu", simulated=True), 100, fault=False)
    counted.ended(end("failed", example="x"), 100, fault=True)
    groups = counted.groups()
    assert [(g.device, g.simulated, g.status, g.count) for g in groups] == [
        ("cpu", False, "failed", 1),
        ("cpu", False, "succeeded", 2),
        ("gpu", True, "succeeded", 1),
    ]
    run = Latencies.decode(groups[1].phases["run"])
    assert run.count == 2
    assert run.percentile(100) == pytest.approx(0.004, rel=1e-3)
    assert groups[1].phases.keys() == {"total", "run", "queue"}
    assert counted.simulated()


def test_no_phase_of_a_server_replaces_the_latency_that_was_measured() -> None:
    counted = tally()
    counted.ended(end(total=0.2, phases=[("total", 0.001)]), 100, fault=False)
    latencies = Latencies.decode(counted.groups()[0].phases["total"])
    assert latencies.count == 1
    assert latencies.percentile(50) == pytest.approx(0.2, rel=1e-3)


def test_a_server_that_makes_up_phases_fills_no_memory() -> None:
    counted = tally()
    for number in range(1000):
        counted.ended(end(phases=[(f"p{number}", 0.1)]), 100, fault=False)
    assert len(counted.groups()[0].phases) == module.MOST_PHASES + 1


def test_cold_starts_are_listed_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_COLDS", 2)
    counted = tally()
    counted.ended(end(phases=[("start", 0.0)]), 100, fault=False)
    for number in range(3):
        phases = [("start", 0.1 + number)]
        counted.ended(end(total=5.0, phases=phases), 101.0 + number, fault=False)
    assert counted.colds == [
        ColdStart(1.0, "f", "cpu", 0.1, 5.0),
        ColdStart(2.0, "f", "cpu", 1.1, 5.0),
    ]
    assert counted.colds_left_out == 1


def test_a_fault_keeps_the_first_example_and_how_many_followed() -> None:
    counted = tally()
    counted.ended(end("failed", example="first", invocation="a"), 101.5, fault=True)
    counted.ended(end("failed", example="second", invocation="b"), 102, fault=True)
    counted.ended(end("dead", example="other", function="g"), 103, fault=True)
    first, other = counted.faults()
    assert (first.name, first.count, first.first_at) == ("failed", 2, 1.5)
    assert (first.example, first.invocation) == ("first", "a")
    assert (other.name, other.function) == ("dead", "g")


def test_the_overall_percentiles_are_those_of_known_values() -> None:
    counted = tally()
    assert counted.overall() == (None, None, None)
    for number in range(1, 1001):
        counted.ended(end(total=number * 1e-3), 100, fault=False)
    counted.ended(end("failed", total=100.0, example="x"), 100, fault=True)
    for found, expected in zip(counted.overall(), (0.5, 0.95, 0.99), strict=True):
        assert found == pytest.approx(expected, rel=1e-3)


@given(st.lists(st.floats(0, 1), min_size=1), st.floats(0.01, 1))
def test_a_rank_is_always_a_value_that_the_share_does_not_exceed(
    values: list[float], share: float
) -> None:
    ordered = sorted(values)
    found = rank(ordered, share)
    assert found in ordered
    assert sum(value <= found for value in ordered) >= share * len(ordered) - 1e-9
