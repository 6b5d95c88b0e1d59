"""A long queue in RabbitMQ: what is made of what was seen."""

import dataclasses

from loadtest.budgets.closed import Measured
from loadtest.budgets.flood import Flood, Memory, row

MIB = 2**20
FILLED = Measured(1000, 0, {}, 0.5, 2000.0, 0.001, 0.002, 0.003, 0.004, 0.00001)
SEEN = Flood(
    number=1000,
    filled=FILLED,
    draining=0.25,
    before={"gateway": Memory(80 * MIB, 70 * MIB)},
    peak={"gateway": Memory(95 * MIB, 85 * MIB)},
    after={"gateway": Memory(90 * MIB, 80 * MIB)},
    succeeded=1000,
    audit={"holds": True, "problems": []},
)


def test_a_flood_is_told_by_its_rates_and_its_memory() -> None:
    told = row(SEEN)
    assert told.measured == "accepted at 2,000 a second, drained at 4,000 a second; none lost"
    assert "gateway 80 (70) MiB before, 95 (85) at most, 90 (80) after" in told.detail
    assert told.verdict == "measured"


def test_one_that_is_lost_makes_the_row_void() -> None:
    told = row(dataclasses.replace(SEEN, succeeded=998))
    assert told.measured.endswith("2 lost")
    assert told.verdict == "2 did not succeed"


def test_an_audit_that_does_not_hold_makes_the_row_void() -> None:
    audit = {"holds": False, "problems": ["one row too many"]}
    told = row(dataclasses.replace(SEEN, audit=audit))
    assert told.verdict == "the audit does not hold: one row too many"


def test_the_most_of_each_measure_counts() -> None:
    assert Memory(5, 1).most(Memory(3, 2)) == Memory(5, 2)
