"""The generator says when it, and not the server, was the bottleneck, and why."""

import pytest

from loadtest.bottleneck import generator, is_saturated, reasons
from loadtest.tally import Row, Tally


@pytest.mark.parametrize(
    ("row", "saturated"),
    [
        (Row(cpu=0.5, late=0.002, held=4), False),  # held by a 429, say
        (Row(cpu=0.93), True),
        (Row(late=0.08), True),
        (Row(capped=True, held=10), True),
    ],
)
def test_a_second_is_saturated_by_cpu_lateness_or_the_number_of_connections(
    row: Row, saturated: bool
) -> None:
    assert is_saturated(row) is saturated
    assert bool(reasons([row], 512)) is saturated


def test_reasons_have_numbers() -> None:
    rows = [Row(cpu=0.97, late=0.2), Row(cpu=0.92), Row(capped=True, held=321), Row()]
    busy, late, capped = reasons(rows, 8)
    assert "in 2 seconds" in busy and "97%" in busy
    assert "in 1 second" in late and "200 ms" in late and "its own core was busy" in late
    assert "all of its 8 connections" in capped and "321" in capped


def test_lateness_with_an_idle_processor_is_laid_to_something_else() -> None:
    (late,) = reasons([Row(cpu=0.1, late=0.3)], 8)
    assert "something else had the processor" in late


def test_the_verdict_is_over_the_whole_load() -> None:
    tally = Tally(100.0, lambda: (0, 0))
    for number in range(100):
        tally.due(100 + number / 100, 100 + number / 100 + (0.1 if number > 90 else 0.0001))
    tally.finish(101.5)
    tally.spent = 0.3
    verdict = generator(tally, peak=7, most=512, seconds=1.5)
    assert verdict.connections == 7
    assert verdict.cpu == pytest.approx(0.2)
    assert verdict.late_p99 == pytest.approx(0.1, rel=0.01)
    assert verdict.saturated >= 1
    assert verdict.reasons
