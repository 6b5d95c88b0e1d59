"""Tables for programs."""

import csv
import io

import pytest

from loadtest.report import spreadsheet
from loadtest.report.summary import Summary
from tests.loadtest import outcomes

MIXED = Summary(outcomes.mixed())


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_groups_have_a_row_for_each_phase() -> None:
    outcome = outcomes.mixed()
    rows = read(spreadsheet.groups(Summary(outcome)))
    assert len(rows) == sum(len(group.phases) for group in outcome.groups)
    whole = next(row for row in rows if row["device"] == "gpu (simulated)")
    assert (whole["function"], whole["status"], whole["phase"]) == ("matmul", "succeeded", "total")
    assert float(whole["share"]) == pytest.approx(240 / 1316)
    times = [
        float(whole[f"{name}_s"]) for name in ("p50", "p75", "p90", "p95", "p99", "p99.9", "max")
    ]
    assert times == sorted(times) and 0.02 < float(whole["mean_s"]) < 0.08


def test_the_series_has_a_row_for_each_second_and_empty_cells_where_nothing_was_measured() -> None:
    rows = read(spreadsheet.series(MIXED))
    assert [int(row["at_s"]) for row in rows] == list(range(60))
    assert rows[0]["p50_s"] == "" and rows[0]["p50 gpu (simulated)_s"] == ""
    assert 0 < float(rows[5]["p50 gpu (simulated)_s"]) < float(rows[5]["p50 cpu_s"])


def test_an_empty_outcome_still_has_the_heads() -> None:
    summary = Summary(outcomes.empty())
    assert spreadsheet.groups(summary).startswith("function,device,status,phase,count,share,mean_s")
    assert spreadsheet.series(summary).startswith("at_s,intended,sent")


def test_a_name_with_commas_and_quotes_comes_back_as_it_was() -> None:
    outcome = outcomes.hostile()
    rows = read(spreadsheet.groups(Summary(outcome)))
    assert {row["function"] for row in rows} == {outcome.groups[0].function}
