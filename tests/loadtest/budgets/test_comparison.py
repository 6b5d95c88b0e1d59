"""Rows of ratios, from made-up rounds."""

import dataclasses

from loadtest.budgets.closed import Measured
from loadtest.budgets.comparison import compared, part_of_the_p50, times_the_rate
from loadtest.budgets.contestant import Round, Turn

MEASURED = Measured(1000, 0, {}, 1.0, 1000.0, 0.001, 0.002, 0.003, 0.004, 0.00001)


def at(rate: float, p50: float = 0.001, errors: int = 0) -> Turn:
    faults = {"status 504": errors} if errors else {}
    measured = dataclasses.replace(MEASURED, rate=rate, p50=p50, errors=errors, faults=faults)
    return Turn(measured, {"gateway": 0.0001, "worker": 0.00005})


def rounds(*pairs: tuple[Turn, Turn]) -> list[Round]:
    return [{"ours": ours, "theirs": theirs} for ours, theirs in pairs]


def test_the_ratio_is_the_median_of_those_within_a_round() -> None:
    # A machine that is half as fast in the second round: the ratio of medians would be 6.
    seen = rounds((at(6000), at(1000)), (at(2000), at(400)), (at(9000), at(3000)))
    row = compared("no-op", "ours", seen, [times_the_rate("theirs", 5)], {})
    assert row.measured == "5.00 × theirs (3.00 to 6.00, n = 3)"
    assert (row.budget, row.verdict) == ("≥ 5 × theirs", "met")


def test_a_latency_is_a_part_of_the_others() -> None:
    seen = rounds((at(1, 0.0012), at(1, 0.001)), (at(1, 0.0004), at(1, 0.001)))
    row = compared("no-op", "ours", seen, [part_of_the_p50("theirs", 0.6)], {})
    assert row.measured == "0.80 × theirs's p50 (0.40 to 1.20, n = 2)"
    assert row.verdict == "missed by 0.20 × theirs's p50 (33 %)"


def test_each_is_told_with_what_it_spent() -> None:
    row = compared("no-op", "ours", rounds((at(6000), at(1000))), [times_the_rate("theirs", 5)], {})
    assert "ours: 6,000 requests/s, p50 1.00 ms, p99 3.00 ms" in row.detail
    assert "µs of CPU a request: gateway 100, worker 50.0, generator 10.0" in row.detail


def test_an_error_on_either_side_makes_the_row_void() -> None:
    for pair in ((at(1, errors=2), at(1)), (at(1), at(1, errors=2))):
        row = compared("no-op", "ours", rounds(pair), [times_the_rate("theirs", 0.1)], {})
        assert not row.met
        assert "2 errors from" in row.verdict and "2 × status 504" in row.verdict


def test_a_peer_that_is_absent_is_said_to_be_and_its_budget_is_not_met() -> None:
    seen: list[Round] = [{"ours": at(6000), "theirs": at(1000)}]
    budgets = [times_the_rate("theirs", 5), times_the_rate("Dramatiq", 5)]
    row = compared("no-op", "ours", seen, budgets, {"Dramatiq": "no pip"})
    assert row.measured == "6.00 × theirs (6.00 to 6.00, n = 1)"
    assert row.verdict == "not measured beside Dramatiq: no pip"
    assert not row.met
