"""The tables of a report."""

from dataclasses import replace

import pytest

from loadtest.outcome import Decided
from loadtest.report import table
from loadtest.report.block import Table
from loadtest.report.summary import Summary
from tests.loadtest import outcomes

MIXED = Summary(outcomes.mixed())


def rows(found: Table | None) -> list[dict[str, str]]:
    assert found is not None
    return [dict(zip(found.head, row, strict=True)) for row in found.rows]


def test_latencies_have_what_succeeded_then_all_then_the_faults() -> None:
    found = rows(table.latencies(MIXED))
    assert [row["function"] for row in found] == [
        *("flaky", "matmul", "matmul", "vector_add", "vector_add", "all"),
        *("flaky", "matmul", "matmul"),
    ]
    assert found[5]["n"] == "1,260"
    assert [row["status"] for row in found[6:]] == ["failed", "refused", "timed_out"]
    assert found[2]["device"] == "gpu (simulated)"


def test_parts_of_a_latency_always_add_up_to_its_mean() -> None:
    summary = MIXED
    for row in summary.good:
        whole = sum(seconds for _, seconds in table.parts(row))
        assert whole == pytest.approx(row.total.mean, rel=0.002)


def test_phases_of_a_function_are_shown_within_its_run() -> None:
    found = rows(table.where(MIXED))
    phases = [row["phase"] for row in found if row["function"] == "matmul"][6:]
    assert phases == [
        *("total", "queue", "start", "run"),
        *("run: transfer_in", "run: compute", "run: transfer_out", "the rest"),
    ]


def test_what_took_less_than_can_be_counted_is_not_said_to_have_taken_a_microsecond() -> None:
    outcome = outcomes.brief()
    phases = outcome.groups[0].phases | {"queue": outcomes.histogram([0.0] * 5)}
    outcome = replace(outcome, groups=(replace(outcome.groups[0], phases=phases),))
    queue = next(row for row in rows(table.where(Summary(outcome))) if row["phase"] == "queue")
    assert queue["p50"] == "≤ 1 µs"


def test_cold_starts_are_told_by_function_and_device() -> None:
    found = rows(table.colds(MIXED))
    assert [(row["function"], row["device"], row["n"]) for row in found][1:3] == [
        ("matmul", "cpu", "1"),
        ("matmul", "gpu (simulated)", "3"),
    ]


def test_only_decisions_that_changed_something_are_shown_in_the_order_of_time() -> None:
    decided = (
        Decided(9.0, "f", "gpu", 1, 0, 0.0, "idle"),
        Decided(1.0, "f", "gpu", 0, 1, 2.0, "active"),
        Decided(5.0, "f", "gpu", 1, 1, 2.0, "within tolerance"),
    )
    found = rows(table.decisions(Summary(replace(outcomes.mixed(), decided=decided))))
    assert [row["replicas"] for row in found] == ["0 → 1", "1 → 0"]


def test_many_decisions_are_cut_and_the_caption_says_so() -> None:
    many = tuple(Decided(n, "f", "cpu", n, n + 1, 1.0, "more") for n in range(table.MOST + 5))
    found = table.decisions(Summary(replace(outcomes.mixed(), decided=many)))
    assert found is not None and len(found.rows) == table.MOST
    assert "the first 200 of 205" in found.caption


def test_faults_have_their_example_and_the_invocation() -> None:
    found = rows(table.faults(MIXED))
    assert found[0]["example"] == "500 ValueError: n is 13"
    assert found[0]["invocation"].startswith("01JD3X") and found[2]["invocation"] == "–"


@pytest.mark.parametrize(
    "name", ["objectives", "latencies", "where", "colds", "decisions", "faults"]
)
def test_a_table_with_nothing_in_it_is_left_out(name: str) -> None:
    assert getattr(table, name)(Summary(outcomes.empty())) is None
