"""Rows made of rounds: from made-up ones, and from two real servers for a moment."""

import dataclasses
import shutil
from pathlib import Path

from loadtest.budgets.closed import Measured
from loadtest.budgets.pace import Pace
from loadtest.budgets.server import FUNCTIONS, echo, node
from loadtest.budgets.throughput import acceptances, extras, latency, shares, throughput

ROUND = Measured(1000, 0, {}, 1.0, 1000.0, 0.001, 0.002, 0.003, 0.004, 0.00001)
PACE = Pace(
    rounds=2,
    seconds=0.2,
    warm_up=0.2,
    acceptance_rounds=1,
    forks=1,
    spawns=1,
    wakes=1,
    queued=200,
    starts=1,
    recorded=200,
    polls=1,
)


def at(rate: float, p50: float = 0.001) -> Measured:
    return dataclasses.replace(ROUND, rate=rate, p50=p50)


def test_the_share_is_the_median_of_the_ratios_and_not_the_ratio_of_medians() -> None:
    # A machine that is half as fast in the second round: the ratio of medians would be 100 %.
    rounds = [(at(1000), at(750)), (at(500), at(400)), (at(2000), at(1000))]
    row = shares(rounds, 16)
    assert row.checks[0].value == 75
    assert row.measured == "75.0 % (50.0 to 80.0, n = 3) of the echo"
    assert row.verdict == "met"


def test_the_latency_is_the_median_of_the_differences() -> None:
    rounds = [(at(1, 0.0002), at(1, 0.0005)), (at(1, 0.0004), at(1, 0.0006))]
    row = extras([*rounds, (at(1, 0.0001), at(1, 0.0011))])
    assert row.measured == "0.30 ms (0.20 to 1.00, n = 3) more"
    assert row.verdict == "missed by 0.05 ms (20 %)"


def test_an_error_on_either_side_makes_the_row_void() -> None:
    failed = dataclasses.replace(at(1000), errors=2, faults={"status 429": 2})
    for pair in ((at(1000), failed), (failed, at(1000))):
        row = shares([(at(1000), at(900)), pair], 16)
        assert "2 errors from" in row.verdict
        assert "2 × status 429" in row.verdict
        assert not row.met


def test_a_moment_of_load_on_both_servers_gives_rows_without_faults(tmp_path: Path) -> None:
    functions = tmp_path / "functions"
    functions.mkdir()
    shutil.copy(FUNCTIONS / "noop.py", functions)
    with node(tmp_path, functions=functions) as lumbre, echo(tmp_path) as raw:
        rows = [
            throughput(raw, lumbre, 4, PACE),
            latency(raw, lumbre, PACE),
            acceptances(lumbre, PACE),
        ]
    assert [row.faults for row in rows] == [(), (), ()]
    assert "n = 2) of the echo" in rows[0].measured
    assert rows[0].checks[0].value > 1  # percent: it did answer
    assert rows[2].verdict == "measured"
