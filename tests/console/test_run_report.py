"""A page tells of a run what its reports tell, and says what must be known before any number."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from console.run_report import KEPT, report
from loadtest.kept import UnreadableResults
from loadtest.suite.results import Results
from loadtest.suite.summary import summarize
from tests.console.benching import kept
from tests.loadtest.suite.runs import (
    FOUR,
    NO_GPU,
    all_failing,
    half_failing,
    interrupted,
    made,
    parity_failing,
)

ID = "20261123-100000-0001"


FEW = FOUR[:2]


def told(folder: Path, results: Results) -> dict[str, Any]:
    return report(kept(folder, ID, results))


def test_medians_and_speedups_are_those_of_the_summary(tmp_path: Path) -> None:
    results = made(cases=FEW)
    view, summary = told(tmp_path, results), summarize(results)
    for shown, case in zip(view["cases"], summary.cases, strict=True):
        assert shown["name"] == case.name
        for row, one in zip(shown["rows"], case.sizes, strict=True):
            assert one.cpu and one.gpu and one.cpu.seconds and one.gpu.seconds and one.speedup
            assert row["cpu"]["median"] == one.cpu.seconds.median
            assert row["gpu"]["n"] == one.gpu.seconds.n
            assert (row["speedup"]["low"], row["speedup"]["high"]) == (
                one.speedup.low,
                one.speedup.high,
            )
            assert row["parity"] is True
    best = max(
        case.best.speedup.median for case in summary.cases if case.best and case.best.speedup
    )
    assert view["headline"]["median"] == best
    assert len(view["starts"]) == len(summary.starts) and len(view["ceilings"]) == len(summary.tops)


def test_the_chart_has_a_bar_with_whiskers_for_each_case(tmp_path: Path) -> None:
    view = told(tmp_path, made(cases=FEW))
    chart = view["speedups"]
    assert chart["kind"] == "bars" and chart["data"]["reference"] == 1
    assert [item["name"] for item in chart["data"]["items"]] == [c["name"] for c in view["cases"]]
    for item in chart["data"]["items"]:
        assert item["low"] <= item["value"] <= item["high"] and not item["faded"]
    assert "as fast as the CPU" in chart["caption"]
    assert "simulat" not in orjson.dumps(chart).decode()


def test_a_simulated_gpu_is_called_so_everywhere(tmp_path: Path) -> None:
    view = told(tmp_path, made(gpu="simulated", cases=FEW))
    assert view["simulated"]
    assert "simulated" in view["speedups"]["title"] and "simulated" in view["speedups"]["caption"]
    assert any("simulated" in warning for warning in view["warnings"])
    for case in view["cases"]:
        names = [series["name"] for series in case["chart"]["data"]["series"]]
        assert names == ["CPU", "GPU (simulated)"]


def test_without_a_gpu_there_is_no_speedup_and_it_says_why(tmp_path: Path) -> None:
    view = told(tmp_path, made(gpu=None, cases=FEW))
    assert not view["has_gpu"] and view["headline"] is None
    assert view["speedups"]["empty"].startswith("CPU only")
    assert NO_GPU in view["notes"]
    assert view["cases"][0]["rows"][0]["gpu"] is None


def test_too_few_calls_for_an_interval_fade_a_bar(tmp_path: Path) -> None:
    items = told(tmp_path, made(samples=4, cases=FEW))["speedups"]["data"]["items"]
    assert all(item["faded"] and item["low"] is None for item in items)


def test_where_results_differ_there_is_no_speedup(tmp_path: Path) -> None:
    results = made(cases=FEW)
    largest = max(cell.size for cell in results.cells if cell.case == "matmul bfloat16")
    view = told(tmp_path, parity_failing(results, "matmul bfloat16", largest))
    row = view["cases"][0]["rows"][-1]
    assert row["parity"] is False and row["speedup"] is None
    assert "differ" in row["why"]
    assert any("matmul bfloat16" in line for line in view["missing"])


def test_failures_and_an_early_end_are_told(tmp_path: Path) -> None:
    broken = half_failing(made(cases=FEW), "matmul", "gpu", "out of memory")
    view = told(tmp_path / "a", broken)
    assert any("out of memory" in line for line in view["failures"])
    assert view["cases"][0]["rows"][0]["gpu"]["failures"] == 12
    none = told(tmp_path / "b", all_failing(made(cases=FEW), "matmul bfloat16", "gpu", "no memory"))
    assert none["cases"][0]["rows"][0]["gpu"]["median"] is None
    early = told(tmp_path / "c", interrupted(made(cases=FEW), 5))
    assert any("ended early" in warning for warning in early["warnings"])


def test_it_is_made_once_and_again_only_where_it_is_of_another_version(tmp_path: Path) -> None:
    folder = kept(tmp_path, ID, made(cases=FEW))
    first = report(folder)
    changed = first | {"opening": "kept"}
    (folder / KEPT).write_bytes(orjson.dumps(changed))
    assert report(folder)["opening"] == "kept"
    (folder / KEPT).write_bytes(orjson.dumps(changed | {"format": 0}))
    assert report(folder) == orjson.loads(orjson.dumps(first))
    (folder / KEPT).write_bytes(b'{"format":')
    assert report(folder)["opening"] == first["opening"]


def test_results_that_cannot_be_read_are_refused_with_what_is_wrong(tmp_path: Path) -> None:
    folder = kept(tmp_path, ID, made(cases=FEW))
    (folder / "job_results.json").write_text('{"format": 99}')
    with pytest.raises(UnreadableResults, match="has format 99"):
        report(folder)
