"""The CSV: a row for each case and size, and columns that say what they are."""

import csv
import io
import math
from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.suite.report.spreadsheet import COLUMNS, meanings, sheet
from loadtest.suite.results import Results
from loadtest.suite.summary import summarize
from runtime import estimate
from tests.loadtest.suite import runs
from tests.support import ROOT

GUIDE = ROOT / "docs" / "IEEE_REPORT_GUIDE.md"
CASES = (runs.MATMULS[2], runs.VECTOR_ADD)


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "RESAMPLES", 100)


def read(results: Results) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(sheet(summarize(results)))))


def test_there_is_a_row_for_each_case_and_size() -> None:
    rows = read(runs.made(cases=CASES))
    assert [(row["case"], row["size"]) for row in rows] == [
        (case.case, str(size)) for case in CASES for size in case.sizes
    ]
    assert {row["simulated"] for row in rows} == {"no"}
    assert {row["parity"] for row in rows} == {"holds"}


def test_numbers_are_whole_and_in_the_units_of_their_names() -> None:
    results = runs.made(cases=CASES)
    one = summarize(results).comparisons[0]
    row = read(results)[0]
    assert one.cpu and one.gpu and one.cpu.seconds and one.speedup and one.with_transfers
    assert float(row["cpu_seconds_median"]) == one.cpu.seconds.median
    assert float(row["cpu_seconds_low"]) == one.cpu.seconds.low
    assert float(row["transfer_in_seconds"]) == one.gpu.transfer_in
    assert float(row["speedup"]) == one.speedup.median
    assert float(row["speedup_high"]) == one.speedup.high
    assert float(row["speedup_with_transfers"]) == one.with_transfers.median
    assert float(row["gpu_rate"]) == pytest.approx(2 * 64**3 / float(row["gpu_seconds_median"]))
    assert (row["unit"], row["gpu_ceiling"]) == ("FLOP/s", "matmul bfloat16")
    assert row["gpu_calls"] == "24"


def test_what_there_is_not_is_empty() -> None:
    rows = read(runs.made(gpu=None, cases=CASES))
    for row in rows:
        assert {value for name, value in row.items() if name.startswith(("gpu_", "speedup"))} == {
            ""
        }
        assert row["why_no_speedup"] == "no GPU here"
        assert row["parity"] == "unchecked"
        assert float(row["cpu_seconds_median"]) > 0


def test_no_speedup_is_written_where_results_differ() -> None:
    rows = read(runs.parity_failing(runs.made(cases=CASES), "matmul bfloat16", 256))
    (wrong,) = [row for row in rows if row["parity"] == "fails"]
    assert (wrong["size"], wrong["speedup"], wrong["speedup_with_transfers"]) == ("256", "", "")
    assert wrong["why_no_speedup"].startswith("results differ: checksum")


def test_failures_are_counted_and_a_simulation_is_marked() -> None:
    simulated = runs.made(gpu="simulated", cases=CASES)
    rows = read(runs.half_failing(simulated, "matmul", "gpu", "killed"))
    assert {row["simulated"] for row in rows} == {"yes"}
    assert {(r["gpu_calls"], r["gpu_failures"]) for r in rows if r["function"] == "matmul"} == {
        ("12", "12")
    }


def test_a_name_with_commas_quotes_and_lines_comes_back_whole() -> None:
    odd = replace(runs.VECTOR_ADD, case='a,"b"\nc')
    assert read(runs.made(cases=(odd,)))[0]["case"] == 'a,"b"\nc'


def test_numbers_are_numbers() -> None:
    for row in read(runs.made(cases=CASES)):
        for name, value in row.items():
            if name.endswith(("_median", "_low", "_high", "_seconds", "_rate", "_of_ceiling")):
                assert math.isfinite(float(value)), name


def test_every_column_is_explained_in_the_guide() -> None:
    guide = GUIDE.read_text()
    assert len({name for name, _ in meanings()}) == len(COLUMNS) + 1
    for name, meaning in meanings():
        assert f"| `{name}` | {meaning} |" in guide, f"{name} is not in {Path(GUIDE).name}"
