"""The files of a report: which ones, whole, and the same ones again."""

import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.suite.report import folder, write
from loadtest.suite.results import read
from loadtest.written import UnwritableReport
from runtime import estimate
from runtime.errors import ConfigurationError
from tests.loadtest.suite import runs
from tests.support import ROOT

ONE = runs.FOUR[:1]
FILES = [
    "job_results.json",
    "performance_comparison.csv",
    "performance_comparison.png",
    "BENCHMARK_REPORT.md",
]


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "RESAMPLES", 100)


def test_the_four_files_are_written_and_nothing_else(tmp_path: Path) -> None:
    found = write(runs.made(cases=ONE), tmp_path / "new" / "results")
    assert [path.name for path in found] == FILES
    assert sorted(path.name for path in (tmp_path / "new" / "results").iterdir()) == sorted(FILES)


def test_the_paper_is_written_beside_them_and_made_again_it_is_the_same(tmp_path: Path) -> None:
    first = write(runs.made(cases=ONE), tmp_path / "a", ieee=True)
    names = [path.relative_to(tmp_path / "a").as_posix() for path in first]
    paper = ["paper.tex", "README.md", "seconds.pdf", "speedups.pdf", "ceilings.pdf"]
    assert names == FILES + [f"ieee/{name}" for name in paper]
    again = write(read(tmp_path / "a"), tmp_path / "b", ieee=True)
    for one, other in zip(first, again, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UnwritableReport, match=r"taken/job_results.json cannot be written .*"):
        write(runs.made(cases=ONE), tmp_path / "taken")


def test_without_matplotlib_all_but_the_picture_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "_drawing", lambda: None)
    found = write(runs.made(cases=ONE), tmp_path)
    assert [path.name for path in found] == [name for name in FILES if not name.endswith("png")]
    assert "performance_comparison.png" not in (tmp_path / "BENCHMARK_REPORT.md").read_text()
    with pytest.raises(ConfigurationError, match="matplotlib is not installed"):
        write(runs.made(cases=ONE), tmp_path, ieee=True)


def test_a_missing_matplotlib_is_noticed_and_no_other_error_hidden() -> None:
    program = """
import sys
sys.modules["matplotlib"] = None
from loadtest.suite.report import folder
sys.exit(0 if folder._drawing() is None else 1)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_reports_are_imported_without_matplotlib() -> None:
    modules = "loadtest.report, loadtest.runner, loadtest.suite.report"
    program = f"import {modules}, sys; sys.exit('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
