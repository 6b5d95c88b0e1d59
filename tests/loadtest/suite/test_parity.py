"""Parity holds where every pair of results is within the tolerance, and only there."""

from hypothesis import given
from hypothesis import strategies as st

from loadtest.suite.parity import compared, unchecked
from loadtest.suite.plan import Rule
from loadtest.suite.results import Parity
from loadtest.suite.trial import Extremes

values = st.floats(-1e6, 1e6)
several = st.lists(values, min_size=1, max_size=5)
WITHIN = Rule(field="checksum", tolerance="1e-4 * n ** 1.5")
AT_MOST = Rule(field="checksum", at_most="1e-5")


def of(values: list[float]) -> dict[str, Extremes | None]:
    return {"checksum": Extremes(min(values), max(values))}


def parity(rule: Rule, cpu: list[float], gpu: list[float]) -> Parity:
    return compared("matmul", 64, [rule], {"n": 64}, of(cpu), of(gpu))


@given(several, several, st.floats(0, 1e6))
def test_it_holds_if_no_two_results_are_further_apart(
    cpu: list[float], gpu: list[float], tolerance: float
) -> None:
    found = parity(Rule(field="checksum", tolerance=repr(tolerance)), cpu, gpu)
    apart = max(abs(c - g) for c in cpu for g in gpu)
    assert found.holds is (apart <= tolerance)
    (check,) = found.checks
    assert check.cpu is not None
    assert check.gpu is not None
    assert abs(check.cpu - check.gpu) == apart


@given(several, several)
def test_a_bound_holds_for_the_largest_of_each(cpu: list[float], gpu: list[float]) -> None:
    found = parity(Rule(field="checksum", at_most="1.0"), cpu, gpu)
    assert found.holds is (max(*cpu, *gpu) <= 1.0)


def test_the_rule_is_told_in_words() -> None:
    assert parity(WITHIN, [1.0], [1.01]).checks[0].rule == (
        "|cpu − gpu| ≤ 1e-4 × n ** 1.5 = 0.0512"
    )
    assert parity(AT_MOST, [0.0], [0.0]).checks[0].rule == "each ≤ 1e-5"


def test_one_wrong_call_among_many_shows() -> None:
    found = parity(WITHIN, [1.0, 1.0], [1.0, 1.0, 2.0])
    assert (found.holds, found.reason) == (False, "checksum: outside the tolerance")
    assert (found.checks[0].cpu, found.checks[0].gpu) == (1.0, 2.0)


def test_a_number_that_is_missing_is_no_parity() -> None:
    found = compared("m", 1, [WITHIN], {"n": 64}, of([1.0]), {"checksum": None})
    assert found.holds is False
    assert found.checks[0].rule.endswith("but no such number from gpu")
    assert (found.checks[0].cpu, found.checks[0].gpu) == (1.0, None)
    assert compared("m", 1, [WITHIN], {"n": 64}, {}, {}).holds is False


def test_every_rule_must_hold() -> None:
    found = compared("m", 1, [WITHIN, AT_MOST], {"n": 64}, of([1.0]), of([1.0]))
    assert [check.holds for check in found.checks] == [True, False]
    assert found.holds is False


def test_what_was_not_compared_says_why() -> None:
    assert unchecked("m", 1, "no GPU here") == Parity("m", 1, None, (), "no GPU here")
